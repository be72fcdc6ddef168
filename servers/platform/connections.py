"""Who is connected, as the platform sees it, whatever the transport."""

import asyncio
import secrets
import time
from collections.abc import Callable

from feed.cursor import Cursor
from feed.wire import Audience
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.hub.reader import Reader
from servers.hub.room import Room


class Peer:
    """One connected client: its public id, who it is, and the rooms it is a member of."""

    __slots__ = (
        "address",
        "client",
        "ended",
        "entered_s",
        "expiry",
        "identity",
        "renewals",
        "rooms",
        "strikes",
        "typing",
        "waiting",
    )

    def __init__(self, identity: Identity, address: str, client: str = "") -> None:
        self.client = client or secrets.token_hex(8)
        self.identity = identity
        self.renewals = 0
        self.address = address
        self.entered_s = time.monotonic()
        self.rooms: tuple[str, ...] = ()
        """Where it is a member; a tuple, as most connections are members of nothing."""
        self.typing: dict[str, asyncio.TimerHandle] | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.ended: Refusal | None = None
        """Why it is to go: from then on none of its requests is carried out, however slowly it goes."""
        self.strikes = 0
        """Requests in a row that were over a limit."""
        self.waiting = 0
        """Messages of its that wait for somebody's acknowledgement."""

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
        """Say why, and disconnect it. Subclasses do; here it is noted."""
        self.ended = refusal

    def receives(self, room: str, audience: Audience) -> bool:
        """Is an event in this room for this client, or for others, or has it come by a room named before?"""
        if audience.exclude == self.client:
            return False
        for name, seq in audience.copies:
            if name == room:
                return True
            start = self.start_of(name)
            if start is not None and start < seq:
                return False
        return True


class StreamPeer(Peer):
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
    """Until the transport says how, there is nobody to tell."""
