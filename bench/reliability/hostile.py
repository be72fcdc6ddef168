"""Hostile clients next to good ones: their cost to the server, and to the latency of the good ones.

``python -m bench faults``. Windows without and with hostile clients take turns on one server. The good clients are
shipped ones, whose latency is taken in both windows; the hostile ones (``attacks``) are plain sockets of this process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np

from bench.machine.host import Placement
from bench.machine.processes import Child, rss_bytes
from bench.machine.servers import serving
from bench.reliability.attacks import ATTACKS, HOSTILE_CLIENTS
from bench.reliability.planned_fault import PlannedFault
from bench.results.reliability import HostileTrial
from clients.control import Control
from clients.core.client import Client, new_client, new_shared
from clients.core.options import ClientOptions
from feed.envelope import decode_stamp
from feed.instruments.clock import NS_PER_MS
from feed.schedule import Schedule

GOOD_CLIENTS: Final = 20
RATE_HZ: Final = 100.0
PAYLOAD_BYTES: Final = 512
HISTORY: Final = 64
"""Full before anything is measured, so that it is no part of the memory of hostile clients."""
SETTLE_S: Final = 0.5
ARRIVE_TIMEOUT_S: Final = 30.0


async def run_attack(planned: PlannedFault, events: int, folder: Path, place: Placement, seed: int) -> HostileTrial:
    """One trial: a window of ``events`` at baseline and one under attack, with the growth of the server's memory.

    Raises ``TimeoutError`` if the good clients do not receive everything.
    """
    log, count = folder / "logs" / f"{planned.id}-server.log", HOSTILE_CLIENTS[planned.kind]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(planned.transport, place.server, log, history=HISTORY))
        control = await stack.enter_async_context(Control(server.ready["control_url"]))
        clients = await stack.enter_async_context(_good_clients(server, planned.transport, seed))
        await clients.window(control, events)  # warms up what a first event costs
        baseline_ms = await clients.window(control, events)
        before = rss_bytes(server.pid)
        async with ATTACKS[planned.kind](planned.transport, int(server.ready["port"]), count):
            await asyncio.sleep(SETTLE_S)
            attack_ms = await clients.window(control, events)
            growth = rss_bytes(server.pid) - before
        return HostileTrial(
            transport=planned.transport,
            attack=planned.kind,
            repeat=planned.repeat,
            hostile_clients=count,
            baseline_ms_p99=float(np.percentile(baseline_ms, 99)),
            attack_ms_p99=float(np.percentile(attack_ms, 99)),
            rss_bytes_per_hostile_client=growth / count,
            delivered=clients.delivered,
            expected=3 * events * GOOD_CLIENTS,
        )


class GoodClients:
    """Shipped clients, and the latency of their events."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.welcomed = 0
        self._latency_ms: list[float] = []

    @property
    def delivered(self) -> int:
        """Events over all clients and all windows."""
        return sum(client.session.delivered for client in self.clients)

    async def receive(self, client: Client) -> None:
        """Receive until cancelled."""
        async with aclosing(client.events()) as stream:
            async for envelope, receive_ns in stream:
                if envelope.type == "event":
                    self._latency_ms.append((receive_ns - decode_stamp(envelope.data).due_ns) / NS_PER_MS)
                elif envelope.type == "welcome":
                    self.welcomed += 1

    async def window(self, control: Control, events: int) -> list[float]:
        """Have events published; returns the latency in ms of every delivery. Raises ``TimeoutError``."""
        self._latency_ms = []
        await control.start_feed(Schedule("constant", RATE_HZ, limit=events), PAYLOAD_BYTES)
        await _until(lambda: len(self._latency_ms) >= events * GOOD_CLIENTS)
        return self._latency_ms


@asynccontextmanager
async def _good_clients(server: Child, transport: str, seed: int) -> AsyncIterator[GoodClients]:
    shared = new_shared(seed)
    options = ClientOptions(poll_interval_s=0.2, hold_s=5.0, max_attempts=30)
    good = GoodClients([new_client(transport, server.ready["url"], options, shared) for _ in range(GOOD_CLIENTS)])
    tasks = [asyncio.ensure_future(good.receive(client)) for client in good.clients]
    try:
        await _until(lambda: good.welcomed >= GOOD_CLIENTS)
        yield good
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await shared.ledger.settle()
        shared.timer.close()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(ARRIVE_TIMEOUT_S):
        while not holds():  # noqa: ASYNC110 - counters of the clients measured here: a look costs them less than waking us
            await asyncio.sleep(0.01)
