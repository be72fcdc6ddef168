"""Coordinated omission: a server that stands still shows in the percentiles as arithmetic says it must."""

import asyncio
import os
import signal
from contextlib import aclosing

import numpy as np

from clients.client import new_client, new_shared
from clients.control import Control
from clients.options import ClientOptions
from feed.clock import NS_PER_MS, NS_PER_S, now_ns
from feed.envelope import decode_stamp
from feed.schedule import Schedule
from tests.conftest import Start, run

RATE_HZ = 50.0
EVENTS = 200
STALL_FROM = 80
"""The event that is due when the server is stopped."""
STALL_S = 0.4
"""A tenth of the schedule."""


def test_a_stall_shows_in_the_percentiles_as_arithmetic_says(start: Start) -> None:
    """Events due while the server stands still are late by what is left of the stall: a tenth, evenly spread over it.

    What a closed loop sees, the time between two arrivals, hides it: one of 200 is long, the 99th percentile short.
    """
    server = start("websocket", "--source", "none")
    url, control_url, pid = server.url, server.ready["control_url"], server.process.pid
    latency_s, gaps_s, stall_s = run(_measure(url, control_url, pid))
    late = latency_s > 0.1 * stall_s
    expected_late = RATE_HZ * 0.9 * stall_s
    assert abs(int(late.sum()) - expected_late) <= 0.25 * expected_late + 1
    assert np.quantile(latency_s, 0.5) < 0.1 * stall_s
    # The upper tenth is uniform over the stall: its middle, nine tenths of it, and its end.
    share = RATE_HZ * stall_s / EVENTS
    for q in (0.95, 0.98, 0.99):
        expected_s = stall_s * (1 - (1 - q) / share)
        assert abs(np.quantile(latency_s, q) - expected_s) < 0.2 * stall_s, q
    assert stall_s <= latency_s.max() + 1.5 / RATE_HZ and latency_s.max() < 1.5 * stall_s
    assert int((gaps_s > 0.5 * stall_s).sum()) == 1 and np.quantile(gaps_s, 0.99) < 0.5 * stall_s


async def _measure(url: str, control_url: str, pid: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Latencies and times between arrivals in seconds, and how long the server stood still."""
    shared = new_shared(1)
    client = new_client("websocket", url, ClientOptions(), shared)
    dues, receives = [], []
    stalling: asyncio.Task[float] | None = None
    async with aclosing(client.events()) as stream, Control(control_url) as control:
        async for envelope, receive_ns in stream:
            if envelope.type == "welcome":
                start_ns = now_ns() + 200 * NS_PER_MS
                await control.start_feed(Schedule("constant", RATE_HZ, limit=EVENTS), 256, start_ns)
                stalling = asyncio.ensure_future(_stall(pid, start_ns + round(STALL_FROM / RATE_HZ * NS_PER_S)))
            elif envelope.type == "event":
                dues.append(decode_stamp(envelope.data).due_ns)
                receives.append(receive_ns)
            if len(receives) == EVENTS:
                break
    assert stalling is not None
    stall_s = await stalling
    await shared.ledger.settle()
    shared.timer.close()
    due, receive = np.array(dues), np.array(receives)
    return (receive - due) / NS_PER_S, np.diff(receive) / NS_PER_S, stall_s


async def _stall(pid: int, at_ns: int) -> float:
    """Stop the process at an instant and let it go on; how long it stood still, in seconds."""
    await asyncio.sleep(max(0.0, (at_ns - now_ns()) / NS_PER_S))
    os.kill(pid, signal.SIGSTOP)
    stopped_ns = now_ns()
    try:
        await asyncio.sleep(STALL_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    return (now_ns() - stopped_ns) / NS_PER_S
