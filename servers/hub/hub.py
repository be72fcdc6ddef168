"""The hub: rooms, their histories, and the subscribers waiting at them. It knows no transport.

Publishing appends to the room's ring and wakes who waits. A subscriber is a cursor over the ring and reads at its
own pace; it has no queue that could grow.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, Self

from feed.cursor import Cursor, new_epoch
from feed.envelope import Welcome, encode_envelope
from feed.rooms import check_room, room_name
from feed.wire import Audience, Event
from servers.hub.ring import Resume, Ring


class UnknownRoomError(LookupError):
    """No such room; the message says which there are."""


class TooManyRoomsError(Exception):
    """The server has as many rooms as it may have."""


class HubClosedError(Exception):
    """The server is stopping: nothing more will come."""


class Room:
    """One room: its history, and callbacks that are called after each event is in it."""

    def __init__(self, name: str, epoch: str, history: int) -> None:
        self.name = name
        self.ring: Ring[Event] = Ring(epoch, history)
        self.listeners: dict[Callable[[], None], None] = {}
        self.selective_seq = 0
        """Number of the newest event that is not for everybody."""

    def wake(self) -> None:
        """Call every listener. A listener may remove itself."""
        for listener in tuple(self.listeners):
            listener()


class Hub:
    """All rooms of one namespace. Single-threaded: call from the event loop's thread.

    It has the feed's ``rooms`` from the start, and up to ``max_rooms`` more that members make by joining.
    """

    def __init__(self, rooms: int, history: int, max_rooms: int = 10_000) -> None:
        self.epoch: Final = new_epoch()
        self.feed_rooms: Final = tuple(map(room_name, range(rooms)))
        self.rooms = {name: Room(name, self.epoch, history) for name in self.feed_rooms}
        self.published = 0
        self.closing = False
        self._history = history
        self._max_rooms = max_rooms

    def room(self, name: str) -> Room:
        """The room of that name. Raises ``RoomNameError`` or ``UnknownRoomError``."""
        room = self.rooms.get(name)
        if room is None:
            check_room(name)
            feed = self.feed_rooms
            known = feed[0] if len(feed) == 1 else f"{feed[0]} to {feed[-1]}"
            raise UnknownRoomError(
                f"there is no room {name!r}: the feed has {known}, others exist once somebody joined"
            )
        return room

    def ensure(self, name: str) -> Room:
        """The room of that name, made now if there is none. Raises ``TooManyRoomsError``.

        A room that was dropped and made again has an epoch of its own, so that no old cursor can hide a gap.
        """
        room = self.rooms.get(name)
        if room is None:
            if len(self.rooms) - len(self.feed_rooms) >= self._max_rooms:
                raise TooManyRoomsError(f"there are {self._max_rooms} rooms already, as many as may be")
            room = self.rooms[name] = Room(name, new_epoch(), self._history)
        return room

    def drop(self, name: str) -> None:
        """Forget a room that members had made, unless somebody still reads it."""
        room = self.rooms.get(name)
        if room is not None and not room.listeners and name not in self.feed_rooms:
            del self.rooms[name]

    def publish(self, name: str, data: bytes, type_: str = "event", audience: Audience | None = None) -> Event:
        """Append an event to a room and wake its subscribers. ``data`` is JSON text."""
        room = self.room(name)
        event = Event(type_, Cursor(room.ring.epoch, room.ring.last_seq + 1), room.name, data, audience)
        room.ring.append(event)
        if audience is not None:
            room.selective_seq = event.seq
        self.published += 1
        room.wake()
        return event

    def publish_to_all(self, names: Sequence[str], data: bytes, type_: str, exclude: str = "") -> list[Event]:
        """Append the same event to several rooms; who reads more than one of them gets it once."""
        copies = tuple((name, self.room(name).ring.last_seq + 1) for name in names)
        audience = Audience(exclude, copies if len(copies) > 1 else ())
        return [self.publish(name, data, type_, audience) for name in names]

    def subscribe(self, name: str, since: Cursor | None) -> "Reader":
        """A subscription to a room from a cursor on. Raises what ``room`` raises, and ``CursorError``."""
        return Reader(self, self.room(name), since)

    def close(self) -> None:
        """Wake everybody for the last time: waiting raises ``HubClosedError`` from now on."""
        self.closing = True
        for room in tuple(self.rooms.values()):
            room.wake()


class Notice(NamedTuple):
    """A ``welcome`` or ``gap`` in a room: what becomes of the reader's cursor. Stands before the events it is about."""

    type: str
    cursor: Cursor
    room: str
    data: Welcome

    @property
    def json(self) -> bytes:
        """As an envelope."""
        return encode_envelope(self.type, str(self.cursor), self.room, self.data)


