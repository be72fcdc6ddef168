"""Reading rooms at a cursor, and counting what is read.

A reader holds no events: it is a position in each room's ring. Every event and every notice of a gap that it hands
out is counted here, so that no transport has to.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self

from feed.cursor import Cursor
from feed.envelope import Welcome, encode_envelope
from feed.wire import Audience, Event
from servers.hub.ring import Resume
from servers.hub.room import Room
from servers.hub.stats import Counters


class HubClosedError(Exception):
    """The server is stopping: no event will follow."""


class Notice(NamedTuple):
    """A ``welcome`` or ``gap`` in a room: what becomes of the reader's cursor. Stands before the events it is about."""

    type: str
    cursor: Cursor
    room: str
    data: Welcome

    @property
    def json(self) -> bytes:
        """The notice as an envelope."""
        return encode_envelope(self.type, str(self.cursor), self.room, self.data)


class Delivery(NamedTuple):
    """The next events of one room for a subscriber, and the notice that comes before them, if one does."""

    events: list[Event]
    notice: Notice | None


class Selects(Protocol):
    """The subscriber, as far as it matters for events that are not for everybody."""

    def receives(self, room: str, audience: Audience) -> bool:
        """Is an event in this room, with such an audience, meant for this subscriber?"""


class Subscription:
    """A position in one room. A context manager: between enter and exit ``wake`` is called for every event.

    Raises ``CursorError`` for a cursor of this room that does not exist yet.
    """

    __slots__ = ("counters", "resume", "room", "selects", "seq", "start_seq")

    def __init__(self, room: Room, since: Cursor | None, counters: Counters) -> None:
        self.room = room
        self.counters = counters
        self.resume: Resume = room.ring.resume(since)
        self.seq = self.start_seq = self.resume.seq
        self.selects: Selects | None = None

    def __enter__(self) -> Self:
        self.room.listeners[self.wake] = None
        return self

    def __exit__(self, *_: object) -> None:
        self.room.listeners.pop(self.wake, None)

    def wake(self) -> None:
        """There is something new in the room."""
        raise NotImplementedError

    @property
    def cursor(self) -> Cursor:
        """The position after what has been taken."""
        return Cursor(self.room.ring.epoch, self.seq)

    @property
    def pending(self) -> bool:
        """Is there anything newer than the cursor, or is the server stopping?"""
        return self.room.ring.last_seq > self.seq or self.room.closing

    def begin(self) -> Resume:
        """How the cursor was understood. Call it once, when the subscriber is told; counts a gap if there is one."""
        self.counters.gaps += self.resume.verdict == "gap"
        return self.resume

    def welcome(self, client: str = "", session: str = "") -> Notice:
        """``begin`` as the notice that stands before everything else."""
        resume = self.begin()
        data = Welcome(resume.verdict, resume.missed, client, session, self.room.ring.conflated)
        return Notice("welcome", Cursor(self.room.ring.epoch, self.start_seq), self.room.name, data)

    def take_newest(self) -> Event | None:
        """Fast path: take the newest event, if it is the only unread one."""
        ring = self.room.ring
        if self.seq + 1 != ring.last_seq:
            return None
        self.seq = ring.last_seq
        self.counters.deliveries += 1
        newest = ring.newest
        if newest is not None and newest.audience is not None:
            return self._addressed(newest)
        return newest

    def take(self, limit: int | None = None) -> Delivery:
        """Take the unread events, at most ``limit``, without waiting."""
        newest = self.take_newest()
        if newest is not None:
            return Delivery([newest], None)
        ring = self.room.ring
        missed = ring.missed(self.seq)
        events = ring.after(self.seq, limit)
        if not events:
            return Delivery(events, None)
        notice = None
        if missed:
            before = Cursor(ring.epoch, events[0].seq - 1)
            notice = Notice("gap", before, self.room.name, Welcome("gap", missed))
            self.counters.gaps += 1
        if self.room.selective_seq > self.seq:
            events = [event if event.audience is None else self._addressed(event) for event in events]
        self.seq = events[-1].seq
        self.counters.deliveries += len(events)
        return Delivery(events, notice)

    def _addressed(self, event: Event) -> Event:
        """The event, or the ``skip`` that stands in its place for a subscriber that it is not meant for."""
        if self.selects is None or event.audience is None or self.selects.receives(self.room.name, event.audience):
            return event
        return event.skipped


