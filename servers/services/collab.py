"""Collaborative editing: a document in each room, by one of two engines (``servers.services.documents``).

A member of a room asks (docs/protocol.md, call): ``open`` for what it lacks of the document, ``update`` to change it,
and ``awareness`` to show its cursor. Updates and awareness are payloads, and are published as such to other members.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, Literal, assert_never

import msgspec

from feed.requests import Name
from feed.wire import Audience
from servers.gate.errors import Refusal
from servers.platform.connections import Connection
from servers.platform.membership import require_member
from servers.platform.service import Service, ServiceContext, decoded
from servers.services.documents import ENGINES, MERGED_AT, Document, UpdateError
from servers.store.contract import MAX_PAGE, StoreError

MAX_DOCUMENTS: Final = 200
"""Documents of a namespace in memory."""
MAX_AWARENESS_BYTES: Final = 4096
MAX_SHOWN: Final = 20
"""Members of a document whose awareness is kept for those who come later: those who showed it last."""
BUSY_RETRY_S: Final = 1.0


_log: Final = logging.getLogger("pushmark")


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower, forbid_unknown_fields=True):
    """What all requests have in common: the document's room, which the caller has joined."""

    room: Name


class Open(Ask, frozen=True):
    """What the caller lacks of the document, which is made if there is none. ``vector``: what it has."""

    engine: Literal["crdt", "naive"] = "crdt"
    vector: bytes = b""


class Update(Ask, frozen=True):
    """A change, which is the payload."""


class Awareness(Ask, frozen=True):
    """The caller's cursor and whatever else it shows of itself, which is the payload. It is not kept."""


_DECODER: Final = msgspec.json.Decoder(Open | Update | Awareness)


class Kept(msgspec.Struct, array_like=True):
    """A record in the store: one update, or the whole document up to there."""

    is_whole: bool
    parts: list[bytes]


_KEPT: Final = msgspec.msgpack.Decoder(Kept)


