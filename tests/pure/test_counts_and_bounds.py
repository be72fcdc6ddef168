"""What a trial is judged by, before any is measured: window, counts, percentiles, bounds."""

import math
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.generators.population import residual_hold_s
from bench.generators.spec import SAMPLE_FIELDS, Mark, Records
from bench.generators.window import window
from bench.plan.presets import make_plan
from bench.plan.timing import latest_ms
from bench.plan.trials import schedule_of, trials, warmup_of
from bench.results.catalogue import METRICS, PERCENTILES
from bench.results.run import GENERATORS, Counts
from bench.trial.metrics import (
    MIN_EVENTS_BEYOND,
    Samples,
    count,
    measured_samples,
    overtaken,
    percentiles_ms,
    unsupported,
    wrong_dues,
)
from bench.trial.start import GENERATORS as COMMANDS
from bench.trial.validity import BOUNDS, reasons
from feed.instruments.clock import NS_PER_S
from feed.schedule import KINDS, Schedule, dues
from tests.conftest import ROOT

PURE = settings(deadline=None, derandomize=True, database=None)
SCHEDULES = st.builds(
    Schedule,
    kind=st.sampled_from(KINDS),
    rate_hz=st.floats(0.1, 1000),
    rooms=st.integers(1, 6),
    seed=st.integers(0, 100),
    burst_events=st.just(1),
)


@PURE
@given(SCHEDULES, st.integers(0, 20), st.integers(1, 30))
def test_a_window_holds_exactly_the_measured_events(schedule: Schedule, warmup: int, measured: int) -> None:
    everything = list(dues(msgspec.structs.replace(schedule, limit=warmup + measured)))
    part = window(schedule, warmup, measured)
    assert part.events == everything[warmup:] and len(part.events) == measured
    begin_ns, end_ns = everything[warmup - 1].offset_ns if warmup else 0, everything[-1].offset_ns
    later_ns = round(0.9e9 / schedule.rate_hz) if schedule.kind == "constant" else 0
    assert (part.begin_ns, part.end_ns) == (begin_ns + later_ns, end_ns + later_ns)
    assert [due for due in everything if part.begin_ns < due.offset_ns <= part.end_ns] == part.events


def test_no_delivery_is_on_its_way_at_the_edges_of_a_constant_schedules_window() -> None:
    part = window(Schedule("constant", 2.0), 2, 3)
    assert (part.begin_ns, part.end_ns) == (1_450_000_000, 2_950_000_000)
    assert [due.offset_ns for due in part.events] == [1_500_000_000, 2_000_000_000, 2_500_000_000]


@PURE
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.integers(0, 30_000))
def test_a_percentile_needs_ten_events_on_either_side(latencies: list[float], independent: int) -> None:
    found = percentiles_ms(np.array(latencies), independent)
    for q in PERCENTILES:
        beyond = independent * min(Fraction(str(q)), 100 - Fraction(str(q))) / 100
        assert (f"{q:g}" in found) == (beyond >= MIN_EVENTS_BEYOND)
    assert found == {q: float(np.percentile(latencies, float(q))) for q in found}


@pytest.mark.parametrize(
    ("q", "events"), [("50", 20), ("75", 40), ("90", 100), ("95", 200), ("99", 1000), ("99.9", 10_000)]
)
def test_the_least_number_of_events_for_a_percentile(q: str, events: int) -> None:
    latencies = np.linspace(1, 2, 50)
    assert q in percentiles_ms(latencies, events)
    assert q not in percentiles_ms(latencies, events - 1)
    assert percentiles_ms(np.array([]), events) == {}


def records_of(
    samples: list[tuple[int, int, int, int]], processes: int, repeats: Sequence[tuple[int, int]] = (), **counts: int
) -> list[Records]:
    """Deliveries dealt out to generator processes by subscriber; counts, and what clients left out, are the first's."""
    mark = Mark({}, 0, 0)
    names = ("duplicates", "out_of_order", "gaps", "missed", "reconnects")
    return [
        Records(
            pid=pid,
            probes=[],
            loads=[],
            samples=array(
                "q", [number for sample in samples if sample[0] % processes == pid for number in sample]
            ).tobytes(),
            begin=mark,
            end=mark,
            final=mark,
            counts={name: 0 if pid else counts.get(name, 0) for name in names},
            failures=[],
            loop_lag={},
            gc_pauses={},
            repeats=b"" if pid else array("q", [number for repeat in repeats for number in repeat]).tobytes(),
        )
        for pid in range(processes)
    ]


