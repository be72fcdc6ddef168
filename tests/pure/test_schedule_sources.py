"""When events are due and what they say: reproducible, exact, and refused with a reason."""

import itertools
import json
import math
from collections import Counter
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
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
