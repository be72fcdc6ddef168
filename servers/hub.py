"""The hub: rooms, their histories, and the subscribers waiting at them. It knows no transport.

Publishing appends to the room's ring and wakes who waits. A subscriber is a cursor over the ring and reads at its
own pace; it has no queue that could grow.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from feed.cursor import Cursor, new_epoch
from feed.ring import Resume, Ring
from feed.rooms import check_room, room_name
from feed.wire import Event


class UnknownRoomError(LookupError):
    """No such room; the message says which there are."""


class HubClosedError(Exception):
    """The server is stopping: nothing more will come."""


class Room:
    """One room: its history, and callbacks that are called after each event is in it."""

    def __init__(self, name: str, epoch: str, history: int) -> None:
        self.name = name
        self.ring: Ring[Event] = Ring(epoch, history)
        self.listeners: dict[Callable[[], None], None] = {}

    def wake(self) -> None:
        """Call every listener. A listener may remove itself."""
        for listener in tuple(self.listeners):
            listener()


class Hub:
    """All rooms of one server. Single-threaded: call from the event loop's thread."""

    def __init__(self, rooms: int, history: int) -> None:
        self.epoch: Final = new_epoch()
        self.rooms = {name: Room(name, self.epoch, history) for name in map(room_name, range(rooms))}
        self.published = 0
        self.closing = False

    def room(self, name: str) -> Room:
        """The room of that name. Raises ``RoomNameError`` or ``UnknownRoomError``."""
        room = self.rooms.get(name)
        if room is None:
            check_room(name)
            last = room_name(len(self.rooms) - 1)
            known = last if len(self.rooms) == 1 else f"{room_name(0)} to {last}"
            raise UnknownRoomError(f"there is no room {name!r}: this server has {known}")
        return room

    def publish(self, room_name_: str, data: bytes, type_: str = "event") -> Event:
        """Append an event to a room and wake its subscribers. ``data`` is JSON text."""
        room = self.room(room_name_)
        event = Event(type_, Cursor(self.epoch, room.ring.last_seq + 1), room.name, data)
        room.ring.append(event)
        self.published += 1
        room.wake()
        return event

    def subscribe(self, name: str, since: Cursor | None) -> "Subscription":
        """A subscription to a room from a cursor on. Raises what ``room`` raises, and ``CursorError``."""
        return Subscription(self, self.room(name), since)

    def close(self) -> None:
        """Wake everybody for the last time: waiting raises ``HubClosedError`` from now on."""
        self.closing = True
        for room in self.rooms.values():
            room.wake()


class Delivery(NamedTuple):
    """The next events for a subscriber, and how many before them it has lost by being too slow."""

    events: list[Event]
    missed: int


class Subscription:
    """One subscriber's place in a room. A context manager: it listens between enter and exit."""

    def __init__(self, hub: Hub, room: Room, since: Cursor | None) -> None:
        self._hub = hub
        self._waiter: asyncio.Future[None] | None = None
        self._nudged = False
        self.room = room
        self.resume: Resume = room.ring.resume(since)
        self.seq = self.resume.seq

    def __enter__(self) -> "Subscription":
        self.room.listeners[self._wake] = None
        return self

    def __exit__(self, *_: object) -> None:
        self.room.listeners.pop(self._wake, None)

    @property
    def cursor(self) -> Cursor:
        """The position after what has been taken."""
        return Cursor(self.room.ring.epoch, self.seq)

    @property
    def pending(self) -> bool:
        """Is there anything newer than the cursor, or is the server stopping?"""
        return self.room.ring.last_seq > self.seq or self._hub.closing

    def take_newest(self) -> Event | None:
        """Take the newest event if it is the only one that is there: the quick way for who keeps up."""
        ring = self.room.ring
        if self.seq + 1 != ring.last_seq:
            return None
        self.seq = ring.last_seq
        return ring.newest

    def take(self, limit: int | None = None) -> Delivery:
        """Take the events that are there, at most ``limit``, without waiting."""
        newest = self.take_newest()
        if newest is not None:
            return Delivery([newest], 0)
        ring = self.room.ring
        missed = ring.missed(self.seq)
        events = ring.after(self.seq, limit)
        if events:
            self.seq = events[-1].seq
        return Delivery(events, missed)

    def before(self, event: Event) -> Cursor:
        """The position in front of an event: where a gap ends."""
        return Cursor(self.room.ring.epoch, event.seq - 1)

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
        if self._hub.closing and self.room.ring.last_seq <= self.seq:
            raise HubClosedError
        self._nudged = False
        return self.take(limit)

    def nudge(self) -> None:
        """Let who waits go on without an event: to send a heartbeat, or to give up waiting."""
        self._nudged = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
