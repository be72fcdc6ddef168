"""One trial from fresh processes to a ``Trial`` record: start, preflight, connect, warm up, measure, drain, stop."""

import asyncio
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from bench.generators.spec import SPEC_VARIABLE, LoadSpec, Records, load_records
from bench.generators.window import Window, window
from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.load import Machine, between, read_machine
from bench.machine.processes import Child, cpu_ns, kernel_tcp_bytes, rss_bytes, start, together, user_and_system_ticks
from bench.plan.presets import LATE_MS, TrialPlan, drain_s, latest_ms, schedule_of, settle_s, warmup_of
from bench.results.run import Idle, Plan, Trial
from bench.trial import metrics, validity
from bench.trial.channel import GENERATOR_TIMEOUT_S, SLOWEST_CONNECTING_HZ, OrderLine, TrialError
from bench.trial.tls import Certificate, handshake_metrics, make_certificate
from clients.contract.feed import Target, preflight
from clients.control import Control
from feed.instruments.clock import NS_PER_MS, NS_PER_S, now_ns
from feed.transports import POLLS

SETTLE_READINGS_S: Final = 0.1
"""For reading memory and statistics before anybody disconnects."""
LEAD_NS: Final = 100 * NS_PER_MS
LEAST_TICKS: Final = 10
"""Samples of the kernel, 100 a second of CPU time, without which a share of them says nothing."""
SAMPLES_FOLDER: Final = "samples"
LOCUST: Final = ("-m", "locust", "--headless", "--only-summary", "--loglevel", "ERROR", "-f")
GENERATORS: Final = {
    "locust": (*LOCUST, "bench/locustfile.py"),
    "bare": ("-m", "bench.generators.bare"),
    "node": ("-m", "bench.generators.node"),
    "socketiouser": (*LOCUST, "bench/generators/socketio_user.py"),
}
"""What can receive in a trial, by name: the arguments of Python that start it."""

Measure = Callable[[TrialPlan, int], Awaitable[Trial]]
"""Runs a trial (its plan, and which attempt this is). The seam where the tests put a fake."""


class Rig(NamedTuple):
    """The processes of one trial."""

    server: Child
    relay: Child | None
    line: OrderLine
    children: list[Child]
    """The generator, and these two."""
    records_file: Path
    """Where the generator leaves what it recorded."""
    url: str
    """Where the generator connects: the server's, or that of what stands in front of it."""


Watch = Callable[[Rig], AbstractAsyncContextManager[object]]
"""Entered before the generator connects, left when it has recorded its last segment and all others still run."""


class Bed(NamedTuple):
    """What all trials of a run share."""

    plan: Plan
    folder: Path
    placement: Placement
    hiccups: Hiccups
    idle: dict[str, Idle]
    watch: Watch = nullcontext


class Reading(NamedTuple):
    """CPU times at one end of the measured part."""

    server_cpu_ns: int
    relay_cpu_ns: int
    server_user_ticks: int
    server_system_ticks: int
    machine: Machine


async def run_trial(bed: Bed, trial: TrialPlan, attempt: int) -> Trial:
    """Carry out one trial. Never raises for what goes wrong in it: that becomes its status and reasons."""
    began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    record = blank(bed.plan, trial, attempt, started_at)
    children: list[Child] = []
    try:
        await _measure(bed, trial, record, children)
    except Exception as error:  # one transport's failure, whatever it is, never costs the others their trials
        record.status = "failed"
        record.reasons.append(f"{type(error).__name__}: {error}")
        record.metrics, record.latency_ms, record.counts = {}, {}, None
    finally:
        await together(*(child.stop() for child in reversed(children)))
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
    )


async def _measure(bed: Bed, trial: TrialPlan, record: Trial, children: list[Child]) -> None:
    with tempfile.TemporaryDirectory(prefix="pushmark-") as short:  # a Unix socket's path has at most 107 bytes
        await _in_scratch(bed, trial, record, children, Path(short))


