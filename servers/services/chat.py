"""Chat: messages that are stored before they are acknowledged, their history by page, and read receipts.

A member of a room asks (docs/protocol.md, call): ``open`` for the newest messages, ``page`` for others, ``send``,
``read`` up to a message, and ``forget`` for the removal of all that the user has sent. Typing and presence are the
platform's. A message's place in its room is the store's, and the hub publishes messages in that order.
"""

from typing import Annotated, Any, Final, assert_never

import msgspec

from feed.requests import Id, Name
from servers.gate.errors import Refusal
from servers.platform.connections import Connection
from servers.platform.membership import require_member, require_user
from servers.platform.service import Service, decoded
from servers.store.contract import Record

PAGE: Final = 50
"""Messages that ``open`` answers with."""
MAX_PAGE: Final = 200
MAX_TEXT: Final = 4096
"""Characters of one message."""
MAX_SEQ: Final = 2**53 - 1
"""The largest number that every client's JSON can hold exactly; a store's numbers go further."""
KEPT: Final = 10_000
"""Messages of a room that stay; older ones are dropped, ``TRIM_EVERY`` at a time."""
TRIM_EVERY: Final = 500

Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower, forbid_unknown_fields=True):
    """What all requests to the chat have in common."""


class Open(Ask, frozen=True):
    """The newest messages of a room, its members, and how far they have read."""

    room: Name


class Page(Ask, frozen=True):
    """Messages before or after a place in the room, the nearest ones."""

    room: Name
    before: Seq | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = PAGE


class Send(Ask, frozen=True):
    """A message. ``key`` is the sender's name for it: sent again, after a restart too, it is stored once."""

    room: Name
    key: Id
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    reply_to: Seq | None = None


class Read(Ask, frozen=True):
    """The caller's user has read a room up to a message."""

    room: Name
    seq: Seq


class Forget(Ask, frozen=True):
    """Remove all that the caller's user has sent, in all rooms of the namespace, and all read receipts."""


_DECODER: Final = msgspec.json.Decoder(Open | Page | Send | Read | Forget)


class Chat(Service):
    """Every answer comes once the store has what it says. Without ``--store`` every request is refused."""

    async def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        ask = decoded(data, _DECODER)
        if not isinstance(ask, Forget):
            require_member(connection, ask.room)
        match ask:
            case Open():
                return await self._open(ask)
            case Page():
                return await self._page(ask)
            case Send():
                return await self._send(connection, ask)
            case Read():
                return await self._read(connection, ask)
            case Forget():
                return await self._forget(connection)
            case _:
                assert_never(ask)

    async def _open(self, ask: Open) -> dict[str, Any]:
        log = self._log(ask.room)
        messages = await self.store.newest(log, PAGE)
        return {
            "messages": [_shown(record) for record in messages],
            "read": await self.store.marks(log),
            "members": self.members(ask.room),
        }

    async def _page(self, ask: Page) -> dict[str, Any]:
        if (ask.before is None) == (ask.after is None):
            raise Refusal("bad_request", "data: exactly one of before and after says where the page is")
        log = self._log(ask.room)
        if ask.after is not None:
            found = await self.store.after(log, ask.after, ask.limit)
        else:
            found = await self.store.newest(log, ask.limit, ask.before or 0)
        return {"messages": [_shown(record) for record in found]}

    async def _send(self, connection: Connection, ask: Send) -> dict[str, Any]:
        log, user = self._log(ask.room), connection.identity.user
        body = msgspec.json.encode({"text": ask.text, "reply_to": ask.reply_to})
        kept = await self.store.append(log, ask.key, user, body)
        message = message_id(ask.room, kept.seq)
        if not kept.again:
            said = {"seq": kept.seq, "at_ms": kept.at_ms, "text": ask.text, "reply_to": ask.reply_to}
            self.publish(ask.room, {"message": message, "from": connection.client, "user": user, "data": said})
            if kept.seq % TRIM_EVERY == 0:
                await self.store.trim(log, KEPT)
        return {"message": message, "seq": kept.seq, "at_ms": kept.at_ms, "again": kept.again}

    async def _read(self, connection: Connection, ask: Read) -> dict[str, Any]:
        user = require_user(connection)
        log = self._log(ask.room)
        last = await self.store.last_seq(log)
        if ask.seq > last:
            raise Refusal("bad_number", f"seq {ask.seq}: the newest message is {last}")
        seq = await self.store.mark(log, user, ask.seq)
        self.publish(ask.room, {"user": user, "seq": seq}, "read")
        return {"seq": seq}

    async def _forget(self, connection: Connection) -> dict[str, Any]:
        return {"messages": await self.store.forget(self.context.log("chat", ""), require_user(connection))}

    def _log(self, room: str) -> str:
        return self.context.log("chat", room)


def message_id(room: str, seq: int) -> str:
    """A message's own id, by which clients know it again."""
    return f"chat:{room}:{seq}"


def _shown(record: Record) -> dict[str, Any]:
    return {"seq": record.seq, "at_ms": record.at_ms, "user": record.author, **msgspec.json.decode(record.data)}
