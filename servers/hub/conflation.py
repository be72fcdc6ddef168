"""The history of a room that conflates: of several unread events with the same key a reader gets only the newest.

That suits state, such as prices: whoever falls behind wants what holds now, and not what held. Each reader conflates
what it has not read yet, so one that keeps up misses nothing, and one that does not costs no more memory.
"""

from typing import Final, Protocol, TypeVar

from feed.cursor import Cursor, CursorError
from servers.hub.ring import HasSeq, Resume, Ring


class HasKey(HasSeq, Protocol):
    """What such a room can hold: anything that says what it is the newest state of."""

    @property
    def key(self) -> str: ...


T = TypeVar("T", bound=HasKey)
MAX_KEYS: Final = 10_000


class ConflatingRing(Ring[T]):
    """The newest event of each key, at most ``capacity`` of them; beyond that, the key that is unchanged for longest
    is forgotten. A cursor of this history always resumes; a reader without one begins with everything held.
    """

    conflated = True

    def __init__(self, epoch: str, capacity: int = MAX_KEYS) -> None:
        super().__init__(epoch, capacity)
        self._latest: dict[str, T] = {}
        """In the order of their numbers."""

    def append(self, event: T) -> None:
        if event.seq != self.last_seq + 1:
            raise ValueError(f"event {event.seq} follows {self.last_seq}: numbers must have no holes")
        self._latest.pop(event.key, None)
        self._latest[event.key] = event
        if len(self._latest) > self.capacity:
            del self._latest[next(iter(self._latest))]
        self.last_seq = event.seq
        self.newest = event
        self.oldest_seq = next(iter(self._latest.values())).seq

    def resume(self, cursor: Cursor | None) -> Resume:
        if cursor is None:
            return Resume("new", 0, 0)
        if cursor.epoch != self.epoch:
            return Resume("gap", None, 0)
        if cursor.seq > self.last_seq:
            raise CursorError(f"cursor {cursor} is ahead of the newest event {self.tail}")
        return Resume("resumed", 0, cursor.seq)

    def missed(self, seq: int) -> int:
        return 0

    def after(self, seq: int, limit: int | None = None) -> list[T]:
        newer: list[T] = []
        for event in reversed(self._latest.values()):
            if event.seq <= seq:
                break
            newer.append(event)
        newer.reverse()
        return newer[:limit]