async def _in_scratch(bed: Bed, trial: TrialPlan, record: Trial, children: list[Child], scratch: Path) -> None:
    plan = bed.plan
    async with OrderLine(scratch / "orders") as line:
        secured = make_certificate(scratch) if trial.tls else None
        ca_file = "" if secured is None else str(secured.ca)
        # First, since it takes longest to boot.
        records_file = await _start_generator(bed, trial, ca_file, scratch, children)
        server = await _start_server(bed, trial, secured, children)
        # Nobody is connected yet; the relay boots meanwhile.
        idle_share, relay = await together(
            _idle_share(server, plan.idle_measure_s), _start_relay(bed, trial, server, children)
        )
        ready = server.ready
        record.details = {"server": ready, "relay": relay.ready if relay else None, "cores": bed.placement._asdict()}
        record.preflight = await preflight(
            Target(trial.transport, ready["url"], ready["control_url"], plan.headers, trial.variant, ca_file)
        )
        await line.hear("ready", children)
        handshakes = await handshake_metrics(server, ca_file) if trial.purpose == "tls" else {}
        rig = Rig(server, relay, line, children, records_file, _address(server, relay))
        async with bed.watch(rig):
            await _conduct(bed, trial, record, rig, idle_share)
        record.metrics |= handshakes


async def _start_server(bed: Bed, trial: TrialPlan, secured: Certificate | None, children: list[Child]) -> Child:
    plan = bed.plan
    arguments = ["-m", "servers", trial.transport, "--port", "0", "--source", "none"]
    arguments += ["--rooms", str(plan.rooms), "--history", str(plan.history), "--heartbeat-s", str(plan.heartbeat_s)]
    arguments += ["--variant", trial.variant] if trial.variant else []
    fault = plan.inject_fault.get(trial.transport)
    arguments += ["--sabotage", fault] if fault else []
    if secured is not None:
        arguments += ["--tls-cert", str(secured.chain), "--tls-key", str(secured.key)]
    log = bed.folder / "logs" / f"{trial.id}-server.log"
    server = await start("server", arguments, bed.placement.server, log)
    children.append(server)
    await server.await_ready()
    return server


async def _start_relay(bed: Bed, trial: TrialPlan, server: Child, children: list[Child]) -> Child | None:
    if not trial.rtt_ms:
        return None
    target = f"{server.ready['host']}:{server.ready['port']}"
    arguments = ["-m", "servers", "relay", "--to", target, "--rtt-ms", str(trial.rtt_ms)]
    for name in ("jitter_ms", "bandwidth_mbit_s", "loss"):
        arguments += [f"--{name.replace('_', '-')}", str(getattr(bed.plan, name))]
    arguments += ["--seed", str(trial.seed)]
    relay = await start("relay", arguments, bed.placement.relay, bed.folder / "logs" / f"{trial.id}-relay.log")
    children.append(relay)
    await relay.await_ready()
    return relay


def _address(server: Child, front: Child | None) -> str:
    if front is None:
        return str(server.ready["url"])
    scheme = server.ready["url"].partition("://")[0]
    return f"{scheme}://{front.ready['host']}:{front.ready['port']}"


async def _start_generator(bed: Bed, trial: TrialPlan, ca_file: str, scratch: Path, children: list[Child]) -> Path:
    """Start locust, which listens for orders in ``scratch``. Returns the file it will leave its records in."""
    plan, cores = bed.plan, bed.placement.generator
    records_file, spec_file = scratch / "records", scratch / "spec.json"
    processes = 1 if plan.probes == plan.subscribers else max(2, len(cores))
    spec = LoadSpec(
        transport=trial.transport,
        variant=trial.variant,
        ca_file=ca_file,
        rooms=plan.rooms,
        subscribers=plan.subscribers,
        probes=plan.probes,
        poll_interval_s=trial.poll_interval_s,
        hold_s=plan.hold_s,
        headers=plan.headers,
        seed=trial.seed,
        ramp_s=plan.ramp_s,
        drain_s=drain_s(plan, trial),
        settle_s=settle_s(plan, trial) + SETTLE_READINGS_S,
        warmup_events=warmup_of(plan, trial),
        schedule=schedule_of(plan, trial),
        payload_bytes=plan.payload_bytes,
        cores=cores,
        socket=str(scratch / "orders"),
        records_file=str(records_file),
    )
    spec_file.write_bytes(msgspec.json.encode(spec))
    arguments = list(GENERATORS[trial.generator])
    if "locust" in arguments:
        arguments += ["-u", str(plan.subscribers), "-r", str(plan.subscribers)]
    if trial.generator == "locust" and processes > 1:
        port = str(_free_port())
        arguments += ["--processes", str(processes), "--master-bind-port", port, "--master-port", port]
    log = bed.folder / "logs" / f"{trial.id}-generator.log"
    generator = await start("generator", arguments, cores[0], log, **{SPEC_VARIABLE: str(spec_file)})
    children.append(generator)
    return records_file