@PURE
@given(SCHEDULES, st.integers(0, 12), st.integers(1, 25), st.integers(1, 9), st.integers(1, 3), st.data())
def test_deliveries_are_counted_against_the_schedule(
    schedule: Schedule, warmup: int, measured: int, subscribers: int, processes: int, data: st.DataObject
) -> None:
    rooms, start_ns = schedule.rooms, 81_000_000_000
    part = window(schedule, warmup, measured)
    everything = list(dues(msgspec.structs.replace(schedule, limit=warmup + measured)))
    sent = [
        (subscriber, due.n, start_ns + due.offset_ns, start_ns + due.offset_ns + 1000 * subscriber, i >= warmup)
        for subscriber in range(subscribers)
        for i, due in enumerate(everything)
        if due.room == subscriber % rooms
    ]
    assert len(SAMPLE_FIELDS) == len(sent[0]) - 1 if sent else True
    lost = data.draw(st.sets(st.integers(0, max(0, len(sent) - 1)), max_size=10)) if sent else set()
    arrived = [row for i, row in enumerate(sent) if i not in lost]
    copies = data.draw(st.lists(st.sampled_from(arrived), max_size=6)) if arrived else []
    told = data.draw(st.fixed_dictionaries({name: st.integers(0, 5) for name in ("duplicates", "gaps", "reconnects")}))
    left_out = data.draw(st.lists(st.sampled_from(arrived), max_size=6)) if arrived else []
    repeats = [row[:2] for row in left_out]
    records = records_of([row[:4] for row in [*arrived, *copies]], processes, repeats, out_of_order=2, **told)

    samples = measured_samples(records, part, rooms)
    assert Counter(zip(*(column.tolist() for column in samples), strict=True)) == Counter(
        row[:4] for row in [*arrived, *copies] if row[4]
    )
    late_after_ms = 0.0015
    counts = count(samples, records, part, rooms, subscribers, late_after_ms)
    measured_rows, measured_arrived = sum(row[4] for row in sent), sum(row[4] for row in arrived)
    assert counts == Counts(
        expected=measured_rows,
        delivered=measured_arrived,
        lost=measured_rows - measured_arrived,
        duplicate=sum(row[4] for row in [*left_out, *copies]),
        out_of_order=2,
        gaps=told["gaps"],
        reconnects=told["reconnects"],
        late=int(sum(samples.latency_ms > late_after_ms)),
    )
    assert count(samples, records, part, rooms, subscribers, None).late is None
    assert wrong_dues(samples, part, rooms, start_ns) == 0
    assert wrong_dues(samples, part, rooms, start_ns + 1) == len(samples.n)
    assert samples.latency_ms.tolist() == [subscriber / 1000 for subscriber in samples.subscriber.tolist()]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=40))
def test_overtaken_are_first_arrivals_after_a_later_event(arrivals: list[tuple[int, int]]) -> None:
    expected, seen = 0, dict[int, list[int]]()
    for subscriber, n in arrivals:
        before = seen.setdefault(subscriber, [])
        expected += n not in before and n < max(before, default=-1)
        before.append(n)
    columns = np.array(arrivals, dtype=np.int64).reshape(-1, 2)
    nothing = np.zeros(len(columns), dtype=np.int64)
    assert overtaken(Samples(columns[:, 0], columns[:, 1], nothing, nothing)) == expected


@pytest.mark.parametrize(
    ("events", "missing"), [(19, ["p50", "p95"]), (20, ["p95"]), (199, ["p95"]), (200, []), (500, [])]
)
def test_a_trial_names_the_percentiles_that_it_has_too_few_events_for(events: int, missing: list[str]) -> None:
    plan = make_plan("default", "broadcast")
    part = window(Schedule("constant", 100.0), 0, events)
    records = records_of([], 1)
    records[0].probes = [0, 1]
    assert [note.partition(":")[0] for note in unsupported(plan, records, part)] == missing


