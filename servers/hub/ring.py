"""The bounded history of one room, from which every subscriber reads at its own cursor.

Subscribers are cursors over one ring and not queues of their own, so memory does not grow with a slow reader. A
reader that falls off the ring is told how much is gone.
"""

from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from feed.cursor import Cursor, CursorError

MAX_HISTORY: Final = 1_000_000


class HasSeq(Protocol):
    """What the ring can hold: anything with a sequence number."""

    @property
    def seq(self) -> int: ...


T = TypeVar("T", bound=HasSeq)


class Resume(NamedTuple):
    """The answer to a cursor: where reading goes on, and what is missing.

    ``verdict`` is ``new``, ``resumed`` or ``gap``; ``missed`` counts lost events, ``None`` if that cannot be known.
    """

    verdict: str
    missed: int | None
    seq: int


class Ring(Generic[T]):
    """The last ``capacity`` events of a room. Sequence numbers start at 1 and have no holes."""

    conflated = False
    """Are events left out because newer ones stand for them (``servers.hub.conflation``)?"""

    def __init__(self, epoch: str, capacity: int) -> None:
        if not 1 <= capacity <= MAX_HISTORY:
            raise ValueError(f"history must be between 1 and {MAX_HISTORY} events, not {capacity}")
        self.epoch = epoch
        self.capacity = capacity
        self.last_seq = 0
        self.oldest_seq = 1
        """Sequence number of the oldest event held; ``last_seq + 1`` while the ring is empty."""
        self.newest: T | None = None
        self._slots: list[T] = []
        """Event n is at (n - 1) modulo capacity. Grows up to the capacity, so that a quiet room costs little."""

    @property
    def tail(self) -> Cursor:
        """The position after the newest event."""
        return Cursor(self.epoch, self.last_seq)

    def append(self, event: T) -> None:
        """Add the next event. Raises ``ValueError`` unless its number is the next one."""
        if event.seq != self.last_seq + 1:
            raise ValueError(f"event {event.seq} follows {self.last_seq}: numbers must have no holes")
        if self.last_seq < self.capacity:
            self._slots.append(event)
        else:
            self._slots[self.last_seq % self.capacity] = event
        self.last_seq = event.seq
        self.newest = event
        self.oldest_seq = max(1, event.seq - self.capacity + 1)

    def resume(self, cursor: Cursor | None) -> Resume:
        """Where does a subscriber with this cursor go on?

        Without a cursor: at the tail. With a cursor of another epoch: at the oldest event held, with a gap of
        unknown size. Raises ``CursorError`` for a position of this epoch that does not exist yet.
        """
        if cursor is None:
            return Resume("new", 0, self.last_seq)
        if cursor.epoch != self.epoch:
            return Resume("gap", None, self.oldest_seq - 1)
        if cursor.seq > self.last_seq:
            raise CursorError(f"cursor {cursor} is ahead of the newest event {self.tail}")
        missed = self.missed(cursor.seq)
        if missed:
            return Resume("gap", missed, self.oldest_seq - 1)
        return Resume("resumed", 0, cursor.seq)

    def missed(self, seq: int) -> int:
        """How many events after ``seq`` are no longer held."""
        return max(0, self.oldest_seq - 1 - seq)

    def after(self, seq: int, limit: int | None = None) -> list[T]:
        """The events held after ``seq``, oldest first, at most ``limit`` of them."""
        first = max(seq + 1, self.oldest_seq)
        stop = self.last_seq + 1 if limit is None else min(self.last_seq + 1, first + limit)
        start = (first - 1) % self.capacity
        end = start + max(0, stop - first)
        return self._slots[start:end] + self._slots[: max(0, end - self.capacity)]