async def _idle_share(server: Child, measure_s: float) -> float:
    """The server's CPU with nobody connected, as a share of a core: what is subtracted from its cost."""
    before, began_ns = cpu_ns(server.pid), now_ns()
    await asyncio.sleep(measure_s)
    return (cpu_ns(server.pid) - before) / (now_ns() - began_ns)


async def _conduct(bed: Bed, trial: TrialPlan, record: Trial, rig: Rig, idle_share: float) -> None:
    """Connect, warm up, measure, drain; then turn what everybody recorded into the trial's numbers."""
    plan, pid = bed.plan, rig.server.pid
    schedule = schedule_of(plan, trial)
    part = window(schedule, warmup_of(plan, trial), plan.measured_events)
    rss_before, kernel_before = rss_bytes(pid), kernel_tcp_bytes()
    await rig.line.order("go", url=rig.url)
    await await_ramp(rig, plan.subscribers)
    async with AsyncExitStack() as stack:
        controls = [await stack.enter_async_context(Control(url)) for url in _control_urls(rig)]
        for control in controls:
            await control.reset_stats()  # a first request costs more, and shall not cost it in the measured part
        start_ns = await controls[0].start_feed(schedule, plan.payload_bytes, now_ns() + LEAD_NS)
        await rig.line.order("window", start_ns=start_ns)
        await _sleep_until(start_ns + part.begin_ns)
        begin = _read_cpu(rig)
        for control in controls:
            await control.reset_stats()
        await bed.hiccups.read()
        await _sleep_until(start_ns + part.end_ns)
        end = _read_cpu(rig)
        hiccups = await bed.hiccups.read()
        await asyncio.sleep(settle_s(plan, trial))  # everybody is still connected, and has received events
        growth = rss_bytes(pid) - rss_before, kernel_tcp_bytes() - kernel_before
        server_stats, *relay_stats = [await control.stats() for control in controls]
        published = await controls[0].stop_feed()
    await rig.line.hear("records", rig.children)
    drain_hiccups = await bed.hiccups.read()
    await rig.children[0].kill()  # the generator: locust takes a second to say goodbye
    rig.server.check_alive()
    gauges = metrics.Gauges(
        window_s=(part.end_ns - part.begin_ns) / NS_PER_S,
        server_cpu_ns=end.server_cpu_ns - begin.server_cpu_ns,
        server_idle_share=idle_share,
        server_user_share=_user_share(begin, end),
        relay_cpu_ns=end.relay_cpu_ns - begin.relay_cpu_ns,
        rss_growth_bytes=growth[0],
        kernel_growth_bytes=growth[1],
        server_stats=server_stats,
        relay_stats=relay_stats[0] if relay_stats else {},
        hiccups=hiccups,
        drain_hiccups=drain_hiccups,
        around=between(begin.machine, end.machine),
    )
    records = load_records(rig.records_file)
    _evaluate(bed, trial, record, part, gauges, records, start_ns)
    if published != schedule.limit:
        record.status = "invalid"
        record.reasons.append(f"the publisher was the bottleneck: {published} of {schedule.limit} events in time")


async def await_ramp(rig: Rig, subscribers: int) -> None:
    """Wait until everybody is connected. Raises ``TrialError`` for an incomplete ramp, and what ``hear`` raises."""
    try:
        await rig.line.hear("connected", rig.children, GENERATOR_TIMEOUT_S + subscribers / SLOWEST_CONNECTING_HZ)
    except TrialError as error:
        raise TrialError(f"incomplete ramp: not all of {subscribers} subscribers connected; {error}") from error


