"""The store: one test body for every implementation of the contract, against a model of it."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from servers.store.contract import MAX_MARKS, Kept, KeyReusedError, Store, StoreBusyError, StoreError
from servers.store.file import APPLICATION_ID, MIGRATIONS, VERSION, StoreFile, read_only
from servers.store.sqlite import MAX_WAITING, SqliteStore
from tests.conftest import ROOT, invoke

PAGE_BYTES = 4096
LOGS, KEYS, AUTHORS = ("/chat/tea", "/chat/milk", "/notes/ann"), tuple("abcdef"), ("ann", "bob", "")


def now_ms() -> int:
    return 1_700_000_000_000


def with_store(path: Path, body: Callable[[Store], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """Run a body with the store in a file, and close it."""

    async def run() -> Any:
        store = SqliteStore(StoreFile(path, **options), now_ms)
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(run())


class Model:
    """What the contract says, in dictionaries."""

    def __init__(self) -> None:
        self.records: dict[str, dict[int, tuple[str, str, bytes]]] = {}
        self.last: dict[str, int] = {}
        self.marks: dict[tuple[str, str], int] = {}

    def append(self, log: str, key: str, author: str, data: bytes) -> "Kept | None":
        for seq, (known, by, kept) in self.records.get(log, {}).items():
            if known == key:
                return Kept(seq, now_ms(), True) if (by, kept) == (author, data) else None
        seq = self.last[log] = self.last.get(log, 0) + 1
        self.records.setdefault(log, {})[seq] = (key, author, data)
        return Kept(seq, now_ms(), False)

    def listed(self, log: str) -> list[tuple[int, str, str, bytes]]:
        return [(seq, *record) for seq, record in sorted(self.records.get(log, {}).items())]


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of calls, with the store closed and opened in between, is what the model says."""

    folder: Path
    made = 0

    def __init__(self) -> None:
        super().__init__()
        StoreMachine.made += 1
        self.path = self.folder / f"{StoreMachine.made}.db"
        self.loop = asyncio.new_event_loop()
        self.model = Model()
        self.store = self._open()

    def _open(self) -> SqliteStore:
        async def opened() -> SqliteStore:
            return SqliteStore(StoreFile(self.path), now_ms)

        return self.loop.run_until_complete(opened())

    def ask(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    @rule(
        log=st.sampled_from(LOGS),
        calls=st.lists(
            st.tuples(st.sampled_from(KEYS), st.sampled_from(AUTHORS), st.sampled_from((b"", b"x", b"\x00\xff"))),
            min_size=1,
            max_size=6,
        ),
    )
    def append(self, log: str, calls: list[tuple[str, str, bytes]]) -> None:
        """Several at once, as they come from many connections."""

        async def together() -> list[Any]:
            return await asyncio.gather(*(self.store.append(log, *call) for call in calls), return_exceptions=True)

        for call, found in zip(calls, self.ask(together()), strict=True):
            expected = self.model.append(log, *call)
            assert found == expected if expected is not None else isinstance(found, KeyReusedError)

    @rule(log=st.sampled_from(LOGS), seq=st.integers(0, 12), limit=st.integers(1, 5))
    def read(self, log: str, seq: int, limit: int) -> None:
        everything = self.model.listed(log)
        after = [(one.seq, one.key, one.author, one.data) for one in self.ask(self.store.after(log, seq, limit))]
        assert after == [one for one in everything if one[0] > seq][:limit]
        newest = [(one.seq, one.key, one.author, one.data) for one in self.ask(self.store.newest(log, limit, seq))]
        assert newest == [one for one in everything if not seq or one[0] < seq][-limit:]
        assert self.ask(self.store.last_seq(log)) == self.model.last.get(log, 0)

    @rule(log=st.sampled_from(LOGS), name=st.sampled_from(AUTHORS), seq=st.integers(0, 20))
    def mark(self, log: str, name: str, seq: int) -> None:
        at = self.model.marks[log, name] = max(seq, self.model.marks.get((log, name), 0))
        assert self.ask(self.store.mark(log, name, seq)) == at
        assert self.ask(self.store.marks(log)) == {who: at for (of, who), at in self.model.marks.items() if of == log}

    @rule(log=st.sampled_from(LOGS), data=st.binary(max_size=8))
    def replace(self, log: str, data: bytes) -> None:
        upto = self.model.last.get(log, 0)
        if upto:
            self.ask(self.store.replace(log, upto, "ann", data))
            self.model.records[log] = {upto: (f"upto-{upto}", "ann", data)}

    @rule(log=st.sampled_from(LOGS), keep=st.integers(0, 5))
    def trim(self, log: str, keep: int) -> None:
        records, last = self.model.records.get(log, {}), self.model.last.get(log, 0)
        dropped = [seq for seq in records if seq <= last - keep]
        assert self.ask(self.store.trim(log, keep)) == len(dropped)
        for seq in dropped:
            del records[seq]

    @rule(logs=st.sampled_from(("/chat/", "/notes/", "/")), author=st.sampled_from(AUTHORS))
    def forget(self, logs: str, author: str) -> None:
        places = [
            (log, seq)
            for log, records in self.model.records.items()
            for seq, record in records.items()
            if log.startswith(logs) and record[1] == author
        ]
        assert self.ask(self.store.forget(logs, author)) == len(places)
        for log, seq in places:
            del self.model.records[log][seq]
        for place in [place for place in self.model.marks if place[0].startswith(logs) and place[1] == author]:
            del self.model.marks[place]

    @rule()
    def open_again(self) -> None:
        self.ask(self.store.close())
        self.store = self._open()

    def teardown(self) -> None:
        self.ask(self.store.close())
        self.loop.close()


def test_any_sequence_of_calls_is_what_the_contract_says(tmp_path: Path) -> None:
    StoreMachine.folder = tmp_path
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_comes_while_a_group_is_written_shares_the_next_commit(tmp_path: Path) -> None:
    async def body(store: SqliteStore) -> int:
        kept = await asyncio.gather(*(store.append("/chat/tea", f"k{n}", "ann", b"x") for n in range(2000)))
        assert [one.seq for one in kept] == list(range(1, 2001)), "in the order in which they were asked"
        return store.groups

    assert with_store(tmp_path / "s.db", body) < 200


def test_a_record_of_another_key_in_the_group_is_written_although_one_is_refused(tmp_path: Path) -> None:
    async def body(store: Store) -> list[Any]:
        calls = [("k1", b"a"), ("k1", b"b"), ("k2", b"c")]
        return await asyncio.gather(
            *(store.append("/chat/tea", key, "ann", data) for key, data in calls), return_exceptions=True
        )

    first, reused, other = with_store(tmp_path / "s.db", body)
    assert (first.seq, other.seq) == (1, 2) and isinstance(reused, KeyReusedError) and "'k1'" in str(reused)


def test_more_than_may_wait_is_refused_at_once(tmp_path: Path) -> None:
    async def body(store: Store) -> list[Any]:
        calls = [store.append("/chat/tea", f"k{n}", "ann", b"") for n in range(MAX_WAITING + 5)]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = with_store(tmp_path / "s.db", body)
    assert sum(isinstance(one, StoreBusyError) for one in found) == 5
    assert sum(isinstance(one, Kept) for one in found) == MAX_WAITING


def test_a_log_has_so_many_marks_and_no_more(tmp_path: Path) -> None:
    async def body(store: Store) -> dict[str, int]:
        await asyncio.gather(*(store.mark("/chat/tea", f"u{n}", n) for n in range(MAX_MARKS + 10)))
        return await store.marks("/chat/tea")

    found = with_store(tmp_path / "s.db", body)
    assert len(found) == MAX_MARKS and min(found.values()) == 10, "the farthest"


def test_a_full_store_acknowledges_nothing_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    async def fill(store: Store) -> tuple[int, str]:
        kept = 0
        try:
            for n in range(1000):
                await store.append("/chat/tea", f"k{n}", "ann", bytes(1000))
                kept += 1
        except StoreError as error:
            return kept, str(error)
        return kept, ""

    kept, said = with_store(tmp_path / "s.db", fill, max_bytes=200_000)
    assert 50 < kept < 200 and "s.db: database or disk is full" in said

    async def read(store: Store) -> list[int]:
        return [one.seq for one in await store.after("/chat/tea", 0, 500)]

    assert with_store(tmp_path / "s.db", read) == list(range(1, kept + 1))


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    program = f"from servers.store.file import StoreFile; from pathlib import Path; StoreFile(Path({str(path)!r}))"
    file = StoreFile(path)
    try:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and f"{path} is in use by another process" in done.stderr
        with pytest.raises(StoreError, match="in use"):
            StoreFile(path)
    finally:
        file.close()
    StoreFile(path).close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"no database at all, and long enough to have a header" * 20), "not a database"),
        (lambda path: _database(path, "CREATE TABLE other (x)"), "a database of another program"),
        (
            lambda path: _database(
                path, f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION + 1}"
            ),
            f"has version {VERSION + 1}; this program knows stores up to version {VERSION}",
        ),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
)
def test_what_is_no_store_is_refused_by_name_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "s.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=said) as caught:
        StoreFile(path)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert sorted(tmp_path.iterdir()) == [path], "no journal is left beside it"