class _Other(Subscription):
    """A room that a reader reads next to its first one."""

    __slots__ = ("_reader",)

    def __init__(self, reader: "Reader", room: Room, since: Cursor | None) -> None:
        super().__init__(room, since, reader.counters)
        self.selects = reader.selects
        self._reader = reader

    def wake(self) -> None:
        self._reader.others_have(self.room.name)


class Reader(Subscription):
    """Everything that one connection reads: the room it asked for first, and the rooms that it joined later.

    Either one task waits on it (``wait``, ``next``), or ``on_nudge`` and a listener of the room push.
    """

    __slots__ = ("_nudged", "_others", "_ready", "_waiter", "on_nudge")

    def __init__(self, room: Room, since: Cursor | None, counters: Counters) -> None:
        super().__init__(room, since, counters)
        self._waiter: asyncio.Future[None] | None = None
        self._nudged = False
        self._others: dict[str, _Other] | None = None
        self._ready: dict[str, bool] | None = None
        """Other rooms with something unread, and whether their welcome is still to be sent."""
        self.on_nudge: Callable[[], None] | None = None
        """Called instead of waking a task; push readers have none."""

    def begin(self) -> Resume:
        """As for any subscription, and counts a request."""
        self.counters.requests += 1
        return super().begin()

    def add(self, room: Room, since: Cursor | None, announce: bool = True) -> Subscription:
        """Read another room too, from a cursor on; ``announce``: begin with a welcome. Raises ``CursorError``."""
        other = _Other(self, room, since)
        self.remove(room.name)
        if self._others is None or self._ready is None:
            self._others, self._ready = {}, {}
        self._others[room.name] = other
        other.__enter__()
        if announce or other.pending:
            self._ready[room.name] = announce
            self.nudge()
        return other

    def remove(self, name: str) -> None:
        """Stop reading a room that was added."""
        if self._others is None or self._ready is None:
            return
        self._ready.pop(name, None)
        if (other := self._others.pop(name, None)) is not None:
            other.__exit__()

    def others_have(self, name: str) -> None:
        """Another room has something new."""
        if self._ready is not None:
            self._ready.setdefault(name, False)
            self.nudge()

    def of(self, name: str) -> Subscription | None:
        """The subscription to a room, if it is read."""
        return self if name == self.room.name else (self._others or {}).get(name)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for other in (self._others or {}).values():
            other.__exit__()

    def wait(self) -> asyncio.Future[None]:
        """A future that is done once there is an event, a nudge, or the server's end. One task at a time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.pending or self._nudged:
            future.set_result(None)
        else:
            self._waiter = future
        return future

    async def next(self, limit: int | None = None) -> Delivery:
        """Wait for events and take them; none after a nudge. Raises ``HubClosedError`` when the server stops."""
        await self.wait()
        if self.room.closing and self.room.ring.last_seq <= self.seq:
            raise HubClosedError
        if self._nudged:
            self._nudged = False
            if self._ready:
                return self._take_ready(limit)
        return self.take(limit)

    def take_other(self, limit: int | None) -> Delivery | None:
        """Take what one of the other rooms has, without waiting."""
        return self._take_ready(limit) if self._ready else None

    @property
    def has_others(self) -> bool:
        """Is there something unread in the other rooms?"""
        return bool(self._ready)

    def nudge(self) -> None:
        """Let the waiting task go on without an event: to send a heartbeat, or to give up waiting."""
        self._nudged = True
        if self.on_nudge is not None:
            self.on_nudge()
        else:
            self.wake()

    def _take_ready(self, limit: int | None) -> Delivery:
        """Take from the other room that has waited longest. The first room's turn comes again after each."""
        assert self._others is not None and self._ready is not None
        name, announce = next(iter(self._ready.items()))
        del self._ready[name]
        other = self._others[name]
        delivery = Delivery([], other.welcome()) if announce else other.take(limit)
        if other.room.ring.last_seq > other.seq:
            self._ready[name] = False
        if self._ready:
            asyncio.get_running_loop().call_soon(self.nudge)
        return delivery

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
