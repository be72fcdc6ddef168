"""The connected clients of one namespace, whatever their transport."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from feed.cursor import Cursor
from feed.wire import Audience
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.hub.reader import Reader
from servers.hub.room import Room

MAX_ENDED: Final = 10_000
"""How many ended sessions keep their close reason."""


class Connection:
    """One connected client: its public id, its identity, and the rooms that it is a member of.

    Each transport has a subclass, which says how the client receives rooms and how it is disconnected.
    """

    __slots__ = (
        "address",
        "client",
        "ended",
        "entered_s",
        "expiry",
        "identity",
        "more_messages_hz",
        "renewals",
        "rooms",
        "strikes",
        "typing",
        "waiting",
    )

    def __init__(self, identity: Identity, address: str, client: str = "") -> None:
        self.client = client or secrets.token_hex(8)
        """Public id, by which other clients know it."""
        self.identity = identity
        self.renewals = 0
        """How often its token was renewed."""
        self.address = address
        self.entered_s = time.monotonic()
        self.rooms: tuple[str, ...] = ()
        """Where it is a member; a tuple, as most connections are members of nothing."""
        self.typing: dict[str, asyncio.TimerHandle] | None = None
        """Room -> the timer that ends its typing indicator there."""
        self.expiry: asyncio.TimerHandle | None = None
        self.ended: Refusal | None = None
        """Why it must go: from then on none of its requests is carried out, however slowly it goes."""
        self.more_messages_hz = 0.0
        """Requests per second beyond the limit, as long as it uses a service that needs them."""
        self.strikes = 0
        """Requests in a row that were over a limit."""
        self.waiting = 0
        """Requests of this connection that wait for their reply."""

    def attach(self, room: Room, since: Cursor | None) -> None:
        """Let this client receive a room from a cursor on, beginning with a welcome. Raises ``CursorError``."""
        raise NotImplementedError

    def detach(self, room: str) -> None:
        """Let it receive the room no longer, unless it is the connection's first."""
        raise NotImplementedError

    def start_of(self, room: str) -> int | None:
        """The sequence number after which it receives a room; ``None`` if it does not."""
        raise NotImplementedError

    def reads(self, room: str) -> bool:
        """Does it receive a room at this moment?"""
        return self.start_of(room) is not None

    def end(self, refusal: Refusal) -> None:
        """Send the reason, and disconnect. Subclasses do so; here the reason is kept."""
        self.ended = refusal

    def end_with_token(self) -> None:
        """End the connection when its token expires. Call again once the token was renewed."""
        self.forget_token()
        expires_at_s = self.identity.expires_at_s
        if expires_at_s != float("inf"):
            refusal = Refusal("token_expired", "the token has expired, and was not renewed")
            left_s = max(0.0, expires_at_s - time.time())
            self.expiry = asyncio.get_running_loop().call_later(left_s, self.end, refusal)

    def forget_token(self) -> None:
        """The connection does not end with its token any more."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None

    def receives(self, room: str, audience: Audience) -> bool:
        """Is an event in this room meant for this client? Not if it gets the same event by a room named earlier."""
        if audience.exclude == self.client:
            return False
        for name, seq in audience.copies:
            if name == room:
                return True
            start = self.start_of(name)
            if start is not None and start < seq:
                return False
        return True


class StreamConnection(Connection):
    """A client that is connected for as long as it receives: its rooms are those of its reader."""

    __slots__ = ("on_end", "reader", "session")

    def __init__(self, identity: Identity, address: str, reader: Reader) -> None:
        super().__init__(identity, address)
        self.reader = reader
        self.session = ""
        """Secret that its requests carry, where they come by another connection."""
        self.on_end: Callable[[Refusal], object] = _ignore
        reader.selects = self

    def attach(self, room: Room, since: Cursor | None) -> None:
        if room is not self.reader.room:
            self.reader.add(room, since)

    def detach(self, room: str) -> None:
        self.reader.remove(room)

    def start_of(self, room: str) -> int | None:
        subscription = self.reader.of(room)
        return None if subscription is None else subscription.start_seq

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self.on_end(refusal)


def _ignore(refusal: Refusal) -> None:
    """Stands for ``on_end`` until the transport sets it."""


class Connections:
    """All connections of one namespace: by client id, by session and by user."""

    def __init__(self) -> None:
        self.by_client: dict[str, Connection] = {}
        self._by_session: dict[str, Connection] = {}
        self._by_user: dict[str, dict[str, Connection]] = {}
        self._ended: OrderedDict[str, Refusal] = OrderedDict()

    def add(self, connection: Connection, session: str = "") -> None:
        """``session``: the secret that its requests carry, where they come by another connection."""
        self.by_client[connection.client] = connection
        if session:
            self._by_session[session] = connection
        if user := connection.identity.user:
            self._by_user.setdefault(user, {})[connection.client] = connection

    def remove(self, connection: Connection, session: str = "", refusal: Refusal | None = None) -> None:
        """Forget a connection. ``refusal`` is the reply to requests that still come for its session."""
        del self.by_client[connection.client]
        self._by_session.pop(session, None)
        if session and refusal is not None:
            self._ended[session] = refusal
            while len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        if user := connection.identity.user:
            del self._by_user[user][connection.client]
            if not self._by_user[user]:
                del self._by_user[user]

    def by_session(self, session: str) -> Connection:
        """The connection that receives what a request's client subscribed to. Raises ``Refusal``."""
        connection = self._by_session.get(session)
        if connection is not None and connection.ended is not None:
            raise connection.ended
        if connection is None:
            if (refusal := self._ended.get(session)) is not None:
                raise refusal
            raise Refusal("unknown_session", "there is no such session, or it has ended: open the receiving side first")
        return connection

    def of_user(self, user: str) -> Mapping[str, Connection]:
        """A user's connections by client id; the anonymous user has none."""
        return self._by_user.get(user, {})

    def counts(self) -> dict[str, int]:
        """How many connections, users and sessions there are now, under the names of the metrics."""
        return {"peers": len(self.by_client), "users": len(self._by_user), "sessions": len(self._by_session)}
