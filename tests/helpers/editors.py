"""Editors of a test, each with a document of Yjs's port to Python."""

import base64
from typing import Any

from pycrdt import Doc, Text

from clients.contract.platform import Member
from tests.conftest import Running
from tests.helpers.crew import Crew


class Editor:
    """A document and the updates that it made and nobody else has."""

    def __init__(self) -> None:
        self.doc: Doc[Text] = Doc()
        self.content = self.doc.get("content", type=Text)
        self.made: list[bytes] = []
        self._merging = False
        self.doc.observe(lambda event: None if self._merging else self.made.append(event.update))

    @property
    def text(self) -> str:
        return str(self.content)

    def edit(self, position: int, deleted: int, inserted: str) -> bytes:
        """Delete and insert characters at a place, cut to what there is; returns the update."""
        text = self.text
        start = min(position, len(text))
        end = min(start + deleted, len(text))
        # Indices are bytes of UTF-8 here.
        begin, stop = len(text[:start].encode()), len(text[:end].encode())
        with self.doc.transaction():
            if stop > begin:
                del self.content[begin:stop]
            if inserted:
                self.content.insert(begin, inserted)
        return self.made.pop() if self.made else b""

    def take(self, update: bytes) -> None:
        """Another's update."""
        self._merging = True
        try:
            self.doc.apply_update(update)
        finally:
            self._merging = False

    @property
    def vector(self) -> bytes:
        """What it has."""
        return self.doc.get_state()

    def lacking(self, vector: bytes) -> bytes:
        """What somebody with this vector lacks."""
        return self.doc.get_update(vector)


async def ask(member: Member, op: str, room: str, payload: bytes = b"", **data: Any) -> Any:
    fields = {"payload": payload} if payload else {}
    return await member.client.request("call", service="collab", data={"op": op, "room": room, **data}, **fields)


class Writer:
    """A member with an editor, as a program with Yjs would be."""

    def __init__(self, member: Member, room: str) -> None:
        self.member = member
        self.editor = Editor()
        self._room = room
        self._taken = 0

    async def open(self) -> None:
        """Get what it lacks, and send what the server lacks."""
        vector = base64.b64encode(self.editor.vector).decode()
        opened = await ask(self.member, "open", self._room, vector=vector)
        for update in opened["updates"]:
            self.editor.take(base64.b64decode(update))
        lacking = self.editor.lacking(base64.b64decode(opened["vector"]))
        if self.editor.text:
            await ask(self.member, "update", self._room, lacking)

    async def type(self, position: int, text: str, deleted: int = 0) -> Any:
        return await ask(self.member, "update", self._room, self.editor.edit(position, deleted, text))

    def look(self) -> str:
        """The text with all that has come."""
        new = self.member.received[self._taken :]
        self._taken += len(new)
        for envelope in new:
            if envelope.type == "update" and envelope.room == self._room:
                self.editor.take(envelope.payload)
        return self.editor.text


async def writers(crew: Crew, server: Running, room: str, count: int, **options: Any) -> list[Writer]:
    found = [Writer(await crew.join(server, **options), room) for _ in range(count)]
    for one in found:
        await one.member.client.join(room)
        await one.open()
    return found
