"""Writers of documents (``servers.services.collab``) who type at once, each at its own place."""

import asyncio
import random
from typing import ClassVar, Final

import msgspec

from bench.generators.scripts.editors import EDITORS, Editor
from bench.generators.scripts.script import Script, Stage
from clients.core.errors import ClientError
from feed.envelope import Envelope
from feed.instruments.clock import NS_PER_S, now_ns

TYPED: Final = "typed"
SEEN: Final = "seen"
FINAL: Final = "final"
DELETES: Final = 0.1
"""Share of keystrokes that take a character away."""
JUMPS: Final = 0.02
"""Share of keystrokes before which the writer goes to another place."""


class _Said(msgspec.Struct):
    update: int


_DECODER: Final = msgspec.json.Decoder(_Said)


class Collab(Script):
    """Options: ``writers`` of each document, the ``engine``, ``edits_hz`` of each writer, and ``types_s``, after which
    nobody types.
    """

    FIELDS: ClassVar = {
        TYPED: ("subscriber", "update", "due_ns", "acked_ns"),
        SEEN: ("subscriber", "update", "receive_ns"),
        FINAL: ("subscriber", "at", "character"),
    }

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._editors: dict[int, Editor] = {}
        self._cursors: dict[int, int] = {}

    async def enter(self, index: int) -> None:
        self._editors[index], self._cursors[index] = EDITORS[self.option("engine")](), 0
        client = self.stage.clients[index]
        await client.join(self._room(index))
        data = {"op": "open", "room": self._room(index), "engine": self.option("engine")}
        await client.request("call", service="collab", data=data)

    async def act(self, index: int, start_ns: int) -> None:
        """Open loop: a key is pressed when it is due, whether or not the one before is acknowledged."""
        draw, at_s = self.draw(index), 0.0
        async with asyncio.TaskGroup() as keys:
            while (at_s := at_s + draw.expovariate(self.option("edits_hz"))) < self.option("types_s"):
                due_ns = start_ns + round(at_s * NS_PER_S)
                await self.stage.timer.sleep_until(due_ns)
                keys.create_task(self._send(index, self._press(index, draw), due_ns))

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        if envelope.type == "update":
            self._editors[index].take(envelope.payload)
            self.rows[SEEN].extend((index, _DECODER.decode(envelope.data).update, receive_ns))

    def finish(self) -> None:
        for index, editor in self._editors.items():
            for at, character in enumerate(editor.text):
                self.rows[FINAL].extend((index, at, ord(character)))

    def _press(self, index: int, draw: random.Random) -> bytes:
        """A key: mostly a letter behind the one before."""
        editor = self._editors[index]
        size = len(editor.text)
        cursor = draw.randint(0, size) if draw.random() < JUMPS else min(self._cursors[index], size)
        if draw.random() < DELETES and cursor:
            self._cursors[index] = cursor - 1
            return editor.edit(cursor - 1, 1, "")
        self._cursors[index] = cursor + 1
        return editor.edit(cursor, 0, draw.choice("abcdefghijklmnopqrstuvwxyz "))

    async def _send(self, index: int, update: bytes, due_ns: int) -> None:
        data = {"op": "update", "room": self._room(index)}
        acked_ns = number = 0
        try:
            answer = await self.stage.clients[index].request("call", service="collab", data=data, payload=update)
            acked_ns, number = now_ns(), answer["update"]
        except (ClientError, TimeoutError):
            pass  # a key without an acknowledgement is kept as one
        finally:
            self.rows[TYPED].extend((index, number, due_ns, acked_ns))

    def _room(self, index: int) -> str:
        return f"doc-{index // self.option('writers')}"
