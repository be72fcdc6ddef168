"""Recorded feeds: played back exactly, or refused with file, line and reason."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from feed.instruments.clock import NS_PER_S
from feed.sources import (
    MAX_PAYLOAD_BYTES,
    SourceError,
    load_replay,
    recorded_data,
)

PURE = settings(deadline=None, derandomize=True, database=None)
# Each example overwrites the one replay file.
ON_FILES = settings(PURE, suppress_health_check=[HealthCheck.function_scoped_fixture])
INSTANTS = st.integers(0, 2**63 - 1)
ROOMS = st.sampled_from(["feed", "feed-1", "a:b", "Z"])
OFFSETS = st.lists(st.floats(0, 1e6), min_size=1, max_size=12).map(sorted)
RECORDED = st.dictionaries(
    st.text(max_size=6), st.integers(-(2**53), 2**53) | st.text(max_size=6) | st.none(), max_size=4
)


@ON_FILES
@given(OFFSETS, st.lists(st.tuples(ROOMS, RECORDED), min_size=12, max_size=12), st.floats(1e-3, 1e6), INSTANTS)
def test_a_recording_is_played_back_at_its_speed(
    tmp_path: Path, offsets_s: list[float], said: list[tuple[str, dict[str, Any]]], speed: float, due_ns: int
) -> None:
    assume(offsets_s[-1] / speed * NS_PER_S >= 1)
    path = tmp_path / "replay.jsonl"
    lines = [
        json.dumps({"at_s": at_s, "room": room, "data": data})
        for at_s, (room, data) in zip(offsets_s, said, strict=False)
    ]
    path.write_text("\n\n".join(lines) + "\n  \n")
    items = load_replay(path, speed)
    assert len(items) == len(offsets_s)
    assert all(this.offset_ns <= following.offset_ns for this, following in pairwise(items))
    numbers: Counter[str] = Counter()
    for item, at_s, (room, data) in zip(items, offsets_s, said, strict=False):
        assert item.room == room and not item.live
        assert item.offset_ns == pytest.approx(at_s / speed * NS_PER_S, rel=1e-12, abs=1)
        assert json.loads(item.make(due_ns)) == {**data, "n": numbers[room], "due_ns": due_ns}
        numbers[room] += 1


def test_a_line_without_room_is_in_the_default_room(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_text('{"at_s": 0, "data": {"n": 99}}\r\n{"at_s": 1, "data": {}}')
    items = load_replay(path)
    assert [(item.room, json.loads(item.make(8))) for item in items] == [
        ("feed", {"n": 0, "due_ns": 8}),
        ("feed", {"n": 1, "due_ns": 8}),
    ]


GOOD_LINE = b'{"at_s": 1.5, "data": {"x": 1}}'
BAD_LINES = {
    "text": b"hello",
    "cut": GOOD_LINE[:-1],
    "array": b"[]",
    "no_data": b'{"at_s": 2}',
    "no_time": b'{"data": {}}',
    "extra": b'{"at_s": 2, "data": {}, "more": 1}',
    "data_no_object": b'{"at_s": 2, "data": 5}',
    "time_as_text": b'{"at_s": "2", "data": {}}',
    "time_falls": b'{"at_s": 1.4, "data": {}}',
    "time_nan": b'{"at_s": NaN, "data": {}}',
    "time_too_large": b'{"at_s": 1e999, "data": {}}',
    "bad_room": b'{"at_s": 2, "data": {}, "room": "no room"}',
    "latin_1": b'{"at_s": 2, "data": {"x": "\xe9"}}',
    "surrogate": b'{"at_s": 2, "data": {"x": "\\ud800"}}',
    "deep": b'{"at_s": 2, "data": {"x": ' + b"[" * 100_000,
    "number_too_large": b'{"at_s": 2, "data": {"x": ' + b"9" * 400 + b"}}",
    "bom": b"\xef\xbb\xbf" + GOOD_LINE,
    "nul": b"\0",
    "two": GOOD_LINE + GOOD_LINE,
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_malformed_line_is_refused_with_file_line_and_reason(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_bytes(GOOD_LINE + b"\n\n" + bad + b"\n" + GOOD_LINE)
    with pytest.raises(SourceError) as refusal:
        load_replay(path)
    where, _, reason = str(refusal.value).partition(", line 3: ")
    assert where == str(path) and reason


def test_a_room_that_is_not_served_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_bytes(GOOD_LINE)
    assert load_replay(path, rooms=frozenset({"feed"}))
    with pytest.raises(SourceError, match="line 1: room 'feed' is not served"):
        load_replay(path, rooms=frozenset({"feed-1"}))


def test_a_file_without_events_or_no_file_is_refused_by_its_name(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b" \n\r\n")
    for path in (empty, tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(SourceError) as refusal:
            load_replay(path)
        assert str(refusal.value).startswith(f"{path}: ")


@ON_FILES
@given(st.floats())
def test_a_speed_is_taken_or_refused(tmp_path: Path, speed: float) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_bytes(GOOD_LINE)
    if 1e-6 <= speed <= 1e6:
        assert load_replay(path, speed)[0].offset_ns == pytest.approx(1.5e9 / speed, abs=1)
    elif not 0 < speed <= 1e6:
        with pytest.raises(SourceError, match="speed"):
            load_replay(path, speed)


@pytest.mark.parametrize(
    ("at_s", "speed"),
    [("1e300", 1.0), ("1e308", 1e-3), ("0.5", 5e-324), ("1e19", 1.0)],
    ids=["late", "late_and_slow", "slow", "over_64_bits"],
)
def test_an_instant_that_no_clock_can_reach_is_refused(tmp_path: Path, at_s: str, speed: float) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_text(f'{{"at_s": {at_s}, "data": {{}}}}')
    with pytest.raises(SourceError):
        load_replay(path, speed)


@pytest.mark.parametrize(
    ("times", "speed"), [(["0"], 1.0), (["0", "0.0"], 1.0), (["-0.0"], 1.0), (["0", "1e-10"], 1.0), (["1e-5"], 1e6)]
)
def test_a_recording_that_takes_no_time_is_refused(tmp_path: Path, times: list[str], speed: float) -> None:
    """It is played again and again: its events would come without end at one instant."""
    path = tmp_path / "replay.jsonl"
    path.write_text("\n".join(f'{{"at_s": {at_s}, "data": {{}}}}' for at_s in times))
    with pytest.raises(SourceError, match="the last at_s must be above 0") as refusal:
        load_replay(path, speed)
    assert str(refusal.value).startswith(f"{path}: ")


def test_recorded_data_is_as_large_as_a_payload_at_most(tmp_path: Path) -> None:
    path = tmp_path / "replay.jsonl"
    latest_ns = 2**63 - 1
    room = MAX_PAYLOAD_BYTES - len(recorded_data(1, {"x": ""}, latest_ns))

    def record(size: int) -> None:
        line = json.dumps({"at_s": 1, "data": {"x": "y" * size}})
        path.write_bytes(GOOD_LINE.replace(b"1.5", b"0") + b"\n" + line.encode())

    record(room)
    assert len(load_replay(path)[1].make(latest_ns)) == MAX_PAYLOAD_BYTES
    record(room + 1)
    with pytest.raises(
        SourceError, match=f"line 2: .* {MAX_PAYLOAD_BYTES + 1} bytes.* allowed are {MAX_PAYLOAD_BYTES}"
    ):
        load_replay(path)


FRAGMENTS = st.lists(
    st.sampled_from(
        [b"{", b"}", b'"at_s"', b'"data"', b'"room"', b":", b",", b"1", b"-1", b"1e400", b'"x"', b"\n", b"[", b"]"]
    )
    | st.binary(max_size=3),
    max_size=25,
).map(b"".join)


@settings(ON_FILES, max_examples=300)
@given(st.one_of(st.binary(max_size=200), FRAGMENTS, FRAGMENTS.map(lambda rest: GOOD_LINE + b"\n" + rest)))
def test_any_bytes_are_read_or_refused_by_name(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_bytes(text)
    try:
        items = load_replay(path)
    except SourceError as refusal:
        assert str(refusal).startswith(str(path))
    else:
        assert all(json.loads(item.make(1))["due_ns"] == 1 for item in items)


NUMBERS = st.sampled_from(
    ["0", "-0.0", "1e5", "1e22", "123456789012345678901234567890", "-1e-5", "18446744073709551616"]
)


@ON_FILES
@given(st.sampled_from(["at_s", "x"]), NUMBERS | st.floats(allow_nan=False, allow_infinity=False).map(repr))
def test_what_is_read_can_be_published(tmp_path: Path, where: str, number: str) -> None:
    path = tmp_path / "replay.jsonl"
    at_s, value = (number, "0") if where == "at_s" else ("1", number)
    path.write_text(f'{{"at_s": {at_s}, "data": {{"x": {value}}}}}')
    try:
        (item,) = load_replay(path)
    except SourceError as refusal:
        assert str(refusal).startswith(str(path))
    else:
        assert float(json.loads(item.make(1))["x"]) == float(value)
