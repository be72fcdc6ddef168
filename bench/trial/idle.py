"""Bytes of an idle subscriber: one heartbeat or empty poll cycle, by several subscribers one after another.

Measured apart from the trials, with a short period so that several cycles fit into seconds. The bytes of a cycle do not
depend on its period; ``Idle.period_s`` is the period in the trials, over which they are spread. What a busy machine or
a fault adds to one subscriber's cycles must not reach every block alike: each block has the cycles of another
subscriber (``Idle.of_block``), and those that cannot be right are measured again.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from bench.machine.servers import serving
from bench.results.run import Idle, IdleRepeat, Plan
from bench.trial.users import make_key, make_tokens
from clients.core.client import Client, new_client, new_shared
from clients.core.ledger import Totals
from clients.core.options import ClientOptions
from feed.transports import POLLING, POLLS

PERIOD_S: Final = 0.25
CYCLES: Final = 6
STAGGER_S: Final = PERIOD_S
"""From one subscriber's beginning to the next one's, so that one stall of the machine meets different cycles."""
SETTLE_S: Final = 0.6 * PERIOD_S
"""After a cycle its last acknowledgement may be delayed by up to 40 ms."""
LOOK_S: Final = 0.01
TIMEOUT_S: Final = 30.0
REPEATS: Final = range(5, 11)
"""Subscribers of each transport: as many as there are blocks, within these bounds."""
LEAST_REPEATS: Final = 3
"""Fewer that count are none: two that disagree do not say which of them is wrong."""
ROUNDS: Final = 3
"""How often subscribers are measured that are still missing."""
SCATTER_BYTES: Final = 5.0
"""Largest distance of a subscriber's cycle from the median of all. Honest ones do not differ by a byte, and what a late
process adds is a bare acknowledgement of 52 (docs/runs/idle)."""


async def measure_idle(plan: Plan, core: int, folder: Path) -> dict[str, Idle]:
    """The cycles of every transport, all transports at the same time: bytes do not depend on load.

    A transport whose cycles could not be measured has a ``reason``, with which its trials fail.
    """
    measured = await asyncio.gather(*(_idle(plan, name, core, folder) for name in plan.transports))
    return dict(zip(plan.transports, measured, strict=True))


async def _idle(plan: Plan, transport: str, core: int, folder: Path) -> Idle:
    wanted = min(max(plan.blocks, REPEATS.start), REPEATS.stop - 1)
    repeats: list[IdleRepeat] = []
    failure = ""
    for _ in range(ROUNDS):
        missing = wanted - sum(not one.reason for one in repeats)
        if not missing:
            break
        try:
            with TemporaryDirectory(prefix="pushmark-") as scratch:
                key = make_key(Path(scratch)) if plan.users else None
                tokens = make_tokens(key, missing) if key else [""] * missing
                auth = {"auth": "jwt", "jwt_key_file": key} if key else {}
                log = folder / "logs" / f"idle-{transport}.log"
                async with serving(transport, core, log, heartbeat_s=PERIOD_S, **auth) as server:
                    url = server.ready["url"]
                    measuring = [_repeat(plan, transport, url, *each) for each in enumerate(tokens)]
                    repeats = judged([*repeats, *await asyncio.gather(*measuring)])
        except Exception as error:  # whatever fails, the other transports keep their cycles
            failure = _words(error)
    return summary(repeats, _period_s(plan, transport), failure)


def judged(repeats: Sequence[IdleRepeat]) -> list[IdleRepeat]:
    """Each with the reason why it does not count, if there is one."""
    usable = [one.cycle_bytes for one in repeats if one.cycles and not one.reconnections]
    median = statistics.median(usable) if usable else 0.0
    return [msgspec.structs.replace(one, reason=_reason(one, median)) for one in repeats]


def _reason(one: IdleRepeat, median_bytes: float) -> str:
    if not one.cycles:
        return one.reason
    if one.reconnections:
        return f"{one.reconnections} reconnections during the cycles"
    away = one.cycle_bytes - median_bytes
    if abs(away) > SCATTER_BYTES:
        return f"{one.cycle_bytes:.1f} B a cycle, {away:+.1f} B from the median; allowed are {SCATTER_BYTES:g} B"
    return ""


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def summary(repeats: list[IdleRepeat], period_s: float, failure: str) -> Idle:
    """All repeats, and the mean of those that count."""
    counting = [one for one in repeats if not one.reason]
    paces = [one.pace for one in counting if one.pace is not None]
    reason = ""
    if len(counting) < LEAST_REPEATS:
        why = failure or "; ".join(dict.fromkeys(one.reason for one in repeats if one.reason))
        reason = f"an idle cycle was measured by {len(counting)} subscribers, {LEAST_REPEATS} needed: {why}"
    return Idle(
        cycle_bytes=statistics.fmean([one.cycle_bytes for one in counting] or [0.0]),
        cycle_stream_bytes=statistics.fmean([one.cycle_stream_bytes for one in counting] or [0.0]),
        cycles=sum(one.cycles for one in counting),
        period_s=period_s,
        repeats=repeats,
        reason=reason,
        pace=statistics.median(paces) if paces else None,
    )


async def _repeat(plan: Plan, transport: str, url: str, number: int, token: str) -> IdleRepeat:
    """The cycles of one subscriber on a connection of its own; one with a token has a session as well."""
    await asyncio.sleep(number * STAGGER_S)
    shared = new_shared(plan.seed)
    try:
        options = ClientOptions(headers=plan.headers, poll_interval_s=PERIOD_S, hold_s=PERIOD_S, token=token)
        client = new_client(transport, url, options, shared)
        async with _receiving(client), asyncio.timeout(TIMEOUT_S):
            if token:
                await client.request("call", service="echo")
            readings = [await _after_cycles(client, transport, 2)]
            for _ in range(CYCLES):
                readings.append(await _after_cycles(client, transport, 1))
        return msgspec.structs.replace(repeat_of(readings, transport, client.reconnects), pace=_pace(client))
    except Exception as error:  # whatever fails, the other subscribers keep their cycles
        return IdleRepeat(0.0, 0.0, 0, reason=_words(error))
    finally:
        shared.timer.close()


def repeat_of(readings: Sequence[Totals], transport: str, reconnections: int) -> IdleRepeat:
    """The median cycle between readings that were taken in the quiet part after each: a late process may add a bare
    acknowledgement to some."""
    moved = [after.since(before) for before, after in pairwise(readings)]
    by_bytes = sorted(moved, key=lambda of: (of.stream_bytes + of.header_bytes) / _cycles(of, transport))
    median = by_bytes[(len(by_bytes) - 1) // 2]
    cycles = _cycles(median, transport)
    return IdleRepeat(
        cycle_bytes=(median.stream_bytes + median.header_bytes) / cycles,
        cycle_stream_bytes=median.stream_bytes / cycles,
        cycles=sum(_cycles(of, transport) for of in moved),
        reconnections=max(reconnections, sum(of.opened for of in moved)),
    )


def _pace(client: Client) -> float | None:
    """How often cycles came, against how often they were asked for."""
    period_s = (client.polls if client.transport.name == POLLING else client.heartbeats).period_s
    return None if period_s is None else period_s / PERIOD_S


def _period_s(plan: Plan, transport: str) -> float:
    """The period of a cycle in the trials."""
    if transport == POLLING:
        return plan.poll_interval_s
    return plan.hold_s if transport in POLLS else plan.heartbeat_s


@asynccontextmanager
async def _receiving(client: Client) -> AsyncIterator[None]:
    async def receive() -> None:
        async with aclosing(client.events()) as stream:
            async for _ in stream:
                pass

    task = asyncio.ensure_future(receive())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _after_cycles(client: Client, transport: str, count: int) -> Totals:
    """The totals in the quiet part after ``count`` more cycles."""
    target = _cycles(client.ledger.totals(), transport) + count
    while _cycles(client.ledger.totals(), transport) < target:  # noqa: ASYNC110 - counters in the path that is measured, which wakes no task
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(SETTLE_S)
    return client.ledger.totals()


def _cycles(totals: Totals, transport: str) -> int:
    return totals.requests if transport in POLLS else totals.heartbeats