def _database(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    path = tmp_path / "s.db"
    steps = "".join(MIGRATIONS[:version])
    row = "INSERT INTO logs VALUES (5, '/chat/tea', 1); INSERT INTO records VALUES (5, 1, 'k', 'ann', 7, x'78');"
    header = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
    _database(path, f"{steps} {row} {header}")

    async def body(store: Store) -> None:
        assert await store.append("/chat/tea", "k", "ann", b"x") == Kept(1, 7, True)
        assert (await store.append("/chat/tea", "l", "ann", b"y")).seq == 2
        assert await store.mark("/chat/tea", "ann", 2) == 2
        assert await store.forget("/chat/", "ann") == 2

    with_store(path, body)
    assert list(read_only(path)) == []


def test_records_are_written_out_while_a_server_uses_the_file_and_checked_when_none_does(tmp_path: Path) -> None:
    path = tmp_path / "s.db"

    async def body(store: Store) -> None:
        await store.append("/chat/tea", "k", "ann", "grüße".encode())
        await store.append("/chat/milk", "k", "bob", b"\xff")
        done = invoke("servers", "store", "export", str(path), "--log", "/chat/tea")
        assert done.returncode == 0 and '"data": "grüße"' in done.stdout and "milk" not in done.stdout
        for command in ("check", "vacuum"):
            refused = invoke("servers", "store", command, str(path))
            assert refused.returncode == 1 and "in use by another process" in refused.stderr

    with_store(path, body)
    assert "2 records in 2 logs, no fault found" in invoke("servers", "store", "check", str(path)).stdout
    assert "bytes before" in invoke("servers", "store", "vacuum", str(path)).stdout
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES)  # the second page, behind the header and the schema
        file.write(b"\xaa" * PAGE_BYTES)
    damaged = invoke("servers", "store", "check", str(path))
    assert damaged.returncode == 1 and str(path) in damaged.stderr and "Traceback" not in damaged.stderr
