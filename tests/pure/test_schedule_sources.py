"""When events are due and what they say: reproducible, exact, and refused with a reason."""

import itertools
import json
import math
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from feed.instruments.clock import NS_PER_S
from feed.rooms import MAX_ROOMS, room_name
from feed.schedule import KINDS, MAX_LIMIT, MAX_RATE_HZ, MIN_RATE_HZ, Due, Schedule, ScheduleError, dues
from feed.sources import (
    MAX_PAYLOAD_BYTES,
    MIN_PAYLOAD_BYTES,
    SourceError,
    check_payload_bytes,
    host,
    load_replay,
    recorded_data,
    synthetic,
    synthetic_data,
)

PURE = settings(deadline=None, derandomize=True, database=None)
# Each example overwrites the one replay file.
ON_FILES = settings(PURE, suppress_health_check=[HealthCheck.function_scoped_fixture])

RATES = st.floats(0.01, MAX_RATE_HZ)
SCHEDULES = st.builds(
    Schedule,
    kind=st.sampled_from(KINDS),
    rate_hz=RATES,
    rooms=st.integers(1, 30),
    seed=st.integers(),
    burst_events=st.integers(1, 50),
    limit=st.integers(1, 120),
)
INSTANTS = st.integers(0, 2**63 - 1)


@PURE
@given(SCHEDULES)
def test_a_schedule_is_reproducible_in_order_and_without_holes(schedule: Schedule) -> None:
    events = list(dues(schedule.check()))
    assert events == list(dues(schedule))
    assert len(events) == schedule.limit
    assert events[0].offset_ns >= 0
    assert all(this.offset_ns <= following.offset_ns for this, following in pairwise(events))
    numbers: Counter[int] = Counter()
    for event in events:
        assert 0 <= event.room < schedule.rooms
        assert event.n == numbers[event.room]
        numbers[event.room] += 1


@PURE
@given(SCHEDULES)
def test_a_limit_only_cuts_the_endless_schedule(schedule: Schedule) -> None:
    endless = Schedule(**{name: getattr(schedule, name) for name in schedule.__struct_fields__ if name != "limit"})
    assert list(dues(schedule)) == list(islice(dues(endless), schedule.limit))


