"""The store in a file of SQLite: one thread writes, in groups, and answers once a group is committed.

A group is whatever has come while the one before was written, so that the more is asked, the more share a commit.
Readers see committed records only (write-ahead log), and never wait for the writer.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from servers.store.contract import MAX_MARKS, MAX_PAGE, Kept, KeyReusedError, Record, StoreBusyError, StoreError
from servers.store.file import StoreFile

MAX_WAITING: Final = 10_000
"""Most writes that wait for their commit."""
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
MAX_GROUP: Final = 1000
"""Most writes of one commit: some tens of milliseconds of work."""
OF_LOG: Final = "log = (SELECT id FROM logs WHERE name = ?)"

Write = Callable[[sqlite3.Connection], Any]


class _Waiting(NamedTuple):
    """A write, and what its caller waits for."""

    write: Write
    future: "asyncio.Future[Any]"
    size_bytes: int


class SqliteStore:
    """See ``servers.store.contract.Store``. Make it on the event loop that asks; ``now_ms`` is Unix time."""

    def __init__(self, file: StoreFile, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._file = file
        self._now_ms = now_ms
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._waiting = 0
        self._waiting_bytes = 0
        self._closed = False
        self.groups = 0
        """Commits so far."""
        self._writer = threading.Thread(target=self._write_groups, name="store-writer", daemon=True)
        self._writer.start()
        self._readers = ThreadPoolExecutor(1, "store-reader")

    async def append(self, log: str, key: str, author: str, data: bytes) -> Kept:
        def write(connection: sqlite3.Connection) -> Kept:
            found = connection.execute(
                f"SELECT seq, author, at_ms, data FROM records WHERE {OF_LOG} AND key = ?", (log, key)
            ).fetchone()
            if found is not None:
                seq, by, at_ms, kept = found
                if (by, kept) != (author, data):
                    raise KeyReusedError(f"another record has the key {key!r}")
                return Kept(seq, at_ms, True)
            place, seq = connection.execute(
                "INSERT INTO logs (name, last_seq) VALUES (?, 1) "
                "ON CONFLICT (name) DO UPDATE SET last_seq = last_seq + 1 RETURNING id, last_seq",
                (log,),
            ).fetchone()
            at_ms = self._now_ms()
            connection.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", (place, seq, key, author, at_ms, data))
            return Kept(seq, at_ms, False)

        kept: Kept = await self._ask(write, len(data))
        return kept

    async def newest(self, log: str, limit: int, before: int = 0) -> list[Record]:
        rows = await self._read(
            f"SELECT seq, key, author, at_ms, data FROM records WHERE {OF_LOG} AND (? = 0 OR seq < ?) "
            "ORDER BY seq DESC LIMIT ?",
            (log, before, before, min(limit, MAX_PAGE)),
        )
        return [Record(*row) for row in reversed(rows)]

    async def after(self, log: str, seq: int, limit: int) -> list[Record]:
        rows = await self._read(
            f"SELECT seq, key, author, at_ms, data FROM records WHERE {OF_LOG} AND seq > ? ORDER BY seq LIMIT ?",
            (log, seq, min(limit, MAX_PAGE)),
        )
        return [Record(*row) for row in rows]

    async def last_seq(self, log: str) -> int:
        rows = await self._read("SELECT last_seq FROM logs WHERE name = ?", (log,))
        return int(rows[0][0]) if rows else 0

    async def mark(self, log: str, name: str, seq: int) -> int:
        def write(connection: sqlite3.Connection) -> int:
            connection.execute("INSERT INTO logs (name, last_seq) VALUES (?, 0) ON CONFLICT (name) DO NOTHING", (log,))
            (at,) = connection.execute(
                "INSERT INTO marks SELECT id, ?, ? FROM logs WHERE name = ? "
                "ON CONFLICT (log, name) DO UPDATE SET seq = max(seq, excluded.seq) RETURNING seq",
                (name, seq, log),
            ).fetchone()
            return int(at)

        moved: int = await self._ask(write, len(name))
        return moved

    async def marks(self, log: str) -> dict[str, int]:
        text = f"SELECT name, seq FROM marks WHERE {OF_LOG} ORDER BY seq DESC, name LIMIT ?"
        return dict(await self._read(text, (log, MAX_MARKS)))

    async def replace(self, log: str, upto: int, author: str, data: bytes) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM records WHERE {OF_LOG} AND seq <= ?", (log, upto))
            connection.execute(
                "INSERT INTO records SELECT id, ?, ?, ?, ?, ? FROM logs WHERE name = ?",
                (upto, f"upto-{upto}", author, self._now_ms(), data, log),
            )

        await self._ask(write, len(data))

    async def trim(self, log: str, keep: int) -> int:
        def write(connection: sqlite3.Connection) -> int:
            return connection.execute(
                f"DELETE FROM records WHERE {OF_LOG} AND seq <= (SELECT last_seq - ? FROM logs WHERE name = ?)",
                (log, keep, log),
            ).rowcount

        dropped: int = await self._ask(write, 0)
        return dropped

    async def forget(self, logs: str, author: str) -> int:
        def write(connection: sqlite3.Connection) -> int:
            of_logs = "log IN (SELECT id FROM logs WHERE substr(name, 1, length(?1)) = ?1)"
            connection.execute(f"DELETE FROM marks WHERE name = ?2 AND {of_logs}", (logs, author))
            return connection.execute(f"DELETE FROM records WHERE author = ?2 AND {of_logs}", (logs, author)).rowcount

        dropped: int = await self._ask(write, 0)
        return dropped

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await self._loop.run_in_executor(self._readers, self._writer.join)
            self._readers.shutdown()
            self._file.close()

    async def _ask(self, write: Write, size_bytes: int) -> Any:
        if self._closed:
            raise StoreError("the store is closed")
        if self._waiting >= MAX_WAITING or self._waiting_bytes + size_bytes > MAX_WAITING_BYTES:
            raise StoreBusyError(f"{self._waiting} writes wait for the store")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting, self._waiting_bytes = self._waiting + 1, self._waiting_bytes + size_bytes
        self._queue.put(_Waiting(write, future, size_bytes))
        return await future

    async def _read(self, text: str, values: tuple[Any, ...]) -> list[Any]:
        if self._closed:
            raise StoreError("the store is closed")
        return await self._loop.run_in_executor(self._readers, self._file.read, text, values)

    def _write_groups(self) -> None:
        """The writer's thread."""
        last = False
        while not last:
            group, last = self._next_group()
            if group:
                self.groups += 1
                self._loop.call_soon_threadsafe(self._answer, group, self._commit(group))

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """What waits, at least one; and whether nothing will follow."""
        group: list[_Waiting] = []
        while len(group) < MAX_GROUP and (not group or not self._queue.empty()):
            one = self._queue.get()
            if one is None:
                return group, True
            group.append(one)
        return group, False

    def _commit(self, group: list[_Waiting]) -> list[Any]:
        """Write a group in one transaction: an answer each, or the error that all of them share.

        Whatever one write raises, the thread goes on: without it every later write would wait for ever.
        """
        try:
            return self._file.write([one.write for one in group])
        except Exception as error:
            return [error] * len(group)

    def _answer(self, group: list[_Waiting], answers: list[Any]) -> None:
        for one, answer in zip(group, answers, strict=True):
            self._waiting, self._waiting_bytes = self._waiting - 1, self._waiting_bytes - one.size_bytes
            if one.future.done():  # cancelled: its caller is gone
                continue
            if isinstance(answer, Exception):
                one.future.set_exception(answer)
            else:
                one.future.set_result(answer)
