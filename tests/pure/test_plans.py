"""What is measured: presets, plans, networks, blocks of trials, and the values that are refused."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plan.presets import POINT_OPTIONS, POINTS, PRESETS, RANGES, PlanError, make_plan, make_plans
from bench.plan.timing import GRACE_S, drain_s, expected_s
from bench.plan.trials import schedule_of, trials
from bench.results.run import Plan
from bench.trial.metrics import (
    MIN_EVENTS_BEYOND,
)
from clients.core.options import HEADER_SETS
from feed.networks import PRESETS as NETWORKS
from feed.networks import RANGES as NETWORK_RANGES
from feed.networks import make_network
from feed.sources import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES
from feed.transports import CONTENDERS, TRANSPORTS

PURE = settings(deadline=None, derandomize=True, database=None)
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