@PURE
@given(RATES, st.integers(1, 30), st.integers(1, 200))
def test_a_constant_schedule_is_exact(rate_hz: float, rooms: int, limit: int) -> None:
    for i, event in enumerate(dues(Schedule("constant", rate_hz, rooms, limit=limit))):
        assert event == Due(round((i + 1) * NS_PER_S / rate_hz), i % rooms, i // rooms)


@PURE
@given(RATES, st.integers(1, 30), st.integers(1, 20), st.integers(1, 200))
def test_a_burst_schedule_is_exact(rate_hz: float, rooms: int, burst: int, limit: int) -> None:
    events = list(dues(Schedule("burst", rate_hz, rooms, burst_events=burst, limit=limit)))
    for i, event in enumerate(events):
        assert event.room == i % rooms
        assert event.offset_ns == round((i // burst + 1) * burst * NS_PER_S / rate_hz)
    sizes = [len(list(group)) for _, group in itertools.groupby(event.offset_ns for event in events)]
    assert sizes[:-1] == [burst] * (len(sizes) - 1)


@pytest.mark.parametrize("seed", [1, 10_001, -7])
@pytest.mark.parametrize("rate_hz", [0.5, 20.0, 5000.0])
def test_poisson_gaps_are_exponential_and_rooms_uniform(seed: int, rate_hz: float) -> None:
    count, rooms = 8000, 8
    events = list(dues(Schedule("poisson", rate_hz, rooms, seed, limit=count)))
    assert count / (events[-1].offset_ns / NS_PER_S) == pytest.approx(rate_hz, rel=0.06)
    at = [0, *(event.offset_ns for event in events)]
    gaps = sorted((following - this) * rate_hz / NS_PER_S for this, following in pairwise(at))
    # Kolmogorov's distance to 1 - exp(-x): 1.95 / sqrt(n) is passed by one fair sample in a thousand.
    distance = max(abs((i + 0.5) / count - (1 - math.exp(-gap))) for i, gap in enumerate(gaps))
    assert distance < 1.95 / math.sqrt(count)
    per_room = Counter(event.room for event in events)
    assert all(per_room[room] == pytest.approx(count / rooms, rel=0.15) for room in range(rooms))


def test_another_seed_is_another_poisson_schedule() -> None:
    assert len({tuple(dues(Schedule("poisson", seed=seed, limit=5))) for seed in range(100)}) == 100


@PURE
@given(st.floats(), st.integers(), st.integers(), st.integers(), st.text(max_size=12) | st.sampled_from(KINDS))
def test_a_bad_value_is_refused_by_its_name(rate_hz: float, rooms: int, burst: int, limit: int, kind: str) -> None:
    good = {
        "kind": kind in KINDS,
        "rate_hz": MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ,
        "rooms": 1 <= rooms <= MAX_ROOMS,
        "burst_events": 1 <= burst <= 100_000,
        "limit": 0 <= limit <= MAX_LIMIT,
    }
    given_values: dict[str, Any] = {
        "kind": kind,
        "rate_hz": rate_hz,
        "rooms": rooms,
        "burst_events": burst,
        "limit": limit,
    }
    for name, value in given_values.items():
        schedule = Schedule(**{name: value})
        if good[name]:
            assert schedule.check() is schedule
        else:
            with pytest.raises(ScheduleError, match=name):
                schedule.check()


@PURE
@given(st.sampled_from(KINDS), st.floats(0, 1, exclude_min=True))
def test_a_schedule_that_is_not_refused_can_be_followed(kind: str, rate_hz: float) -> None:
    """A timerfd holds seconds in 64 bits."""
    schedule = Schedule(kind, rate_hz, limit=3)
    try:
        schedule.check()
    except ScheduleError:
        return
    assert all(due.offset_ns < 2**62 * NS_PER_S for due in dues(schedule))


@PURE
@given(st.integers(), st.integers(0, 10**9), st.integers(MIN_PAYLOAD_BYTES, 700), INSTANTS)
@example(1, 0, MIN_PAYLOAD_BYTES, 0)
@example(1, 10**9, MIN_PAYLOAD_BYTES, 2**63 - 1)
@example(1, 3, MAX_PAYLOAD_BYTES, 81234567890123)
@example(1, 3, MAX_PAYLOAD_BYTES - 1, 81234567890123)
def test_synthetic_data_has_exactly_the_size_asked_for(seed: int, n: int, size: int, due_ns: int) -> None:
    data = synthetic_data(seed, "feed", n, size, due_ns)
    assert len(data) == size
    record = json.loads(data)
    assert (record["n"], record["due_ns"]) == (n, due_ns)
    assert data == synthetic_data(seed, "feed", n, size, due_ns)


def test_synthetic_data_of_every_small_size() -> None:
    for size in [*range(MIN_PAYLOAD_BYTES, 400), 1000, 4096, 40_000, MAX_PAYLOAD_BYTES]:
        data = synthetic_data(1, "feed-3", 17, size, 81234567890123)
        assert len(data) == size and json.loads(data)["n"] == 17


@PURE
@given(st.integers(MIN_PAYLOAD_BYTES, 400), st.integers(0, 1000))
def test_synthetic_data_differs_between_events_rooms_and_seeds(size: int, n: int) -> None:
    def said(seed: int, room: str, number: int) -> dict[str, Any]:
        record = json.loads(synthetic_data(seed, room, number, size, 0))
        return {key: value for key, value in record.items() if key != "n"}

    assert said(1, "feed", n) != said(1, "feed", n + 1)
    assert said(1, "feed", n) != said(1, "feed-1", n)
    assert said(1, "feed", n) != said(2, "feed", n)


@PURE
@given(SCHEDULES, st.integers(MIN_PAYLOAD_BYTES, 300), INSTANTS)
def test_the_synthetic_source_follows_its_schedule(schedule: Schedule, size: int, due_ns: int) -> None:
    events = list(islice(dues(schedule), 10))
    items = list(islice(synthetic(schedule, size), 10))
    assert [(item.offset_ns, item.room) for item in items] == [(e.offset_ns, room_name(e.room)) for e in events]
    for item, event in zip(items, events, strict=True):
        record = json.loads(item.make(due_ns))
        assert (record["n"], record["due_ns"], item.live) == (event.n, due_ns, False)


def test_the_host_source_is_live_and_numbered() -> None:
    items = list(host(Schedule("constant", 10.0, 2, limit=4)))
    records = [json.loads(item.make(5)) for item in items]
    assert [(item.room, item.live, record["n"]) for item, record in zip(items, records, strict=True)] == [
        ("feed", True, 0),
        ("feed-1", True, 0),
        ("feed", True, 1),
        ("feed-1", True, 1),
    ]
    assert all(record["due_ns"] == 5 and 0 <= record["memory_percent"] <= 100 for record in records)


@PURE
@given(st.integers())
def test_a_payload_size_is_taken_or_refused_by_name(size: int) -> None:
    if MIN_PAYLOAD_BYTES <= size <= MAX_PAYLOAD_BYTES:
        assert check_payload_bytes(size) == size
        return
    with pytest.raises(SourceError, match="payload_bytes"):
        check_payload_bytes(size)
    with pytest.raises(SourceError, match="payload_bytes"):
        next(synthetic(Schedule(), size))


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
