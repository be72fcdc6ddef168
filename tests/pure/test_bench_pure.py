"""The parts of the benchmark that measure nothing themselves: plan, window, counts, percentiles, validity, results."""

import math
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.generators.population import residual_hold_s
from bench.generators.spec import SAMPLE_FIELDS, Mark, Records
from bench.generators.window import window
from bench.plan.presets import POINT_OPTIONS, POINTS, PRESETS, RANGES, PlanError, make_plan, make_plans
from bench.plan.timing import GRACE_S, drain_s, expected_s, latest_ms
from bench.plan.trials import schedule_of, trials, warmup_of
from bench.results.catalogue import METRICS, PERCENTILES
from bench.results.files import RESULTS_FILE, STORED_METRICS, ResultsError, load, save
from bench.results.provenance import SCHEMA_VERSION
from bench.results.run import GENERATORS, Counts, Plan, Results
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
from clients.core.options import HEADER_SETS
from feed.instruments.clock import NS_PER_S
from feed.networks import PRESETS as NETWORKS
from feed.networks import RANGES as NETWORK_RANGES
from feed.networks import make_network
from feed.schedule import KINDS, Schedule, dues
from feed.sources import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES
from feed.transports import CONTENDERS, TRANSPORTS
from tests.conftest import ROOT
from tests.helpers.fake_results import fake_results

PURE = settings(deadline=None, derandomize=True, database=None)
# Each example overwrites the one results file.
ON_FILES = settings(PURE, suppress_health_check=[HealthCheck.function_scoped_fixture])

INTEGERS = ("subscribers", "rooms", "blocks")
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "subscribers": st.integers(1, 400),
        "rooms": st.integers(1, 400),
        "blocks": st.integers(1, 12),
        "rate_hz": st.floats(0.1, 1000),
        "duration_s": st.floats(0.5, 100),
        "poll_interval_s": st.floats(0.01, 60),
        "rtt_ms": st.sampled_from([0.0, 40.0]) | st.floats(0, 10_000),
        "network": st.sampled_from(["lan", "broadband"]),
        "seed": st.integers(0, 2**31),
        "transports": st.lists(st.sampled_from(list(TRANSPORTS)), min_size=1, unique=True),
        "payload_bytes": st.integers(MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES),
        "headers": st.sampled_from(HEADER_SETS),
        "loopback_too": st.booleans(),
        "curve_repeats": st.integers(0, 3),
    },
)
WHERE = st.tuples(st.sampled_from(list(PRESETS)), st.sampled_from(list(POINTS)))
PLANS = st.builds(lambda where, given_values: make_plan(*where, **given_values), WHERE, GIVEN)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_valid_plan(preset: str, point: str) -> None:
    plan = make_plan(preset, point)
    assert plan.point == point and set(plan.transports) | {"raw"} == set(TRANSPORTS)
    for name, value in PRESETS[preset][point].items():
        assert getattr(plan, name) == value
    assert 1 <= plan.probes <= plan.subscribers
    schedule_of(plan, trials(plan)[0]).check()
    assert make_plan(preset, point, seed=None, rate_hz=None) == plan


@pytest.mark.parametrize(("point", "percentiles"), [("sparse", (50, 95)), ("broadcast", (50,))])
def test_the_default_preset_has_the_events_that_its_headline_needs(point: str, percentiles: tuple[int, ...]) -> None:
    events = make_plan("default", point).measured_events
    assert all(events * (1 - q / 100) >= MIN_EVENTS_BEYOND for q in percentiles)


def test_a_run_has_both_points_unless_one_is_named() -> None:
    assert [plan.point for plan in make_plans("default", None, blocks=2)] == ["sparse", "broadcast"]
    assert [plan.rooms for plan in make_plans("default", "broadcast", rooms=3)] == [3]


@pytest.mark.parametrize("name", POINT_OPTIONS)
def test_what_makes_a_point_needs_its_name(name: str) -> None:
    with pytest.raises(PlanError, match=f"^{name} .*--point sparse or broadcast"):
        make_plans("default", None, **{name: 5})


@PURE
@given(WHERE, GIVEN)
def test_what_was_given_is_planned(where: tuple[str, str], given_values: dict[str, Any]) -> None:
    plan = make_plan(*where, **given_values)
    between = make_network(given_values.pop("network", "broadband"), rtt_ms=given_values.pop("rtt_ms", None))
    assert plan.between == between and plan.network == between.name
    for name, value in given_values.items():
        planned = getattr(plan, name)
        assert (sorted(planned) if name == "transports" else planned) == (
            sorted(value) if name == "transports" else value
        )
    assert plan.transports == [name for name in TRANSPORTS if name in plan.transports]
    assert 1 <= plan.probes <= plan.subscribers
    assert plan.probes in (plan.subscribers, 16)
    assert plan.measured_events >= 1
    assert plan.measured_events == max(1, round(plan.rate_hz * plan.duration_s))


