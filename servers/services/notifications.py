"""Notifications: one user at a time, stored before they are acknowledged, kept for who is offline.

A user asks (docs/protocol.md, call): ``open`` for the newest notifications and how many are unread, ``page`` for
others, ``read`` up to one, ``forget`` for the removal of all. Whoever may ``send`` is said by an option. A user's
connections get each notification in their inbox, and one that comes back asks for the page after the last it has.
"""

from typing import Annotated, Any, Final, assert_never

import msgspec

from feed.requests import Id, Name
from feed.rooms import inbox_name
from servers.gate.auth import may_enter
from servers.gate.errors import Refusal
from servers.platform.connections import Connection
from servers.platform.membership import require_user
from servers.platform.service import Service, ServiceContext, decoded
from servers.store.contract import MAX_PAGE as MOST_COUNTED
from servers.store.contract import Record

PAGE: Final = 50
"""Notifications that ``open`` answers with."""
MAX_PAGE: Final = 200
MAX_TEXT: Final = 4096
"""Characters of one notification."""
MAX_SEQ: Final = 2**53 - 1
KEPT: Final = 1000
"""Notifications of a user that stay; older ones are dropped, ``TRIM_EVERY`` at a time."""
TRIM_EVERY: Final = 100
READ: Final = "read"
"""The mark of a user's log: how far it was read."""

Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]


class NotificationOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may send."""

    sender_claim: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Claim that a sender's token must hold; empty: every user may send."""


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower, forbid_unknown_fields=True):
    """What all requests have in common."""


class Open(Ask, frozen=True):
    """The user's newest notifications, how far they were read, and how many are unread."""


class Page(Ask, frozen=True):
    """Notifications before or after one, the nearest ones."""

    before: Seq | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = PAGE


class Send(Ask, frozen=True):
    """A notification for a user. ``key`` is the sender's name for it: sent again, it is stored once."""

    user: Name
    key: Id
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]


class Read(Ask, frozen=True):
    """The user has read all up to this one."""

    seq: Seq


class Forget(Ask, frozen=True):
    """Remove all notifications of the user."""


_DECODER: Final = msgspec.json.Decoder(Open | Page | Send | Read | Forget)


class Notifications(Service):
    """Every answer comes once the store has what it says. Without ``--store`` every request is refused."""

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self._options: NotificationOptions = context.shared.options.get("notifications", NotificationOptions())

    async def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        ask = decoded(data, _DECODER)
        user = require_user(connection)
        match ask:
            case Open():
                return await self._open(user)
            case Page():
                return await self._page(user, ask)
            case Send():
                return await self._send(connection, ask)
            case Read():
                return await self._read(user, ask)
            case Forget():
                return {"notifications": await self.store.trim(self._log(user), 0)}
            case _:
                assert_never(ask)

    async def _open(self, user: str) -> dict[str, Any]:
        log = self._log(user)
        newest = await self.store.newest(log, PAGE)
        return {"notifications": [_shown(record) for record in newest], **await self._unread(log)}

    async def _page(self, user: str, ask: Page) -> dict[str, Any]:
        if (ask.before is None) == (ask.after is None):
            raise Refusal("bad_request", "data: exactly one of before and after says where the page is")
        log = self._log(user)
        if ask.after is not None:
            found = await self.store.after(log, ask.after, ask.limit)
        else:
            found = await self.store.newest(log, ask.limit, ask.before or 0)
        return {"notifications": [_shown(record) for record in found]}

    async def _send(self, connection: Connection, ask: Send) -> dict[str, Any]:
        claim = self._options.sender_claim
        if claim and not may_enter(connection.identity, claim):
            raise Refusal("not_allowed", f"to send notifications takes the claim {claim!r}")
        log, sender = self._log(ask.user), connection.identity.user
        kept = await self.store.append(log, ask.key, sender, msgspec.json.encode({"text": ask.text}))
        if not kept.again:
            shown = {"seq": kept.seq, "at_ms": kept.at_ms, "from": sender, "text": ask.text}
            self._tell(ask.user, "notification", shown)
            if kept.seq % TRIM_EVERY == 0:
                await self.store.trim(log, KEPT)
        return {"seq": kept.seq, "at_ms": kept.at_ms, "again": kept.again}

    async def _read(self, user: str, ask: Read) -> dict[str, Any]:
        log = self._log(user)
        last = await self.store.last_seq(log)
        if ask.seq > last:
            raise Refusal("bad_number", f"seq {ask.seq}: the newest notification is {last}")
        await self.store.mark(log, READ, ask.seq)
        unread = await self._unread(log)
        self._tell(user, "unread", unread)
        return unread

    async def _unread(self, log: str) -> dict[str, Any]:
        read = (await self.store.marks(log)).get(READ, 0)
        newer = await self.store.after(log, read, MOST_COUNTED)
        return {"read": read, "unread": len(newer), "more": len(newer) == MOST_COUNTED}

    def _tell(self, user: str, type_: str, data: dict[str, Any]) -> None:
        """Into the user's inbox, if there is one: without it the user is offline, and asks on return."""
        inbox = inbox_name(user)
        if inbox in self.context.hub.rooms and not self.context.hub.closing:
            self.context.hub.publish(inbox, msgspec.json.encode(data), type_)

    def _log(self, user: str) -> str:
        return self.context.log("notifications", user)


def _shown(record: Record) -> dict[str, Any]:
    return {
        "seq": record.seq,
        "at_ms": record.at_ms,
        "from": record.author,
        "text": msgspec.json.decode(record.data)["text"],
    }
