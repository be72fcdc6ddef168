"""A trace of concurrent editing, replayed by clients over each transport: do all writers end with the same text?

An edit waits for those that its writer had seen, so latencies mean nothing here.
"""

import asyncio
import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console

from bench.machine.host import Placement
from bench.machine.servers import serving
from bench.run.progress import Progress
from bench.run.shell import orchestrate
from bench.scenarios.trace import Replica, Trace, TraceError, of_writer
from clients.core.client import Client, new_client, new_shared
from clients.core.options import ClientOptions
from feed.envelope import Envelope
from feed.instruments.clock import NS_PER_S, now_ns

ROOM: Final = "trace"
IN_FLIGHT: Final = 32
"""Edits of one writer that wait for their acknowledgement at once."""
MISSING_S: Final = 30.0
"""An edit that has not come after this never comes."""
POLL_INTERVAL_S: Final = 0.05
NO_LIMIT: Final = 1_000_000
EXPECTED_S: Final = 30.0
"""For one transport. A trace of 23,000 edits takes 5 s over a stream, and over polls a minute."""


class Replayed(NamedTuple):
    """How the replay over one transport ended."""

    edits: int
    took_s: float
    texts: frozenset[str]
    """Of all writers, and of a reader that came at the end."""
    recorded: str
    """The text in which the trace ends."""

    @property
    def holds(self) -> bool:
        """Do all end in the recorded text?"""
        return self.texts == {self.recorded}

    def __str__(self) -> str:
        ends = "all as recorded" if self.holds else "all alike, but not as recorded"
        if len(self.texts) > 1:
            ends = f"{len(self.texts)} different texts"
        return f"{self.edits:,} edits in {self.took_s:.0f} s, then {ends}"


class _Order:
    """Which of the server's updates each edit is, as those who sent them learn it."""

    def __init__(self, writers: int) -> None:
        self.update_of: dict[int, int] = {}
        self.opened = asyncio.Barrier(writers)
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has come: wake those who wait for it."""
        self._changed.set()
        self._changed.clear()

    async def wait(self) -> None:
        """Until something has come."""
        await self._changed.wait()


class _Writer:
    """A writer of the trace: its client and its document."""

    def __init__(self, trace: Trace, writer: int, client: Client, order: _Order) -> None:
        self.replica = Replica(trace, writer)
        self._trace, self._writer, self._client, self._order = trace, writer, client, order
        self._came: dict[int, bytes] = {}
        """The server's number of an update -> the update, if it was not taken yet."""
        self._free = asyncio.Semaphore(IN_FLIGHT)
        client.on("update", self._note)

    async def run(self) -> None:
        """Make all edits of this writer, then take what is left of the others'."""
        await self._client.join(ROOM)
        await _ask(self._client, "open")
        await self._order.opened.wait()
        async with asyncio.TaskGroup() as sending:
            for index in of_writer(self._trace, self._writer):
                await self._take(self.replica.lacking(index))
                await self._free.acquire()
                sending.create_task(self._send(index, self.replica.edit(index)))
        await self._take([index for index in range(len(self._trace.edits)) if not self.replica.has(index)])

    async def _send(self, index: int, update: bytes) -> None:
        answer = await _ask(self._client, "update", update)
        self._free.release()
        self._order.update_of[index] = answer["update"]
        self._order.tell()

    def _note(self, envelope: Envelope) -> None:
        self._came[envelope.value()["update"]] = envelope.payload
        self._order.tell()

    async def _take(self, edits: list[int]) -> None:
        for index in edits:
            try:
                async with asyncio.timeout(MISSING_S):
                    while (number := self._order.update_of.get(index)) is None or number not in self._came:
                        await self._order.wait()
            except TimeoutError:
                raise TraceError(f"edit {index} did not come to writer {self._writer} within {MISSING_S:g} s") from None
            self.replica.take(index, self._came.pop(number))


def replay_over_all(path: Path, trace: Trace, transports: Sequence[str], place: Placement, console: Console) -> bool:
    """Replay a trace over each transport, and say how it ended. Returns whether all ended as recorded."""
    ended: list[bool] = []

    async def measure(progress: Progress) -> None:
        progress.begin(EXPECTED_S * len(transports), len(transports))
        with tempfile.TemporaryDirectory(prefix="pushmark-") as logs:
            for left, transport in reversed(list(enumerate(reversed(transports)))):
                progress.starting(f"{path.name} over {transport}", EXPECTED_S)
                try:
                    found = await _replay_over(transport, trace, place, Path(logs) / f"{transport}.log")
                    said, holds = str(found), found.holds
                except TraceError as error:
                    said, holds = f"failed: {error}", False
                progress.finished(transport, said, EXPECTED_S * left)
                ended.append(holds)

    orchestrate(measure, place, console)
    return len(ended) == len(transports) and all(ended)


async def _replay_over(transport: str, trace: Trace, place: Placement, log: Path) -> Replayed:
    limits = [f"messages_per_connection_hz={NO_LIMIT}", f"message_burst={NO_LIMIT}"]
    async with serving(transport, place.server, log, limit=limits, history=100_000) as server:
        url, options, shared = str(server.ready["url"]), ClientOptions(poll_interval_s=POLL_INTERVAL_S), new_shared(1)
        clients = [new_client(transport, url, options, shared) for _ in range(trace.writers + 1)]
        order, began_ns = _Order(trace.writers), now_ns()
        writers = [_Writer(trace, number, client, order) for number, client in enumerate(clients[:-1])]
        try:
            async with asyncio.TaskGroup() as group:
                receiving = [group.create_task(client.run()) for client in clients]
                typing = [group.create_task(writer.run()) for writer in writers]
                await asyncio.wait(typing)
                took_s = (now_ns() - began_ns) / NS_PER_S
                reader = await _read(trace, clients[-1])
                for task in receiving:
                    task.cancel()
        except ExceptionGroup as group_of:
            raise TraceError(_first(group_of)) from group_of
    texts = frozenset([reader, *(writer.replica.text for writer in writers)])
    return Replayed(len(trace.edits), took_s, texts, trace.text)


async def _read(trace: Trace, client: Client) -> str:
    """The document as somebody gets it who comes at the end."""
    await client.join(ROOM)
    reader = Replica(trace, trace.writers)
    for update in (await _ask(client, "open"))["updates"]:
        reader.apply(base64.b64decode(update))
    return reader.text


async def _ask(client: Client, op: str, payload: bytes = b"") -> Any:
    fields = {"payload": payload} if payload else {}
    return await client.request("call", service="collab", data={"op": op, "room": ROOM}, **fields)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