@PURE
@given(PLANS)
def test_a_block_holds_each_transport_once_with_one_seed(plan: Plan) -> None:
    planned = trials(plan)
    assert planned == trials(plan)
    assert len({trial.id for trial in planned}) == len(planned)
    assert [trial.block for trial in planned] == sorted(trial.block for trial in planned)
    seeds = [{trial.seed for trial in planned if trial.block == block} for block in range(1, plan.blocks + 1)]
    assert all(len(seed) == 1 for seed in seeds) and len(set.union(*seeds)) == plan.blocks
    for block in range(1, plan.blocks + 1):
        of_block = [trial for trial in planned if trial.block == block]
        purposes = Counter((trial.purpose, trial.transport) for trial in of_block)
        assert all(purposes["main", name] == 1 for name in plan.transports)
        loopback = plan.loopback_too and plan.rtt_ms > 0
        assert all(purposes["loopback", name] == loopback for name in plan.transports)
        curve = len(plan.curve_intervals_s) if block <= plan.curve_repeats and "polling" in plan.transports else 0
        assert purposes["curve", "polling"] == curve
        assert len(of_block) == len(plan.transports) * (1 + loopback) + curve
        assert all(trial.rtt_ms == (0 if trial.purpose == "loopback" else plan.rtt_ms) for trial in of_block)
        assert len({schedule_of(plan, trial) for trial in of_block if trial.purpose == "main"}) == 1
    for trial in planned:
        poll_s = trial.poll_interval_s if trial.transport == "polling" else 0.0
        assert drain_s(plan, trial) > GRACE_S + poll_s + 2 * trial.rtt_ms / 1000 < expected_s(plan, trial) + GRACE_S


def test_the_order_depends_on_seed_and_block() -> None:
    def orders(seed: int) -> list[tuple[str, ...]]:
        planned = trials(make_plan("default", seed=seed, blocks=20, curve_repeats=0))
        return [tuple(trial.transport for trial in planned[at : at + 5]) for at in range(0, 100, 5)]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert len(set(orders(1))) > 10
    first = Counter(order[0] for seed in range(20) for order in orders(seed))
    assert all(first[name] == pytest.approx(80, abs=40) for name in CONTENDERS), "no transport is favoured"


@pytest.mark.parametrize("name", [*RANGES, *NETWORK_RANGES])
@PURE
@given(st.integers() | st.floats())
def test_a_value_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    low, high = {**RANGES, **NETWORK_RANGES}[name]
    if low <= value <= high:
        if name not in INTEGERS or isinstance(value, int):
            assert getattr(make_plan("default", **{name: value}), name) == value
        return
    with pytest.raises(PlanError, match=f"^{name} .*allowed are {low:g} to "):
        make_plan("default", **{name: value})


def test_broadband_is_the_default_and_what_it_always_was() -> None:
    for preset in PRESETS:
        plan = make_plan(preset)
        assert plan.network == "broadband" and plan.rtt_ms == 40 and plan.between.is_plain
        assert plan == make_plan(preset, network="broadband")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_planned_with_its_numbers(name: str) -> None:
    plan = make_plan("default", network=name)
    assert plan.between == NETWORKS[name]
    assert all(trial.rtt_ms == NETWORKS[name].rtt_ms for trial in trials(plan))
    assert make_plan("default", network=name, rtt_ms=33.0).network == "custom"


def test_a_network_without_a_relay_cannot_lose() -> None:
    with pytest.raises(PlanError, match=r"^rtt_ms 0 leaves the relay out.*loss"):
        make_plan("default", rtt_ms=0.0, loss=0.01)
    with pytest.raises(PlanError, match=r"^network 'carrier_pigeon'.*broadband"):
        make_plan("default", network="carrier_pigeon")


def test_what_is_lost_is_awaited() -> None:
    """1 % loss: three in a row are as rare as one in a million, and take 240 + 480 + 960 ms."""
    plan = make_plan("default")
    lossy = make_plan("default", loss=0.01)
    assert drain_s(lossy, trials(lossy)[0]) - drain_s(plan, trials(plan)[0]) == pytest.approx(1.68)


def test_a_number_too_large_for_a_float_is_refused_like_any_other() -> None:
    with pytest.raises(PlanError, match="subscribers"):
        make_plan("default", subscribers=10**400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("headers", "none"),
        ("headers", ""),
        ("transports", []),
        ("transports", ["sse", "carrier_pigeon"]),
        ("payload_bytes", MIN_PAYLOAD_BYTES - 1),
        ("payload_bytes", MAX_PAYLOAD_BYTES + 1),
    ],
)
def test_any_other_wrong_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(PlanError, match=f"^{name} .*allowed are "):
        make_plan("smoke", **{name: value})


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
    assert part.begin_ns == (everything[warmup - 1].offset_ns if warmup else 0)
    assert part.end_ns == everything[-1].offset_ns
    assert [due for due in everything if part.begin_ns < due.offset_ns <= part.end_ns] == part.events


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


