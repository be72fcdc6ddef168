"""Judges what a subscriber receives: new, duplicate, out of order, or with a gap before it. Pure.

The same rules hold for every transport.
"""

from collections import OrderedDict
from enum import StrEnum
from typing import Final

from feed.cursor import Cursor, parse_cursor
from feed.envelope import Envelope, decode_welcome
from feed.rooms import check_room
from feed.wire import TooLargeError

MAX_REMEMBERED_HOLES: Final = 10_000
"""How many missing numbers of a client's first room are remembered, so that a late event is recognised."""
HOLES_PER_OTHER_ROOM: Final = 1000
"""The same for each of its other rooms, as there may be many."""
MAX_OTHER_ROOMS: Final = 1024
"""How many rooms next to the first one client receives; it leaves a server that sends more of them."""
REMEMBERED_MESSAGES: Final = 1000
"""How many message ids are remembered, so that a message to several rooms is delivered once."""
POSITION_NOTICES: Final = frozenset({"welcome", "gap"})
UNNUMBERED: Final = frozenset({"ack", "error", "batch"})


class Verdict(StrEnum):
    """What an envelope means to the subscriber."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    NOTICE = "notice"


class Session:
    """One subscriber's position in one room. ``cursor`` is what to resume from."""

    def __init__(self, cursor: Cursor | None = None, max_holes: int = MAX_REMEMBERED_HOLES) -> None:
        self.cursor = cursor
        self.delivered = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.gaps = 0
        self.conflated = False
        """Does the room send only the newest event of each key? Then numbers may be left out."""
        self.missed = 0
        """Events that gap notices declared lost, as far as their number was known."""
        self._holes: set[int] = set()
        self._max_holes = max_holes
        self._lost_for_good = 0

    @property
    def silently_lost(self) -> int:
        """Events that were skipped without a gap notice and have not come since."""
        return self._lost_for_good + len(self._holes)

    def observe(self, envelope: Envelope) -> Verdict:
        """Judge one envelope and move the position. Raises ``CursorError`` if its id is no cursor."""
        if envelope.type in POSITION_NOTICES:
            self._notice(envelope)
            return Verdict.NOTICE
        if envelope.type in UNNUMBERED:
            return Verdict.NOTICE
        return self._event(parse_cursor(envelope.id))

    def _notice(self, envelope: Envelope) -> None:
        notice = decode_welcome(envelope.data)
        self.conflated = notice.conflated
        if notice.resume == "gap":
            self.gaps += 1
            self.missed += notice.missed or 0
        at = parse_cursor(envelope.id)
        if notice.resume != "resumed":
            self._move_to(at)

    def _move_to(self, cursor: Cursor) -> None:
        """Continue from there. Events that were skipped in an earlier epoch cannot come any more."""
        if self.cursor is not None and self.cursor.epoch != cursor.epoch:
            self._lost_for_good += len(self._holes)
            self._holes.clear()
        self.cursor = cursor

    def _event(self, at: Cursor) -> Verdict:
        here = self.cursor
        if here is None or here.epoch != at.epoch:
            self.gaps += here is not None  # a new history that no notice announced
        elif at.seq <= here.seq:
            return self._late(at.seq)
        elif at.seq > here.seq + 1 and not self.conflated:
            room = self._max_holes - len(self._holes)
            self._holes.update(range(here.seq + 1, min(at.seq, here.seq + 1 + room)))
        self._move_to(at)
        self.delivered += 1
        return Verdict.NEW

    def _late(self, seq: int) -> Verdict:
        if seq not in self._holes:
            self.duplicates += 1
            return Verdict.DUPLICATE
        self._holes.discard(seq)
        self.out_of_order += 1
        self.delivered += 1
        return Verdict.OUT_OF_ORDER


class SessionTable:
    """A client's session in its first room and in every other room that it receives."""

    def __init__(self, room: str, cursor: Cursor | None) -> None:
        self._room = room
        self.first = Session(cursor)
        self.others: dict[str, Session] = {}

    def of(self, room: str) -> Session:
        """The session of a room. Raises ``TooLargeError`` for one room too many, ``RoomNameError`` for no name."""
        if room in (self._room, ""):
            return self.first
        if room not in self.others:
            check_room(room.removeprefix("@"))
            if len(self.others) >= MAX_OTHER_ROOMS:
                raise TooLargeError(f"room {room!r} is one more than the {MAX_OTHER_ROOMS} that a client receives")
            self.others[room] = Session(max_holes=HOLES_PER_OTHER_ROOM)
        return self.others[room]

    def since(self, room: str) -> str | None:
        """Cursor to join another room from; ``None`` if nothing has come from it yet."""
        cursor = self.others[room].cursor if room in self.others else None
        return None if cursor is None else str(cursor)

    def forget(self, room: str) -> None:
        """Drop the session of a room that is left."""
        self.others.pop(room, None)


class RecentMessages:
    """Recognises a message to several rooms that comes again by another room after a cut, by its own id."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_first(self, message: str) -> bool:
        """Remember an id. Was it absent from the newest ``REMEMBERED_MESSAGES``?"""
        known = message in self._ids
        self._ids[message] = None
        while len(self._ids) > REMEMBERED_MESSAGES:
            self._ids.popitem(last=False)
        return not known
