"""A stall of the server must show in the latency as arithmetic says: the schedule goes on while nobody serves.

Events are due every 1/r s for T s; the server stands still for S of it. Who is due at a moment of the stall waits for
its end, so a share S/T of all latencies lies evenly between 0 and S, and the others near 0. Measured from the time of
sending instead, which is what a stalled sender puts off, next to nothing of it would be seen (G. Tene, "How NOT to
Measure Latency": coordinated omission).
"""

import asyncio
import signal
from collections.abc import Awaitable
from contextlib import aclosing
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.options import ClientOptions
from feed.envelope import decode_stamp
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule
from tests.conftest import Running, Start, run

RATE_HZ = 100.0
LASTS_S = 10.0
STALL_AT_S = 4.0
STALL_S = 1.0
EVENTS = round(RATE_HZ * LASTS_S)
TOLERANCE_S = 0.1
"""What a busy machine may add or blur; a tenth of the stall."""
MOST_LATE_ELSEWHERE = 0.05
"""Share of all events that may be late without the stall, when the machine itself stands still."""


class Observed(NamedTuple):
    """Seconds, one entry per event."""

    from_due_s: NDArray[np.float64]
    from_publish_s: NDArray[np.float64]
    in_stall: NDArray[np.bool_]
    """Was it due while the server stood still?"""
    stall_s: float
    """How long it really was."""


async def stalled(server: Running) -> Observed:
    """A schedule received by a real client, while its server is stopped for a part of it."""
    shared = new_shared(seed=1)
    client = new_client("websocket", server.url, ClientOptions(), shared)
    rows: list[tuple[int, int]] = []
    async with Control(server.ready["control_url"]) as control, aclosing(client.events()) as stream:
        await anext(stream)  # the welcome
        start_ns = await control.start_feed(Schedule("constant", RATE_HZ, limit=EVENTS), 256)
        stall = asyncio.ensure_future(_stall(server, shared.timer.sleep_until(start_ns + round(STALL_AT_S * NS_PER_S))))
        while len(rows) < EVENTS:
            envelope, receive_ns = await anext(stream)
            rows.append((decode_stamp(envelope.data).due_ns, receive_ns))
        published = await control.publications()
        begin_ns, end_ns = await stall
    shared.timer.close()
    due_ns, receive_ns_all = np.array(rows).T
    publish_ns = np.array([published[due] for due, _ in rows])
    return Observed(
        (receive_ns_all - due_ns) / NS_PER_S,
        (receive_ns_all - publish_ns) / NS_PER_S,
        (begin_ns <= due_ns) & (due_ns <= end_ns),
        (end_ns - begin_ns) / NS_PER_S,
    )


async def _stall(server: Running, until_begin: Awaitable[None]) -> tuple[int, int]:
    """Stop the server for a while, as a long pause of any kind would. Returns from when until when, in ns."""
    await until_begin
    began_ns = now_ns()
    server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(STALL_S)
    server.process.send_signal(signal.SIGCONT)
    return began_ns, now_ns()


def expected_s(quantile: float, stall_s: float) -> float:
    """The latency that this share of the events does not exceed: 0, and evenly up to ``stall_s`` for the last ones."""
    late_share = stall_s / LASTS_S
    return max(0.0, stall_s * (quantile - (1 - late_share)) / late_share)


def test_percentiles_show_a_stall_of_the_server_as_arithmetic_says(start: Start) -> None:
    server = start("websocket", "--source", "none")
    seen: Observed = run(stalled(server))
    # A stall of the machine makes more events late, which moves a quantile up by their share, and never down.
    elsewhere = float(np.mean((seen.from_due_s > TOLERANCE_S) & ~seen.in_stall))
    assert elsewhere <= MOST_LATE_ELSEWHERE
    for quantile in (0.5, 0.9, 0.95, 0.99, 1.0):
        found_s = float(np.quantile(seen.from_due_s, quantile))
        most_s = expected_s(min(1.0, quantile + elsewhere), seen.stall_s)
        assert expected_s(quantile, seen.stall_s) - TOLERANCE_S <= found_s <= most_s + TOLERANCE_S, quantile
    clearly_late_s = 0.05
    late = int((seen.from_due_s[seen.in_stall] > clearly_late_s).sum())
    assert late == pytest.approx(RATE_HZ * (seen.stall_s - clearly_late_s), abs=RATE_HZ * 1.5 * TOLERANCE_S)
    # The same deliveries, measured from when they were sent: the stall is gone, and 95 % and above would be wrong.
    ours = seen.in_stall | (seen.from_due_s <= TOLERANCE_S)
    for quantile in (0.95, 0.99):
        hidden_s = float(np.quantile(seen.from_publish_s[ours], quantile))
        assert hidden_s < expected_s(quantile, seen.stall_s) - TOLERANCE_S, quantile
    assert int((seen.from_publish_s[ours] > clearly_late_s).sum()) < late / 2


def test_the_arithmetic_itself() -> None:
    """Against the latencies of a schedule with a stall, computed one by one."""
    due_s = np.arange(1, 100_001) / 100_000 * LASTS_S
    resumes_s = STALL_AT_S + STALL_S
    latency_s = np.where((due_s > STALL_AT_S) & (due_s < resumes_s), resumes_s - due_s, 0.0)
    for quantile in (0.5, 0.9, 0.95, 0.99, 1.0):
        assert expected_s(quantile, STALL_S) == pytest.approx(float(np.quantile(latency_s, quantile)), abs=1e-3)
