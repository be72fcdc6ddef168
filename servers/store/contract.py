"""What outlives a server's process: logs of records, each in one order, and marks in them (docs/scenarios.md, Store).

A log is the history of one thing, such as a chat room. The store gives every record its place in the log, and keeps a
record that is sent again once.
"""

from typing import Final, NamedTuple, Protocol

MAX_PAGE: Final = 500
"""Most records that one call reads."""
MAX_MARKS: Final = 1000


class StoreError(Exception):
    """The store cannot do what was asked; the message says why. What was acknowledged before stays."""


class StoreBusyError(StoreError):
    """Too much waits to be written. The same may be asked again a moment later."""


class KeyReusedError(StoreError):
    """Another record of the log has this key."""


class Record(NamedTuple):
    """One record. ``seq`` counts from 1 in its log and never comes again; ``at_ms`` is Unix time."""

    seq: int
    key: str
    author: str
    at_ms: int
    data: bytes


class Kept(NamedTuple):
    """Where a record is. ``again``: it was there before, and nothing was written."""

    seq: int
    at_ms: int
    again: bool


class Store(Protocol):
    """All methods raise ``StoreError``. What a method that writes has returned from is kept."""

    async def append(self, log: str, key: str, author: str, data: bytes) -> Kept:
        """Keep a record at the end of a log. ``key`` is its author's name for it: the same record again is kept once.

        Raises ``KeyReusedError`` if the log has a record with this key and other data, or of another author.
        """

    async def newest(self, log: str, limit: int, before: int = 0) -> list[Record]:
        """The newest records, in the log's order: all, or those with a ``seq`` below ``before``."""

    async def after(self, log: str, seq: int, limit: int) -> list[Record]:
        """The records that follow ``seq``, the oldest first."""

    async def last_seq(self, log: str) -> int:
        """The newest record's ``seq``; 0 for an empty log."""

    async def mark(self, log: str, name: str, seq: int) -> int:
        """Move a mark, such as how far a user has read, and return where it is. It never goes back."""

    async def marks(self, log: str) -> dict[str, int]:
        """The marks of a log, at most ``MAX_MARKS``: those that are farthest."""

    async def replace(self, log: str, upto: int, author: str, data: bytes) -> None:
        """Replace all records up to ``upto`` by one with that ``seq``, which says the same as all of them."""

    async def trim(self, log: str, keep: int) -> int:
        """Drop all but the newest ``keep`` records. Returns how many were dropped."""

    async def forget(self, logs: str, author: str) -> int:
        """Drop an author's records and marks from all logs whose names begin so. Returns how many records."""

    async def close(self) -> None:
        """Write what waits, and let go of the file. Nothing can be asked afterwards."""
