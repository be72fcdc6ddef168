"""The meter of what the host takes away must see a stall as long as it was."""

import asyncio
import math
import os
import signal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.machine.hiccup import INTERVAL_NS, Hiccups, record_ticks
from feed.instruments.clock import NS_PER_MS, NS_PER_S
from feed.instruments.meters import Lateness
from tests.conftest import run

STALL_S = 0.2


@given(st.integers(1, 500), st.integers(0, INTERVAL_NS - 1))
def test_every_tick_of_a_stall_is_recorded(expirations: int, beyond_ns: int) -> None:
    lateness, due_ns = Lateness(), 7 * NS_PER_S
    at_ns = due_ns + (expirations - 1) * INTERVAL_NS + beyond_ns
    assert record_ticks(lateness, due_ns, expirations, at_ns) == due_ns + expirations * INTERVAL_NS
    found = lateness.summary()
    assert (found["count"], found["unrecorded"]) == (expirations, 0)
    longest_us = (at_ns - due_ns) / 1000
    assert abs(found["us_max"] - longest_us) <= 0.001 * longest_us + 1  # three significant digits
    assert abs(found["us_p50"] - longest_us / 2) <= 0.002 * longest_us + INTERVAL_NS / 1000  # one tick


def test_the_meter_is_never_in_step_with_the_tick_by_which_the_kernel_charges() -> None:
    """Its wake-ups come at a thousand different places of a tick, whether that is 1, 4 or 10 ms long."""
    assert all(math.gcd(INTERVAL_NS, tick_ms * NS_PER_MS) * 1000 <= tick_ms * NS_PER_MS for tick_ms in (1, 4, 10))


def test_a_stopped_meter_reports_the_stall(tmp_path: Path) -> None:
    async def body() -> dict[str, float]:
        meters = Hiccups()
        await meters.start([min(os.sched_getaffinity(0))], tmp_path)
        try:
            pid = meters.meters[0].process.pid
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(STALL_S)
            os.kill(pid, signal.SIGCONT)
            return (await meters.read())[0]
        finally:
            await meters.stop()

    found = run(body())
    assert found["us_max"] * 1000 > 0.9 * STALL_S * NS_PER_S
    assert found["count"] > 0.9 * STALL_S * NS_PER_S / INTERVAL_NS
