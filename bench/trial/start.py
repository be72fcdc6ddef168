"""Starts the processes of a trial: generator, server, and the relay if the plan has a network; and stops them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.generators.scripts.script import ScriptLoad
from bench.generators.spec import SPEC_VARIABLE, LoadSpec
from bench.machine.ports import free_port
from bench.machine.processes import Child, read_process, start, together
from bench.machine.servers import address_behind, start_relay, start_server
from bench.plan.timing import drain_s, settle_s
from bench.plan.trials import TRIAL_SEED, TrialPlan, schedule_of, service_seed, warmup_of
from bench.results.run import Plan
from bench.trial.channel import GeneratorChannel
from bench.trial.context import IdleCpu, RunContext, TrialProcesses
from bench.trial.tls import Certificate, make_certificate
from bench.trial.users import make_key, make_tokens
from feed.instruments.clock import now_ns
from feed.transports import POLLING

SETTLE_READINGS_S: Final = 0.1
"""For reading memory and statistics before the first subscriber disconnects."""
LOCUST: Final = ("-m", "locust", "--headless", "--only-summary", "--loglevel", "ERROR", "-f")
GENERATORS: Final = {
    "locust": (*LOCUST, "bench/locustfile.py"),
    "bare": ("-m", "bench.generators.bare"),
    "node": ("-m", "bench.generators.node"),
    "socketiouser": (*LOCUST, "bench/generators/socketio_user.py"),
}
"""Generator by name: the arguments of Python that start it."""


@asynccontextmanager
async def trial_processes(context: RunContext, trial: TrialPlan) -> AsyncIterator[TrialProcesses]:
    """The processes of a trial for the time of a block. Raises ``ChildError`` if one of them does not start."""
    children: list[Child] = []
    with tempfile.TemporaryDirectory(prefix="pushmark-") as short:  # a Unix socket's path has at most 107 bytes
        scratch = Path(short)
        try:
            async with GeneratorChannel(scratch / "channel") as channel:
                certificate = make_certificate(scratch) if trial.tls else None
                key = make_key(scratch) if context.plan.users else None
                spec = load_spec_of(context, trial, scratch, certificate)
                if key is not None:
                    spec = msgspec.structs.replace(
                        spec, tokens=make_tokens(key, context.plan.users + 1)
                    )  # one for the preflight
                # First, since it takes longest to boot.
                generator = await _start_generator(context, trial, spec, scratch)
                children.append(generator)
                server = await _start_server(context, trial, certificate, key, scratch)
                children.append(server)
                # No client is connected yet; the relay boots meanwhile.
                idle_cpu, relay = await together(
                    _idle_cpu(server, context.plan.idle_measure_s), _start_relay(context, trial, server, children)
                )
                url = address_behind(server, relay.ready["port"]) if relay else str(server.ready["url"])
                yield TrialProcesses(server, relay, generator, channel, spec, url, idle_cpu)
        finally:
            await together(*(child.stop() for child in reversed(children)))


def load_spec_of(context: RunContext, trial: TrialPlan, scratch: Path, certificate: Certificate | None) -> LoadSpec:
    """The generator's task in this trial."""
    plan = context.plan
    return LoadSpec(
        transport=trial.transport,
        variant=trial.variant,
        ca_file="" if certificate is None else str(certificate.ca),
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
        script=_script(plan, trial),
        cores=context.placement.generator,
        socket=str(scratch / "channel"),
        records_file=str(scratch / "records"),
    )


def _script(plan: Plan, trial: TrialPlan) -> ScriptLoad | None:
    """The measured part of polling includes the poll that brings the last of it."""
    if not plan.scenario:
        return None
    more_s = trial.poll_interval_s if trial.transport == POLLING else 0.0
    return ScriptLoad(plan.scenario, plan.scenario_options, plan.scenario_begin_s, plan.duration_s + more_s)


async def _start_generator(context: RunContext, trial: TrialPlan, spec: LoadSpec, scratch: Path) -> Child:
    spec_file = scratch / "spec.json"
    spec_file.write_bytes(msgspec.json.encode(spec))
    processes = 1 if spec.probes == spec.subscribers else max(2, len(spec.cores))
    arguments = list(GENERATORS[trial.generator])
    if "locust" in arguments:
        arguments += ["-u", str(spec.subscribers), "-r", str(spec.subscribers)]
    if trial.generator == "locust" and processes > 1:
        port = str(free_port())
        arguments += ["--processes", str(processes), "--master-bind-port", port, "--master-port", port]
    log = context.folder / "logs" / f"{trial.id}-generator.log"
    return await start("generator", arguments, spec.cores[0], log, **{SPEC_VARIABLE: str(spec_file)})


async def _start_server(
    context: RunContext, trial: TrialPlan, certificate: Certificate | None, key: Path | None, scratch: Path
) -> Child:
    plan = context.plan
    others: dict[str, Any] = dict(plan.server_options)
    return await start_server(
        trial.transport,
        context.placement.server,
        context.folder / "logs" / f"{trial.id}-server.log",
        rooms=plan.rooms,
        history=plan.history,
        heartbeat_s=plan.heartbeat_s,
        variant=trial.variant or None,
        inject_fault=plan.inject_fault.get(trial.transport),
        tls_cert=certificate and certificate.chain,
        tls_key=certificate and certificate.key,
        gc=trial.gc,
        store=scratch / "store.db" if plan.store else None,
        service_option=[
            f"{name}={service_seed(trial.seed) if value == TRIAL_SEED else value}"
            for name, value in plan.service_options.items()
        ],
        auth="jwt" if key else None,
        jwt_key_file=key,
        **others,
    )


async def _start_relay(context: RunContext, trial: TrialPlan, server: Child, children: list[Child]) -> Child | None:
    """``None`` without a network. Added to ``children`` at once: what runs next to this may fail meanwhile."""
    if not trial.rtt_ms:
        return None
    plan = context.plan
    relay = await start_relay(
        server,
        context.placement.relay,
        context.folder / "logs" / f"{trial.id}-relay.log",
        rtt_ms=trial.rtt_ms,
        jitter_ms=plan.jitter_ms,
        bandwidth_mbit_s=plan.bandwidth_mbit_s,
        loss=plan.loss,
        seed=trial.seed,
    )
    children.append(relay)
    return relay


async def _idle_cpu(server: Child, measure_s: float) -> IdleCpu:
    """The server's CPU without connections, to subtract from its cost."""
    before, began_ns = read_process(server.pid), now_ns()
    await asyncio.sleep(measure_s)
    after = read_process(server.pid)
    return IdleCpu((after.cpu_ns - before.cpu_ns) / (now_ns() - began_ns), after.pid)
