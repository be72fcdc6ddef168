"""Judges what a subscriber receives: new, duplicate, out of order, or with a gap before it. Pure.

The same table serves every transport, so that no transport is judged by rules of its own.
"""

from collections import OrderedDict
from enum import StrEnum
from typing import Final

from feed.cursor import Cursor, parse_cursor
from feed.envelope import Envelope, decode_welcome

MAX_REMEMBERED_HOLES: Final = 10_000
"""Missing numbers of a client's first room that are remembered, so that a late event is known as such."""
HOLES_PER_PLACE: Final = 1000
"""The same for each of its other rooms, of which there may be many."""
REMEMBERED_MESSAGES: Final = 1000
"""Ids of messages that are remembered, so that one to several rooms is not taken twice."""
PLACE_NOTICES: Final = frozenset({"welcome", "gap"})
UNNUMBERED: Final = frozenset({"ack", "error", "batch"})


class Verdict(StrEnum):
    """What an envelope is to the subscriber."""

    NEW = "new"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    NOTICE = "notice"


class Session:
    """One subscriber's place in one room. ``cursor`` is what to resume from."""

    def __init__(self, cursor: Cursor | None = None, max_holes: int = MAX_REMEMBERED_HOLES) -> None:
        self.cursor = cursor
        self.delivered = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.gaps = 0
        self.missed = 0
        """Events that gap notices said were gone, as far as their number was known."""
        self._holes: set[int] = set()
        self._max_holes = max_holes
        self._lost_for_good = 0

    @property
    def silently_lost(self) -> int:
        """Events that were skipped without a gap notice and have not come since."""
        return self._lost_for_good + len(self._holes)

    def observe(self, envelope: Envelope) -> Verdict:
        """Take note of one envelope. Raises ``CursorError`` if its id is none."""
        if envelope.type in PLACE_NOTICES:
            self._notice(envelope)
            return Verdict.NOTICE
        if envelope.type in UNNUMBERED:
            return Verdict.NOTICE
        return self._event(parse_cursor(envelope.id))

    def _notice(self, envelope: Envelope) -> None:
        notice = decode_welcome(envelope.data)
        if notice.resume == "gap":
            self.gaps += 1
            self.missed += notice.missed or 0
        at = parse_cursor(envelope.id)
        if notice.resume != "resumed":
            self._move_to(at)

    def _move_to(self, cursor: Cursor) -> None:
        """Go on from there. What was skipped in another life of the history cannot come any more."""
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
        elif at.seq > here.seq + 1:
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


class RecentMessages:
    """A message to several rooms can come again by another room after a cut: its own id tells."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_first(self, message: str) -> bool:
        """Remember an id; is it new among the newest ``REMEMBERED_MESSAGES``?"""
        known = message in self._ids
        self._ids[message] = None
        while len(self._ids) > REMEMBERED_MESSAGES:
            self._ids.popitem(last=False)
        return not known