class Editing:
    """One document and who edits it."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.document: Document = ENGINES[engine]()
        self.updates = 0
        """Since the server has it in memory."""
        self.awareness: dict[str, bytes] = {}
        """Client -> what it showed last."""
        self.unmerged = 0
        """Updates that the store has one by one."""
        self.pending = 0
        """Updates that the store has not kept yet."""


class Collab(Service):
    """One document in each room."""

    takes_payload: ClassVar = True

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self._editings: dict[str, Editing] = {}
        """Room -> its document, the one that was opened first at the front."""
        self._loading: dict[str, asyncio.Task[Editing]] = {}

    def left(self, connection: Connection, room: str, reason: str) -> None:
        """Its cursor is gone, as the room's ``left`` says. A document that the store has is let go of by its last."""
        editing = self._editings.get(room)
        if editing is None:
            return
        editing.awareness.pop(connection.client, None)
        self._let_go(room)

    def _let_go(self, room: str) -> None:
        """Keep a document that nobody edits in the store alone, once all of it is there."""
        editing = self._editings.get(room)
        unused = editing is not None and not editing.pending and room not in self.context.members
        if unused and self.context.shared.store is not None:
            del self._editings[room]

    def call_with_payload(
        self, connection: Connection, data: msgspec.Raw, payload: bytes
    ) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        ask = decoded(data, _DECODER)
        require_member(connection, ask.room)
        if isinstance(ask, Open):
            if payload:
                raise Refusal("bad_request", "payload: open takes none")
            return self._open(ask)
        editing = self._editings.get(ask.room)
        if editing is None:
            raise Refusal("not_found", f"open the document of room {ask.room!r} first")
        match ask:
            case Update():
                return self._update(connection, editing, ask.room, payload)
            case Awareness():
                return self._show(connection, editing, ask.room, payload)
            case _:
                assert_never(ask)

    async def _open(self, ask: Open) -> dict[str, Any]:
        editing = await self._found(ask.room, ask.engine)
        if editing.engine != ask.engine:
            raise Refusal("bad_request", f"room {ask.room!r} is edited with the engine {editing.engine!r}")
        try:
            missing = editing.document.missing(ask.vector)
        except UpdateError as error:
            raise Refusal("bad_request", str(error)) from error
        return {
            "engine": editing.engine,
            "updates": missing,
            "vector": editing.document.vector,
            "awareness": list(editing.awareness.values()),
        }

    def _update(
        self, connection: Connection, editing: Editing, room: str, payload: bytes
    ) -> dict[str, Any] | Coroutine[Any, Any, dict[str, Any]]:
        """Others see it at once; it is acknowledged when the store has it, where there is one."""
        try:
            clean = editing.document.apply(payload)
        except UpdateError as error:
            raise Refusal("bad_request", str(error)) from error
        editing.updates += 1
        said = {"from": connection.client, "update": editing.updates}
        self._tell(connection, room, "update", said, clean)
        if self.context.shared.store is None:
            return {"update": editing.updates}
        editing.pending += 1
        return self._keep(connection, editing, room, clean, editing.updates)

    async def _keep(
        self, connection: Connection, editing: Editing, room: str, update: bytes, number: int
    ) -> dict[str, Any]:
        log = self._log(editing.engine, room)
        record = msgspec.msgpack.encode(Kept(False, [update]))
        try:
            kept = await self.store.append(log, secrets.token_hex(8), connection.identity.user, record)
        finally:
            editing.pending -= 1
        editing.unmerged += 1
        # What waits to be written is in the whole, and comes again after it: twice is once for a CRDT only.
        if editing.unmerged >= MERGED_AT and (editing.engine == "crdt" or not editing.pending):
            await self._merge(editing, log, kept.seq)
        self._let_go(room)
        return {"update": number}

    async def _merge(self, editing: Editing, log: str, upto: int) -> None:
        """Replace the stored updates by one. They stay where that fails, and it is tried again after as many more."""
        editing.unmerged, editing.pending = 0, editing.pending + 1
        whole = msgspec.msgpack.encode(Kept(True, editing.document.whole()))
        try:
            await self.store.replace(log, upto, "", whole)
        except StoreError as error:
            _log.warning("document not merged", extra={"log": log, "error": str(error)})
        finally:
            editing.pending -= 1

    def _show(self, connection: Connection, editing: Editing, room: str, payload: bytes) -> dict[str, Any]:
        if not 1 <= len(payload) <= MAX_AWARENESS_BYTES:
            text = f"payload: {len(payload)} bytes of awareness; allowed are 1 to {MAX_AWARENESS_BYTES}"
            raise Refusal("bad_request", text)
        editing.awareness.pop(connection.client, None)
        editing.awareness[connection.client] = payload
        if len(editing.awareness) > MAX_SHOWN:
            del editing.awareness[next(iter(editing.awareness))]
        self._tell(connection, room, "awareness", {"from": connection.client}, payload)
        return {}

    def _tell(self, connection: Connection, room: str, type_: str, said: dict[str, Any], payload: bytes) -> None:
        """Publish for everybody but the sender."""
        if not self.context.hub.closing:
            audience = Audience(connection.client, ())
            self.context.hub.publish(room, msgspec.json.encode(said), type_, audience, payload=payload)

    async def _found(self, room: str, engine: str) -> Editing:
        """The document of a room: in memory, from the store, or a new one."""
        if room in self._editings:
            return self._editings[room]
        if room not in self._loading:
            self._make_room()
            self._loading[room] = asyncio.ensure_future(self._load(room, engine))
        return await asyncio.shield(self._loading[room])

    async def _load(self, room: str, engine: str) -> Editing:
        try:
            editing = Editing(engine)
            if self.context.shared.store is not None:
                await self._restore(editing, self._log(engine, room))
            self._editings[room] = editing
            asyncio.get_running_loop().call_soon(self._let_go, room)  # its asker may have left meanwhile
            return editing
        finally:
            del self._loading[room]

    async def _restore(self, editing: Editing, log: str) -> None:
        seq = 0
        while records := await self.store.after(log, seq, MAX_PAGE):
            for record in records:
                kept = _KEPT.decode(record.data)
                if kept.is_whole:
                    editing.document.restore(kept.parts)
                    editing.unmerged = 0
                else:
                    editing.document.replay(kept.parts[0])
                    editing.unmerged += 1
            seq = records[-1].seq

    def _make_room(self) -> None:
        """Let go of the oldest document that nobody edits and nothing waits for. Raises ``Refusal``."""
        if len(self._editings) + len(self._loading) < MAX_DOCUMENTS:
            return
        unused = (room for room, of in self._editings.items() if room not in self.context.members and not of.pending)
        oldest = next(unused, None)
        if oldest is None:
            raise Refusal("too_many_requests", f"{MAX_DOCUMENTS} documents are being edited already", BUSY_RETRY_S)
        del self._editings[oldest]

    def _log(self, engine: str, room: str) -> str:
        return self.context.log(f"collab-{engine}", room)
