"""The hub: all rooms of one namespace, and publishing into them. It knows no transport.

Publishing appends an event to the room's ring and wakes the room's listeners. A subscriber is a cursor over the ring
(``servers.hub.reader``) and reads at its own pace; it has no queue that could grow.
"""

from collections.abc import Sequence
from typing import Final

from feed.cursor import Cursor, new_epoch
from feed.rooms import check_room, room_name
from feed.wire import Audience, BinaryEvent, Event
from servers.hub.reader import Reader
from servers.hub.room import Room
from servers.hub.stats import Counters


class UnknownRoomError(LookupError):
    """The room does not exist; the message says which rooms do."""


class TooManyRoomsError(Exception):
    """The server has as many rooms as it may have."""


class Hub:
    """All rooms of one namespace. Single-threaded: call from the event loop's thread.

    The feed's ``rooms`` exist from the start; members make up to ``max_rooms`` more by joining them. ``history`` is
    the number of events that each room keeps. Readers count what they deliver into ``counters``.
    """

    def __init__(self, rooms: int, history: int, max_rooms: int = 10_000, counters: Counters | None = None) -> None:
        epoch = new_epoch()
        self.feed_rooms: Final = tuple(map(room_name, range(rooms)))
        self.rooms = {name: Room(name, epoch, history) for name in self.feed_rooms}
        self.counters = counters or Counters()
        self.conflating: set[str] = set()
        """Names of rooms that conflate, if they are made from now on."""
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
            room = self.rooms[name] = Room(name, new_epoch(), self._history, name in self.conflating)
            room.closing = self.closing
        return room

    def drop(self, name: str) -> None:
        """Forget a room that members had made, unless somebody still reads it."""
        room = self.rooms.get(name)
        if room is not None and not room.listeners and name not in self.feed_rooms:
            del self.rooms[name]

    def publish(
        self,
        name: str,
        data: bytes,
        type_: str = "event",
        audience: Audience | None = None,
        key: str = "",
        payload: bytes = b"",
    ) -> Event:
        """Append an event to a room and wake its subscribers. ``data`` is JSON text.

        ``key``: what it is the newest state of, for rooms that conflate. ``payload``: what is no JSON.
        """
        room = self.room(name)
        at = Cursor(room.ring.epoch, room.ring.last_seq + 1)
        if payload:
            event: Event = BinaryEvent(type_, at, room.name, data, audience, key, payload)
        else:
            event = Event(type_, at, room.name, data, audience, key)
        room.ring.append(event)
        if audience is not None:
            room.selective_seq = event.seq
        self.published += 1
        room.wake()
        return event

    def publish_to_all(self, names: Sequence[str], data: bytes, type_: str, exclude: str = "") -> list[Event]:
        """Append the same event to several rooms; a client that reads more than one of them gets it once.

        ``exclude`` is the id of a client that gets none.
        """
        copies = tuple((name, self.room(name).ring.last_seq + 1) for name in names)
        audience = Audience(exclude, copies if len(copies) > 1 else ())
        return [self.publish(name, data, type_, audience) for name in names]

    def subscribe(self, name: str, since: Cursor | None) -> Reader:
        """A subscription to a room from a cursor on. Raises what ``room`` raises, and ``CursorError``."""
        return Reader(self.room(name), since, self.counters)

    def close(self) -> None:
        """Close every room: waiting raises ``HubClosedError`` from now on."""
        self.closing = True
        for room in tuple(self.rooms.values()):
            room.close()