def test_a_trial_without_probes_supports_none() -> None:
    plan = make_plan("default", "broadcast")
    found = unsupported(plan, records_of([], 1), window(Schedule("constant", 100.0), 0, 500))
    assert found == ["p50: 0 events, 20 needed", "p95: 0 events, 200 needed"]


@pytest.mark.parametrize(
    ("transport", "given", "ms"),
    [
        ("sse", {}, 20.0),
        ("long_polling", {}, 60.0),
        ("polling", {}, 1040.0),
        ("polling", {"poll_interval_s": 0.01}, 80.0),
        ("websocket", {"jitter_ms": 10.0}, 30.0),
        ("raw", {"rtt_ms": 0.0}, 0.0),
    ],
)
def test_the_latest_that_protocol_and_delay_allow(transport: str, given: dict[str, object], ms: float) -> None:
    plan = make_plan("default", "broadcast", **given)
    (trial, *_) = (one for one in trials(plan) if one.transport == transport)
    assert latest_ms(plan, trial) == pytest.approx(ms)


def test_a_delivery_with_another_due_instant_is_wrong() -> None:
    schedule = Schedule("constant", 1000.0)
    part = window(schedule, 0, 2)
    moved = [(0, due.n, due.offset_ns + due.n, due.offset_ns) for due in part.events]
    assert wrong_dues(measured_samples(records_of(moved, 1), part, 1), part, 1, 0) == 1


def test_a_trial_at_every_bound_is_valid() -> None:
    assert set(BOUNDS) <= METRICS.keys()
    assert reasons({}, 0) == []
    assert reasons({name: bound.limit for name, bound in BOUNDS.items()}, 0) == []


@pytest.mark.parametrize("name", BOUNDS)
def test_a_trial_just_over_a_bound_is_invalid_for_that_reason(name: str) -> None:
    bound = BOUNDS[name]
    over = {other: one.limit for other, one in BOUNDS.items()} | {name: math.nextafter(bound.limit, math.inf)}
    (reason,) = reasons(over, 0)
    assert reason.endswith(f"allowed {bound.limit:{bound.form}}")
    named = {"probe": "probes", "steal": "hypervisor", "other": "processes", "drift": "drifted:", "hiccup": "host"}
    first = name.split("_")[0]
    assert reason.split()[1] == named.get(first, first)


def test_unrecorded_latenesses_are_a_reason() -> None:
    assert [reason.split()[0] for reason in reasons({}, 7)] == ["7"]


@pytest.mark.parametrize("point", ("sparse", "broadcast"))
def test_the_warm_up_lasts_a_poll_interval_and_two_round_trips(point: str) -> None:
    plan = make_plan("default", point, blocks=30)
    least_ns = (plan.poll_interval_s + 2 * plan.rtt_ms / 1000) * NS_PER_S
    for trial in trials(plan):
        events = list(dues(schedule_of(plan, trial)))
        warmup = warmup_of(plan, trial)
        assert len(events) == warmup + plan.measured_events and warmup >= plan.warmup_events
        assert events[warmup - 1].offset_ns >= least_ns, "the measured part begins when this one is due"
        assert warmup == plan.warmup_events or events[warmup - 2].offset_ns < least_ns


def test_the_schema_and_the_reports_load_no_locust() -> None:
    code = "import sys, bench.results.run, reports; assert 'locust' not in sys.modules and 'gevent' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("rate_hz", (0.001, 0.1, 10.0))
def test_holds_begin_in_their_long_run_phase(rate_hz: float) -> None:
    """Holds that end unanswered within a window are as many as in the long run: 1 per exp(rate x hold) - 1 events."""
    hold_s, steps = 25.0, 20_000
    residuals = [residual_hold_s(i / steps, hold_s, rate_hz) for i in range(steps)]
    assert all(0 <= b <= a <= hold_s for a, b in pairwise(residuals))
    window_s = hold_s / 1000
    ending = sum(left_s <= window_s for left_s in residuals) / steps
    # Renewals end after min(exponential, hold): their mean length, and the share of them that reach the hold.
    cycle_s = -math.expm1(-rate_hz * hold_s) / rate_hz
    assert ending == pytest.approx(window_s / cycle_s * math.exp(-rate_hz * hold_s), abs=2 / steps + 0.02 * ending)


def test_files_know_the_generators_that_a_trial_can_have() -> None:
    assert tuple(COMMANDS) == GENERATORS
