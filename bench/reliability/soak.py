"""Clients come and go for a long time: does a server leak files, tasks or memory? ``python -m bench soak``.

All transports run at the same time, each server with its own clients. When every client has left, open files and tasks
must be what they were before the first came.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.machine.host import Placement
from bench.machine.processes import Child, rss_bytes
from bench.machine.servers import serving
from bench.results.files import SOAK_FILE, save
from bench.results.reliability import SoakResult, SoakResults, SoakSample, kept, slope_bytes_per_min
from bench.run.progress import Progress
from clients.control import Control
from clients.core.client import Client, Shared, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.options import ClientOptions
from feed.transports import TRANSPORTS

ROOMS: Final = 20
LIFE_S: Final = (0.5, 6.0)
SAMPLE_S: Final = 1.0
SETTLE_S: Final = 90.0
"""Longer than a session of polls lives without a poll."""
RATE_HZ: Final = 5.0


class ShortLivedClients:
    """The clients of one server: each lives for a while, joins a room, publishes, and leaves or just disconnects."""

    def __init__(self, transport: str, server: Child, count: int, seed: int, shared: Shared) -> None:
        self.lives = 0
        self.lived = asyncio.Event()
        """Set when the first life is over."""
        self.requests = 0
        self.failures: deque[str] = deque(maxlen=20)
        self._transport = transport
        self._server = server
        self._shared = shared
        self._draw = random.Random(f"soak-{seed}-{transport}")
        self._tasks = [asyncio.ensure_future(self._live_for_ever()) for _ in range(count)]

    async def stop(self) -> None:
        """Disconnect all clients."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live_for_ever(self) -> None:
        cursor = ""
        while True:
            options = ClientOptions(since=cursor, poll_interval_s=0.3, hold_s=5.0)
            client = new_client(self._transport, self._server.ready["url"], options, self._shared)
            receiving = asyncio.ensure_future(client.run())
            try:
                await self._live(client)
            except (ClientError, TimeoutError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            finally:
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
            self.lives += 1
            self.lived.set()
            cursor = str(client.session.cursor or "")

    async def _live(self, client: Client) -> None:
        life_s, takes_leave = self._draw.uniform(*LIFE_S), self._draw.random() < 0.5
        takes_requests = TRANSPORTS[self._transport].takes_requests
        if takes_requests:
            room = f"room-{self._draw.randrange(ROOMS)}"
            await client.join(room)
            await client.request("publish", room=room, data={"text": "x" * self._draw.randrange(200)})
            self.requests += 2
        await asyncio.sleep(life_s)
        if takes_requests and takes_leave:
            await client.leave(room)
            self.requests += 1


async def soak(results: SoakResults, folder: Path, place: Placement, progress: Progress) -> None:
    """Run all servers at once. Cancelling it stops all processes; what was measured until then is saved."""
    (folder / "logs").mkdir(exist_ok=True)
    progress.begin(results.duration_s + SETTLE_S, len(results.servers))
    shared = new_shared(results.seed)

    async def soak_one(result: SoakResult) -> None:
        log = folder / "logs" / f"{result.transport}.log"
        async with serving(result.transport, place.server, log, source="synthetic", rate_hz=RATE_HZ) as server:
            await _soak_server(server, result, results, shared)
        progress.finished(result.transport, outcome(result), 0.0)

    try:
        async with asyncio.TaskGroup() as group:  # cancelled, it waits until each has stopped its server
            for one in results.servers:
                group.create_task(soak_one(one))
        results.finished = True
    finally:
        save(results, folder, SOAK_FILE)
        shared.timer.close()


async def _soak_server(server: Child, result: SoakResult, results: SoakResults, shared: Shared) -> None:
    async with Control(server.ready["control_url"]) as control:
        await _one_life(result.transport, server, shared)  # what is imported and made on first use is no leak
        began_s = time.monotonic()
        result.before = await _sample(server, control, began_s)
        clients = ShortLivedClients(result.transport, server, results.clients, results.seed, shared)
        try:
            while time.monotonic() - began_s < results.duration_s:
                await asyncio.sleep(SAMPLE_S)
                result.samples.append(await _sample(server, control, began_s))
        finally:
            await clients.stop()
            result.lives, result.requests, result.failures = clients.lives, clients.requests, list(clients.failures)
        result.after = await _settled(server, control, began_s, result.before)


async def _one_life(transport: str, server: Child, shared: Shared) -> None:
    clients = ShortLivedClients(transport, server, 1, 0, shared)
    await clients.lived.wait()
    await clients.stop()
    async with Control(server.ready["control_url"]) as control:
        await _until(lambda stats: stats["connections_now"] == 0, control)


async def _settled(server: Child, control: Control, began_s: float, before: SoakSample) -> SoakSample:
    """The last reading: when everything is what it was before, at the latest after ``SETTLE_S``."""
    await _until(lambda stats: stats["connections_now"] == 0 and stats["tasks"] <= before.tasks, control)
    return await _sample(server, control, began_s)


async def _until(holds: Callable[[dict[str, int]], bool], control: Control) -> None:
    end_s = time.monotonic() + SETTLE_S
    while time.monotonic() < end_s and not holds(await control.stats()):  # noqa: ASYNC110 - another process, which answers when asked
        await asyncio.sleep(0.2)


async def _sample(server: Child, control: Control, began_s: float) -> SoakSample:
    stats = await control.stats()
    return SoakSample(
        at_s=time.monotonic() - began_s,
        rss_bytes=rss_bytes(server.pid),
        open_files=open_files(server.pid),
        tasks=int(stats["tasks"]),
        connections=int(stats["connections_now"]),
    )


def open_files(pid: int) -> int:
    """Open file descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def new_soak(transport: str) -> SoakResult:
    """A soak that has not begun."""
    nothing = SoakSample(0.0, 0, 0, 0, 0)
    return SoakResult(transport, nothing, [], nothing, 0, 0, [])


def outcome(result: SoakResult) -> str:
    """The outcome in a few words."""
    growth = f"{slope_bytes_per_min(result) / 1024:.0f} KiB/min"
    return f"{result.lives} clients came and went, {growth}; " + ("; ".join(kept(result)) or "nothing leaked")
