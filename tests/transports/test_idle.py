"""Idle cycles on real servers: a stall adds nothing to them, and what a reconnection adds does not count."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.machine.hiccup import Hiccups
from bench.machine.host import placement
from bench.plan.presets import make_plan
from bench.plan.trials import trials
from bench.results.run import Idle
from bench.trial import idle
from bench.trial.conduct import run_trial
from bench.trial.context import RunContext
from clients.control import Control
from servers.platform.options import ServerOptions
from tests.conftest import run, starting, until
from tests.helpers.forks import Forks

STALL_S = 0.6
HEARTBEAT_BYTES = 172.0
"""Of a ping and its pong, with the headers of three segments (docs/runs/idle)."""


def measured(monkeypatch: pytest.MonkeyPatch, folder: Path, forks: Forks, *servers: dict[str, float]) -> Idle:
    """WebSocket's cycles by these servers in turn. While the first is measured, its subscribers stand still once."""
    plan, to_come = make_plan("smoke", transports=["websocket"]), list(servers)

    @asynccontextmanager
    async def serving(transport: str, core: int, log: Path, *, heartbeat_s: float) -> AsyncIterator[Any]:
        is_first, options = len(to_come) == len(servers), to_come.pop(0)
        encoded = msgspec.json.encode(ServerOptions(transport, port=0, heartbeat_s=heartbeat_s, **options)).decode()
        with starting(folder, lambda _, __, log: forks.start("tests.helpers.serve", [encoded], log)) as start:
            server = start(transport)
            stalling = asyncio.ensure_future(stall(str(server.ready["control_url"]), STALL_S if is_first else 0.0))
            yield server
            await stalling

    monkeypatch.setattr(idle, "serving", serving)
    monkeypatch.setattr(idle, "PERIOD_S", 0.15)
    monkeypatch.setattr(idle, "SETTLE_S", 0.1)
    monkeypatch.setattr(idle, "REPEATS", range(3, 4))
    (folder / "logs").mkdir()
    found: dict[str, Idle] = run(idle.measure_idle(plan, 0, folder))
    return found["websocket"]


async def stall(control_url: str, stall_s: float) -> None:
    """Hold up the loop of all subscribers once they are connected: no ping is answered meanwhile."""
    async with Control(control_url) as control:

        async def connected() -> bool:
            return bool((await control.stats())["connections_now"] == 3)

        await until(connected, "three subscribers", 30)
    time.sleep(stall_s)  # noqa: ASYNC251 - it must block


def test_a_stall_does_not_reconnect_and_adds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forks: Forks
) -> None:
    found = measured(monkeypatch, tmp_path, forks, {}, {}, {})
    assert [one.reconnections for one in found.repeats] == [0] * len(found.repeats)
    assert (found.cycle_bytes, found.reason) == (HEARTBEAT_BYTES, "")


def test_a_reconnection_does_not_count_and_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forks: Forks
) -> None:
    """A ping time-out shorter than the stall, as it once was: 427 B instead of 172."""
    found = measured(monkeypatch, tmp_path, forks, {"ping_timeout_s": 0.15}, {}, {})
    assert [bool(one.reconnections) for one in found.repeats][:6] == [True, True, True, False, False, False]
    assert all("reconnections" in one.reason for one in found.repeats[:3])
    assert (found.cycle_bytes, found.reason) == (HEARTBEAT_BYTES, "")


def test_without_idle_cycles_a_trial_fails_with_the_reason(tmp_path: Path) -> None:
    plan = make_plan("smoke", transports=["websocket"])
    cycles = {"websocket": idle.summary([], 15.0, "ChildError: it did not start")}
    context = RunContext(plan, tmp_path, placement([0]), Hiccups(), cycles)
    record = run(run_trial(context, trials(plan)[0], 1))
    assert record.status == "failed" and "ChildError: it did not start" in record.reasons[0]
