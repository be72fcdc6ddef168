"""Faults planted in real trials, those together that do not hide each other: each is named in the trial's reasons."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.generators.spec import LoadSpec
from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.processes import Child, ProcessReading, read_process
from bench.plan.presets import make_plan
from bench.plan.trials import TrialPlan, trials
from bench.results.run import Idle, Trial
from bench.trial import conduct, start
from bench.trial.context import RunContext

PLAN: Final = make_plan(
    "smoke", "sparse", transports=["polling", "long_polling", "websocket"], subscribers=6, rooms=6, poll_interval_s=0.5
)
TOLD: Final[dict[str, dict[str, Any]]] = {
    "polling": {"poll_interval_s": 0.5 * PLAN.poll_interval_s, "headers": "minimal"},
    "long_polling": {"hold_s": PLAN.hold_s / 2},
    "websocket": {},
}
"""What the generator is told instead of the plan."""
IDLE: Final = {
    "polling": Idle(1003, 743, 6, 0.2),
    "long_polling": Idle(1020, 760, 6, 25),
    "websocket": Idle(172, 16, 6, 15),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Trial]]:
    """One trial of each transport, all at the same time. The relay's CPU is read as the WebSocket server's, whose
    heartbeats come twice a second."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("planted")
    real_spec, real_server, real_relay = start.load_spec_of, start.start_server, start.start_relay
    read_instead: dict[int, int] = {}

    def load_spec_of(context: RunContext, one: TrialPlan, *rest: Any) -> LoadSpec:
        return msgspec.structs.replace(real_spec(context, one, *rest), **TOLD[one.transport])

    async def start_server(transport: str, *rest: Any, **options: Any) -> Child:
        return await real_server(
            transport, *rest, **{**options, **({"heartbeat_s": 0.5} if transport == "websocket" else {})}
        )

    async def start_relay(server: Child, *rest: Any, **options: Any) -> Child:
        relay = await real_relay(server, *rest, **options)
        if server.ready["transport"] == "websocket":
            read_instead[server.pid] = relay.pid
        return relay

    def read(pid: int) -> ProcessReading:
        return read_process(read_instead.get(pid, pid))

    for module, name, function in (
        (start, "load_spec_of", load_spec_of),
        (start, "start_server", start_server),
        (start, "start_relay", start_relay),
        (conduct, "read_process", read),
    ):
        patch.setattr(module, name, function)
    yield asyncio.run(_trials(folder))
    patch.undo()


async def _trials(folder: Path) -> dict[str, Trial]:
    (folder / "samples").mkdir()
    planned = [one for one in trials(PLAN) if one.purpose == "main"]
    return {trial.transport: trial for trial in await asyncio.gather(*(_trial(one, folder) for one in planned))}


async def _trial(one: TrialPlan, folder: Path) -> Trial:
    hiccups, logs = Hiccups(), folder / "logs" / one.transport
    logs.mkdir(parents=True)
    await hiccups.start([0], logs)
    try:
        return await conduct.run_trial(RunContext(PLAN, folder, Placement(0, 0, [0]), hiccups, IDLE), one, 1)
    finally:
        await hiccups.stop()


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        ("polling", "polls came every 0."),
        ("polling", "GET /poll was sent with 1 headers"),
        ("long_polling", "long polls asked to be held for 12.5 s; planned is 25 s"),
        ("websocket", "the server's CPU was read of process"),
        ("websocket", "one every 15 s makes 0 to 0"),
        ("websocket", "the server has heartbeats every 0.5 s"),
    ],
)
def test_a_fault_planted_in_a_trial_is_named(planted: dict[str, Trial], transport: str, said: str) -> None:
    found = planted[transport]
    assert found.status == "invalid", found.reasons
    assert any(said in reason for reason in found.reasons), found.reasons