def _evaluate(
    bed: Bed,
    trial: TrialPlan,
    record: Trial,
    part: Window,
    gauges: metrics.Gauges,
    records: list[Records],
    start_ns: int,
) -> None:
    plan = bed.plan
    failures = [failure for process in records for failure in process.failures]
    if failures:
        raise TrialError(f"{len(failures)} subscribers failed; the first: {failures[0]}")
    samples = metrics.measured_samples(records, part, plan.rooms)
    if not len(samples.n):
        raise TrialError(f"nothing was delivered of {len(part.events)} events, so nothing was measured")
    wrong = metrics.wrong_dues(samples, part, plan.rooms, start_ns)
    if wrong:
        raise TrialError(f"{wrong} deliveries came before they were due, or with another due instant than scheduled")
    record.counts = metrics.count(
        samples, records, part, plan.rooms, plan.subscribers, _late_after_ms(plan, trial, gauges)
    )
    record.metrics = {
        **metrics.latency_metrics(samples, records, part, plan.rooms),
        **metrics.byte_metrics(
            records,
            trial.transport,
            gauges.window_s,
            plan.subscribers,
            bed.idle.get(trial.transport),
            trial.poll_interval_s,
        ),
        **metrics.cost_metrics(records, gauges, plan.subscribers),
        "due_events_per_s": record.counts.expected / gauges.window_s,
    }
    record.latency_ms = metrics.probe_percentiles(samples, records, part, plan.rooms)
    record.notes = metrics.unsupported(plan, records, part)
    record.samples = _save_samples(bed, record, samples, records)
    record.details |= {"server_stats": gauges.server_stats, "relay_stats": gauges.relay_stats}
    record.details["scheduling"] = [["probes" if of.probes else "load", of.scheduling] for of in records]
    if trial.purpose in ("cost", "tls"):
        closed_loop = trial.transport in POLLS
        record.reasons = validity.cost_reasons(record.metrics, record.counts, closed_loop)
    elif trial.purpose == "saturation":
        record.reasons = validity.saturation_reasons(record.metrics)
    else:
        unrecorded = _unrecorded(gauges, records)
        record.reasons = validity.reasons(record.metrics, unrecorded)
    if record.reasons:
        record.status = "invalid"


def _late_after_ms(plan: Plan, trial: TrialPlan, gauges: metrics.Gauges) -> float | None:
    """From which latency on a delivery is late; ``None`` where the network alone may delay it by any time."""
    if trial.rtt_ms and (plan.loss or plan.bandwidth_mbit_s):
        return None
    return latest_ms(plan, trial) + LATE_MS + metrics.worst_hiccup_ms(gauges.hiccups + gauges.drain_hiccups)


def _unrecorded(gauges: metrics.Gauges, records: list[Records]) -> int:
    meters: list[dict[str, Any]] = [gauges.server_stats["publisher_lateness"], gauges.server_stats["loop_lag"]]
    if gauges.relay_stats:
        meters.append(gauges.relay_stats["release_lateness"])
    meters += [process.loop_lag for process in records]
    return int(sum(meter["unrecorded"] for meter in meters))


def _save_samples(bed: Bed, record: Trial, samples: metrics.Samples, records: list[Records]) -> str:
    """Every probe sample, compressed: subscriber, room, n, due_ns, receive_ns."""
    probe_numbers = np.array([index for process in records for index in process.probes], dtype=np.int64)
    probes = samples.of(np.isin(samples.subscriber, probe_numbers))
    name = f"{SAMPLES_FOLDER}/{record.id}-{record.attempt}.npz"
    np.savez_compressed(bed.folder / name, room=probes.subscriber % bed.plan.rooms, **probes._asdict())
    return name


def _read_cpu(rig: Rig) -> Reading:
    for child in rig.children:
        child.check_alive()
    relay_cpu_ns = cpu_ns(rig.relay.pid) if rig.relay else 0
    return Reading(cpu_ns(rig.server.pid), relay_cpu_ns, *user_and_system_ticks(rig.server.pid), read_machine())


def _user_share(begin: Reading, end: Reading) -> float | None:
    """``None`` where the kernel's samples are too few to split what was used."""
    user = end.server_user_ticks - begin.server_user_ticks
    system = end.server_system_ticks - begin.server_system_ticks
    return user / (user + system) if user + system >= LEAST_TICKS else None


def _control_urls(rig: Rig) -> list[str]:
    """The server's, and the relay's if there is one."""
    return [str(child.ready["control_url"]) for child in (rig.server, rig.relay) if child is not None]


async def _sleep_until(at_ns: int) -> None:
    await asyncio.sleep(max(0.0, (at_ns - now_ns()) / NS_PER_S))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
