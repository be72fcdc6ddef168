"""One trial from fresh processes to a ``Trial`` record: start, preflight, connect, warm up, measure, drain, stop."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.generators import channel as steps
from bench.generators.spec import load_records
from bench.machine.load import read_machine
from bench.machine.processes import kernel_tcp_bytes, read_process, rss_bytes
from bench.plan.timing import settle_s
from bench.plan.trials import TrialPlan, schedule_of
from bench.results.observed import Process
from bench.results.run import Plan, Trial
from bench.trial.channel import GENERATOR_TIMEOUT_S, SLOWEST_CONNECTING_HZ, TrialError, UnfitError
from bench.trial.context import RunContext, TrialProcesses
from bench.trial.evaluate import Measurement, evaluate
from bench.trial.metrics import Gauges, Reading
from bench.trial.start import trial_processes
from bench.trial.tls import handshake_metrics
from clients.contract.feed import Target, preflight
from clients.control import Control
from feed.instruments.clock import NS_PER_MS, NS_PER_S, now_ns

LEAD_NS: Final = 100 * NS_PER_MS


async def run_trial(context: RunContext, trial: TrialPlan, attempt: int) -> Trial:
    """Carry out one trial. An error in it is not raised: it becomes the trial's status and reasons."""
    began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    record = blank(context.plan, trial, attempt, started_at)
    try:
        measured = await _measure(context, trial, record)
        (context.evaluate or evaluate)(context, trial, record, measured)
    except Exception as error:  # whatever fails, the other transports keep their trials
        record.status = "invalid" if isinstance(error, UnfitError) else "failed"
        record.reasons.append(f"{type(error).__name__}: {error}")
        record.metrics, record.latency_ms, record.counts = {}, {}, None
    record.duration_s = time.monotonic() - began
    return record


def blank(plan: Plan, trial: TrialPlan, attempt: int, started_at: str) -> Trial:
    """The record of a trial that has not been measured yet."""
    return Trial(
        id=trial.id,
        transport=trial.transport,
        block=trial.block,
        purpose=trial.purpose,
        attempt=attempt,
        seed=trial.seed,
        rtt_ms=trial.rtt_ms,
        poll_interval_s=trial.poll_interval_s,
        status="ok",
        reasons=[],
        started_at=started_at,
        duration_s=0.0,
        events=plan.measured_events,
        subscribers=plan.subscribers,
        probes=plan.probes,
        samples="",
        counts=None,
        metrics={},
        latency_ms={},
        preflight=[],
        details={},
        variant=trial.variant,
        generator=trial.generator,
        tls=trial.tls,
        gc=trial.gc,
    )


async def _measure(context: RunContext, trial: TrialPlan, record: Trial) -> Measurement:
    idle = context.idle.get(trial.transport)
    if idle is not None and idle.reason:
        raise TrialError(idle.reason)
    async with trial_processes(context, trial) as processes:
        server, relay, spec = processes.server, processes.relay, processes.spec
        cores = context.placement._asdict()
        record.details = {"server": server.ready, "relay": relay.ready if relay else None, "cores": cores}
        url, control_url = server.ready["url"], server.ready["control_url"]
        token_of = (lambda user: spec.tokens[-1]) if spec.tokens else None
        target = Target(trial.transport, url, control_url, spec.headers, spec.variant, spec.ca_file, token_of)
        # A fault that was injected is to be found by what the trial counts; the contract would find it first.
        record.preflight = [] if trial.transport in context.plan.inject_fault else await preflight(target)
        await processes.receive(steps.READY, GENERATOR_TIMEOUT_S)
        handshakes = await handshake_metrics(server, spec.ca_file) if trial.purpose == "tls" else {}
        async with context.watch(processes):
            measurement = await _conduct(context, trial, processes)
        return measurement._replace(handshakes=handshakes)


async def _conduct(context: RunContext, trial: TrialPlan, processes: TrialProcesses) -> Measurement:
    """Connect, warm up, measure and drain."""
    plan, pid, part = context.plan, processes.server.pid, processes.spec.window()
    rss_before, kernel_before = rss_bytes(pid), kernel_tcp_bytes()
    await processes.channel.send(steps.GO, url=processes.url)
    await await_ramp(processes)
    async with AsyncExitStack() as stack:
        controls = [await stack.enter_async_context(Control(url)) for url in _control_urls(processes)]
        await _reset(controls)  # a first request costs more, and must come before the measured part
        start_ns = now_ns() + LEAD_NS
        if not plan.scenario:
            start_ns = await controls[0].start_feed(schedule_of(plan, trial), plan.payload_bytes, start_ns)
        await processes.channel.send(steps.WINDOW, start_ns=start_ns)
        await _sleep_until(start_ns + part.begin_ns)
        begin = _read(processes)
        await _reset(controls)
        await context.hiccups.read()
        await _sleep_until(start_ns + part.end_ns)
        end = _read(processes)
        hiccups = await context.hiccups.read()
        await asyncio.sleep(settle_s(plan, trial))  # every subscriber is still connected, and has received events
        growth = rss_bytes(pid) - rss_before, kernel_tcp_bytes() - kernel_before
        stats = [await control.stats() for control in controls]
        published = 0 if plan.scenario else await controls[0].stop_feed()
    await processes.receive(steps.RECORDS, GENERATOR_TIMEOUT_S)
    drain_hiccups = await context.hiccups.read()
    await processes.generator.kill()  # locust takes a second to end by itself
    processes.server.check_alive()
    gauges = Gauges(
        window_s=(part.end_ns - part.begin_ns) / NS_PER_S,
        begin=begin,
        end=end,
        server_idle_share=processes.server_idle.share,
        idle_pid=processes.server_idle.pid,
        rss_growth_bytes=growth[0],
        kernel_growth_bytes=growth[1],
        server_stats=stats[0],
        relay_stats=stats[1] if processes.relay else {},
        hiccups=hiccups,
        drain_hiccups=drain_hiccups,
    )
    return Measurement(part, start_ns, published, gauges, load_records(Path(processes.spec.records_file)), {})


async def await_ramp(processes: TrialProcesses) -> None:
    """Wait until every subscriber is connected.

    Raises ``TrialError`` for an incomplete ramp, and ``ChildError`` if a process ends meanwhile.
    """
    subscribers = processes.spec.subscribers
    try:
        await processes.receive(steps.CONNECTED, GENERATOR_TIMEOUT_S + subscribers / SLOWEST_CONNECTING_HZ)
    except TrialError as error:
        raise TrialError(f"incomplete ramp: not all of {subscribers} subscribers connected; {error}") from error


async def _reset(controls: list[Control]) -> None:
    for control in controls:
        await control.reset_stats()


def _read(processes: TrialProcesses) -> Reading:
    for child in processes.all:
        child.check_alive()
    server, relay = read_process(processes.server.pid), processes.relay and read_process(processes.relay.pid)
    return Reading(
        server_cpu_ns=server.cpu_ns,
        relay_cpu_ns=relay.cpu_ns if relay else 0,
        server_user_ticks=server.user_ticks,
        server_system_ticks=server.system_ticks,
        machine=read_machine(),
        server=Process(server.pid, server.command),
        relay=Process(relay.pid, relay.command) if relay else None,
    )


def _control_urls(processes: TrialProcesses) -> list[str]:
    """The server's, and the relay's if there is one."""
    listeners = (processes.server, processes.relay)
    return [str(child.ready["control_url"]) for child in listeners if child is not None]


async def _sleep_until(at_ns: int) -> None:
    await asyncio.sleep(max(0.0, (at_ns - now_ns()) / NS_PER_S))
