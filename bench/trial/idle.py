"""Bytes of an idle subscriber: one heartbeat or empty poll cycle.

Measured apart from the trials, with a short period so that several cycles fit into seconds. The bytes of a cycle do not
depend on its period; ``Idle.period_s`` is the period in the trials, over which they are spread.
"""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Final

from bench.machine.servers import serving
from bench.results.run import Idle, Plan
from clients.core.client import Client, new_client, new_shared
from clients.core.ledger import Totals
from clients.core.options import ClientOptions
from feed.transports import POLLING, POLLS

PERIOD_S: Final = 0.25
CYCLES: Final = 6
SETTLE_S: Final = 0.6 * PERIOD_S
"""After a cycle its last acknowledgement may be delayed by up to 40 ms."""
LOOK_S: Final = 0.005
TIMEOUT_S: Final = 30.0


async def measure_idle(plan: Plan, core: int, folder: Path) -> dict[str, Idle]:
    """One cycle of every transport, all transports at the same time: bytes do not depend on load.

    A transport that fails here is left out; its trials show the reason.
    """
    measured = await asyncio.gather(
        *(_measure(plan, name, core, folder) for name in plan.transports), return_exceptions=True
    )
    return {name: idle for name, idle in zip(plan.transports, measured, strict=True) if isinstance(idle, Idle)}


async def _measure(plan: Plan, transport: str, core: int, folder: Path) -> Idle:
    log = folder / "logs" / f"idle-{transport}.log"
    shared = new_shared(plan.seed)
    try:
        async with serving(transport, core, log, heartbeat_s=PERIOD_S) as server:
            options = ClientOptions(headers=plan.headers, poll_interval_s=PERIOD_S, hold_s=PERIOD_S)
            client = new_client(transport, server.ready["url"], options, shared)
            receiving = asyncio.ensure_future(_receive(client))
            async with asyncio.timeout(TIMEOUT_S):
                before = await _after_cycles(client, transport, 2)
                after = await _after_cycles(client, transport, CYCLES)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
    finally:
        shared.timer.close()
    moved = after.since(before)
    cycles = _cycles(moved, transport)
    return Idle(
        cycle_bytes=(moved.stream_bytes + moved.header_bytes) / cycles,
        cycle_stream_bytes=moved.stream_bytes / cycles,
        cycles=cycles,
        period_s=_period_s(plan, transport),
        pace=_pace(client),
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


async def _receive(client: Client) -> None:
    async with aclosing(client.events()) as stream:
        async for _ in stream:
            pass


async def _after_cycles(client: Client, transport: str, count: int) -> Totals:
    """The totals in the quiet part after ``count`` more cycles."""
    target = _cycles(client.ledger.totals(), transport) + count
    while _cycles(client.ledger.totals(), transport) < target:  # noqa: ASYNC110 - counters in the path that is measured, which wakes no task
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(SETTLE_S)
    return client.ledger.totals()


def _cycles(totals: Totals, transport: str) -> int:
    return totals.requests if transport in POLLS else totals.heartbeats
