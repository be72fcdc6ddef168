"""The file of a store: its schema and version, its lock, and what SQLite says in words of ours."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from servers.store.contract import KeyReusedError, StoreError

APPLICATION_ID: Final = 0x70757368
"""``push``, in the header of the file (``PRAGMA application_id``)."""
MIGRATIONS: Final = (
    """
    CREATE TABLE logs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_seq INTEGER NOT NULL);
    CREATE TABLE records (
        log INTEGER NOT NULL, seq INTEGER NOT NULL, key TEXT NOT NULL, author TEXT NOT NULL, at_ms INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE UNIQUE INDEX records_seq ON records (log, seq);
    CREATE UNIQUE INDEX records_key ON records (log, key);
    """,
    """
    CREATE TABLE marks (log INTEGER NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (log, name))
        WITHOUT ROWID;
    CREATE INDEX records_author ON records (author);
    """,
)
"""What leads from version N to N + 1, by N (``PRAGMA user_version``)."""
VERSION: Final = len(MIGRATIONS)
SYNC: Final = {"process": "NORMAL", "full": "FULL"}
"""``process``: what is acknowledged survives a killed process, since the kernel has it. ``full``: a power cut too."""


class StoreFile:
    """An open store: one connection for the thread that writes, one for the thread that reads.

    Raises ``StoreError`` for a file that cannot be opened, is no store, is of a later version, or is in use.
    """

    def __init__(self, path: Path, sync: str = "process", max_bytes: int = 1 << 30) -> None:
        self.path = path
        self._lock = _lock(path)
        self._connections: list[sqlite3.Connection] = []
        try:
            with self._named():
                self._writer, self._reader = self._connect(), self._connect()
                _migrate(self._writer, path)
                self._writer.execute("PRAGMA journal_mode = WAL")
                (page_bytes,) = self._writer.execute("PRAGMA page_size").fetchone()
                self._writer.execute(f"PRAGMA synchronous = {SYNC[sync]}")
                self._writer.execute(f"PRAGMA max_page_count = {max_bytes // page_bytes}")
        except BaseException:
            self.close()
            raise

    def write(self, writes: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """Carry out writes in one transaction. The result of each, or the ``KeyReusedError`` that it raised.

        Raises ``StoreError`` if nothing was written.
        """
        results: list[Any] = []
        with self._named():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                for write in writes:
                    try:
                        results.append(write(self._writer))
                    except KeyReusedError as error:
                        results.append(error)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk ends the transaction by itself
                    self._writer.execute("ROLLBACK")
                raise
        return results

    def read(self, text: str, values: tuple[Any, ...]) -> list[Any]:
        """The rows of a query."""
        with self._named():
            return self._reader.execute(text, values).fetchall()

    def vacuum(self) -> tuple[int, int]:
        """Give the space of dropped records back. The file's size before and after, in bytes."""
        before = self.path.stat().st_size
        with self._named():
            self._writer.execute("VACUUM")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before, self.path.stat().st_size

    def check(self) -> tuple[int, int, list[str]]:
        """The number of logs and of records, and what SQLite finds wrong."""
        with self._named():
            found = [text for (text,) in self._writer.execute("PRAGMA integrity_check(10)")]
            logs, records = self._writer.execute(
                "SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM records)"
            ).fetchone()
        return logs, records, [] if found == ["ok"] else found

    def close(self) -> None:
        """Close the file, and let another process open it."""
        for connection in self._connections:
            with suppress(sqlite3.Error):
                connection.close()
        os.close(self._lock)

    def _connect(self) -> sqlite3.Connection:
        # Without Python's own transactions, and from a thread of the store's that uses nothing else.
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30.0)
        self._connections.append(connection)
        return connection

    @contextmanager
    def _named(self) -> Iterator[None]:
        """SQLite's errors as ours, with the file's name."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a store to the present version, or make a new one of an empty file. Raises ``StoreError``."""
    version = _check_kind(connection, path)
    for steps in MIGRATIONS[version:]:
        version += 1
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
        connection.executescript(f"BEGIN IMMEDIATE; {steps} {marks} COMMIT;")


def _check_kind(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a store, 0 for an empty file. Raises ``StoreError`` for what is none."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreError(f"{path} is a database of another program, and no store of pushmark")
    if version > VERSION:
        raise StoreError(f"{path} has version {version}; this program knows stores up to version {VERSION}")
    return int(version)


def _lock(path: Path) -> int:
    """A file descriptor that keeps other processes from opening the store; it goes with the process.

    SQLite's own locks would let two servers write in turns, each of which holds what the other has not read.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another process") from error
    return descriptor


def read_only(path: Path) -> Generator[tuple[Any, ...], None, None]:
    """All records: log, seq, key, author, Unix time in ms, data. Raises ``StoreError`` for what is no store.

    Takes no lock: what a server commits meanwhile is seen or not.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30.0)) as connection:
            _check_kind(connection, path)
            yield from connection.execute(
                "SELECT name, seq, key, author, at_ms, data FROM records JOIN logs ON logs.id = log ORDER BY name, seq"
            )
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