@pytest.fixture(scope="module")
def results() -> Results:
    """FAKE results, made once; whoever changes them copies them."""
    return fake_results(3)


def test_results_from_before_there_were_networks_are_read(results: Results, tmp_path: Path) -> None:
    path = save(results, tmp_path)
    written = msgspec.json.decode(path.read_bytes())
    for name in ("network", "jitter_ms", "bandwidth_mbit_s", "loss"):
        del written["plan"][name]
    path.write_bytes(msgspec.json.encode(written))
    plan = load(path).plan
    assert plan == results.plan and plan.between.is_plain and plan.between.words == "40 ms round trip"


NAMES = st.text(max_size=10)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@ON_FILES
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(STORED_METRICS, NUMBERS)),
    st.lists(NAMES, max_size=3),
    st.dictionaries(
        NAMES, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NAMES | st.lists(NAMES), max_size=4
    ),
    st.integers(0, 2**60),
)
def test_what_is_saved_is_loaded(
    results: Results, tmp_path: Path, metrics: dict[str, float], words: list[str], details: dict[str, object], seed: int
) -> None:
    trial = msgspec.structs.replace(results.trials[0], metrics=metrics, reasons=words, details=details, seed=seed)
    kept = msgspec.structs.replace(results, trials=[trial, *results.trials[1:]], command=words, host=details)
    path = save(kept, tmp_path)
    assert path == tmp_path / RESULTS_FILE
    assert load(tmp_path) == load(path) == kept
    assert [file.name for file in tmp_path.iterdir()] == [RESULTS_FILE], "no half-written file is left"


def refused(path: Path, folder: Path | None = None) -> str:
    """The reason, after the file's name."""
    with pytest.raises(ResultsError) as refusal:
        load(folder or path)
    said = str(refusal.value)
    assert said.startswith(f"{path}: ") and len(said) > len(f"{path}: ")
    return said.removeprefix(f"{path}: ")


@ON_FILES
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(results: Results, tmp_path: Path, share: float) -> None:
    path = save(results, tmp_path)
    text = path.read_bytes().rstrip()
    path.write_bytes(text[: int(share * len(text))])
    refused(path, tmp_path)


JUNK = st.one_of(
    st.binary(max_size=100),
    st.sampled_from(
        ["{}", "[]", "null", "[" * 100_000, '{"schema_version":' * 50_000, '{"schema_version": 1}', "\0"]
    ).map(str.encode),
)


@ON_FILES
@given(JUNK)
def test_garbage_is_refused(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_bytes(junk)
    refused(path, tmp_path)


@ON_FILES
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 255))
def test_one_wrong_byte_is_read_or_refused(results: Results, tmp_path: Path, share: float, byte: int) -> None:
    path = save(results, tmp_path)
    text = bytearray(path.read_bytes())
    text[int(share * len(text))] = byte
    path.write_bytes(text)
    try:
        load(path)
    except ResultsError as refusal:
        assert str(refusal).startswith(f"{path}: ")


@ON_FILES
@given(st.integers(-(2**63), 2**63 - 1).filter(lambda version: version != SCHEMA_VERSION))
def test_another_version_is_refused_whatever_else_the_file_holds(tmp_path: Path, version: int) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_bytes(msgspec.json.encode({"schema_version": version, "something": "new"}))
    assert f"schema version {version};" in refused(path)


def _changed(results: Results, **changes: Any) -> Results:
    trial = msgspec.structs.replace(results.trials[-1], **changes)
    return msgspec.structs.replace(results, trials=[*results.trials[:-1], trial])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metrics": {"latency_ms_p42": 1.0}}, "unknown metrics latency_ms_p42"),
        ({"metrics": {"b": 1.0, "a": 2.0}}, "unknown metrics a, b"),
        ({"latency_ms": {"50.5": 1.0}}, "unknown percentiles 50.5"),
        ({"transport": "carrier_pigeon"}, "unknown transports carrier_pigeon"),
        ({"purpose": "fun"}, "unknown purposes fun"),
        ({"status": "fine"}, "unknown statuses fine"),
        ({"metrics": {"latency_ms_mean": math.nan}}, "Expected `float`, got `null`"),
        ({"block": "1"}, "Expected `int`, got `str`"),
    ],
)
def test_an_unknown_name_or_a_wrong_type_is_refused(
    results: Results, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert reason in refused(save(_changed(results, **changes), tmp_path))


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(Results) if field.required])
def test_a_missing_field_is_refused_by_name(results: Results, tmp_path: Path, field: str) -> None:
    path = tmp_path / RESULTS_FILE
    path.write_bytes(msgspec.json.encode({k: v for k, v in msgspec.structs.asdict(results).items() if k != field}))
    assert f"`{field}`" in refused(path)


def test_no_file_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path / RESULTS_FILE, tmp_path)
    refused(tmp_path / "elsewhere")


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