class Delivery(NamedTuple):
    """The next events of one room for a subscriber, and the notice that comes before them, if one does."""

    events: list[Event]
    notice: Notice | None


class Selects(Protocol):
    """Who reads, as far as it matters for events that are not for everybody."""

    def receives(self, room: str, audience: Audience) -> bool:
        """Is an event in this room, with such an audience, meant for this reader?"""


class Subscription:
    """One place in one room. A context manager: between enter and exit ``wake`` is called for every event."""

    __slots__ = ("hub", "resume", "room", "selects", "seq", "start_seq")

    def __init__(self, hub: Hub, room: Room, since: Cursor | None) -> None:
        self.hub = hub
        self.room = room
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
        return self.room.ring.last_seq > self.seq or self.hub.closing

    def welcome(self, client: str = "", session: str = "") -> Notice:
        """What stands before everything else: how the cursor was understood."""
        data = Welcome(self.resume.verdict, self.resume.missed, client, session)
        return Notice("welcome", Cursor(self.room.ring.epoch, self.start_seq), self.room.name, data)

    def take_newest(self) -> Event | None:
        """Take the newest event if it is the only one that is there: the quick way for who keeps up."""
        ring = self.room.ring
        if self.seq + 1 != ring.last_seq:
            return None
        self.seq = ring.last_seq
        newest = ring.newest
        if newest is not None and newest.audience is not None:
            return self._for_me(newest)
        return newest

    def take(self, limit: int | None = None) -> Delivery:
        """Take the events that are there, at most ``limit``, without waiting."""
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
        if self.room.selective_seq > self.seq:
            events = [event if event.audience is None else self._for_me(event) for event in events]
        self.seq = events[-1].seq
        return Delivery(events, notice)

    def _for_me(self, event: Event) -> Event:
        """The event, or what stands in its place for who is not meant."""
        if self.selects is None or event.audience is None or self.selects.receives(self.room.name, event.audience):
            return event
        return event.skipped


class _Other(Subscription):
    """A room that a reader reads beside its first one."""

    __slots__ = ("_reader",)

    def __init__(self, reader: "Reader", room: Room, since: Cursor | None) -> None:
        super().__init__(reader.hub, room, since)
        self.selects = reader.selects
        self._reader = reader

    def wake(self) -> None:
        self._reader.others_have(self.room.name)


class Reader(Subscription):
    """One connection's reading: the room it asked for first, and what it joined later. One task waits on it."""

    __slots__ = ("_nudged", "_others", "_ready", "_waiter", "on_nudge")

    def __init__(self, hub: Hub, room: Room, since: Cursor | None) -> None:
        super().__init__(hub, room, since)
        self._waiter: asyncio.Future[None] | None = None
        self._nudged = False
        self._others: dict[str, _Other] | None = None
        self._ready: dict[str, bool] | None = None
        """Other rooms that have something, and whether their welcome is still to be said."""
        self.on_nudge: Callable[[], None] | None = None
        """Called in the place of a task that waits, by who has none."""

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
        if self.hub.closing and self.room.ring.last_seq <= self.seq:
            raise HubClosedError
        if self._nudged:
            self._nudged = False
            if self._ready:
                return self._take_ready(limit)
        return self.take(limit)

    def take_other(self, limit: int | None) -> Delivery | None:
        """Take what one of the other rooms has, without waiting."""
        return self._take_ready(limit) if self._ready else None

    def nudge(self) -> None:
        """Let who waits go on without an event: to send a heartbeat, or to give up waiting."""
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
