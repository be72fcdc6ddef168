"""What makes a trial invalid, and what the report says of the host."""

import asyncio
import math
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.generators.spec import LoadSpec
from bench.machine.load import TICKS_PER_S, Machine, between, parse_stat, read_machine
from bench.results.catalogue import METRICS
from bench.results.run import Counts
from bench.trial import drift as drift_module
from bench.trial.channel import GeneratorChannel, TrialError
from bench.trial.conduct import await_ramp
from bench.trial.context import IdleCpu, TrialProcesses
from bench.trial.drift import LEAST_EVENTS, LEAST_MS, LEAST_SHARE, Z, drift, rank_z
from bench.trial.validity import BOUNDS, collector_reasons, cost_reasons, cut_reasons, reasons, saturation_reasons
from reports.table.quiet import LIMITS, NOISY, QUIET, UNFIT, Host, quiet_sentence
from tests.helpers.fake_results import fake_results

PURE = settings(deadline=None, derandomize=True, database=None)
TICKS = st.lists(st.integers(0, 10**9), min_size=8, max_size=10)


@pytest.mark.parametrize("name", BOUNDS)
def test_every_bound_is_of_a_metric_and_names_its_value(name: str) -> None:
    bound = BOUNDS[name]
    assert name in METRICS
    assert reasons({name: bound.limit}, 0) == []
    (reason,) = reasons({name: bound.limit * 2 + 0.5}, 0)
    assert format(bound.limit * 2 + 0.5, bound.form) in reason and f"allowed {bound.limit:{bound.form}}" in reason


@PURE
@given(TICKS)
def test_proc_stat_is_read_as_the_manual_says(ticks: list[int]) -> None:
    busy_s, stolen_s, total_s = parse_stat(f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 2 3\n")
    user, nice, system, idle, io_wait, hard, soft, steal = ticks[:8]
    assert busy_s == pytest.approx((user + nice + system) / TICKS_PER_S)
    assert stolen_s == steal / TICKS_PER_S
    assert total_s == pytest.approx((user + nice + system + idle + io_wait + hard + soft + steal) / TICKS_PER_S)


@PURE
@given(st.text(max_size=100))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_stat(text)


def test_shares_are_of_all_cores() -> None:
    found = between(Machine(10.0, 1.0, 100.0, 5.0), Machine(14.0, 2.0, 120.0, 6.0))
    assert found.steal_share == pytest.approx(0.05) and found.other_load_share == pytest.approx(0.15)
    assert between(Machine(0, 0, 0, 0), Machine(1, 0, 20, 3)).other_load_share == 0, "ticks are coarse, never negative"


def test_this_machine_can_be_read() -> None:
    first, second = read_machine(), read_machine()
    assert second.total_s >= first.total_s > 0 and second.ours_s >= first.ours_s > 0


def test_drift_cries_wolf_less_than_once_in_ten_thousand() -> None:
    """The widest there is, polling: 200 events uniform over a second; and a stream with a heavy tail."""
    draw = np.random.default_rng(5)
    dues = np.arange(200)
    false = sum(drift(draw.uniform(20, 1020, 200), dues) != 0 for _ in range(5000))
    false += sum(drift(20 + draw.lognormal(0, 1, 200), dues) != 0 for _ in range(5000))
    assert false <= 1


def test_a_real_drift_is_found_and_sized() -> None:
    draw = np.random.default_rng(5)
    latency_ms = 20.5 + draw.normal(0, 0.3, 200)
    latency_ms[100:] *= 1.4
    assert drift(latency_ms, np.arange(200)) == pytest.approx(0.4, abs=0.02)
    assert drift(latency_ms[::-1].copy(), np.arange(200)) == pytest.approx(1 / 1.4 - 1, abs=0.02)


@PURE
@given(st.floats(1, 1000), st.integers(LEAST_EVENTS, 300))
def test_what_is_of_no_interest_is_no_drift(level_ms: float, events: int) -> None:
    latency_ms = np.full(events, level_ms)
    latency_ms[events // 2 :] += 0.9 * max(LEAST_SHARE * level_ms, LEAST_MS)
    assert drift(latency_ms, np.arange(events)) == 0


def test_deliveries_of_one_event_are_one_observation() -> None:
    """16 probes that agree do not make 30 events, too few for such an overlap, into 480."""
    dues = np.repeat(np.arange(30), 16)
    latency_ms = np.where(dues % 3 == 0, 20.0, 25.0) + np.where(dues < 15, 0.0, 4.0)
    assert drift(latency_ms, dues) == 0 and abs(rank_z(latency_ms[dues < 15], latency_ms[dues >= 15])) > Z


@pytest.mark.parametrize("events", range(2, 40))
def test_drift_is_judged_only_where_it_could_be_found(events: int) -> None:
    latency_ms = np.where(np.arange(events) < events // 2, 20.0, 200.0) + np.arange(events) / 1000
    found = drift(latency_ms, np.arange(events))
    assert found is None if events < LEAST_EVENTS else found == pytest.approx(9, abs=0.1)


SAMPLES = st.lists(st.integers(0, 50), min_size=5, max_size=40)


@PURE
@given(SAMPLES, SAMPLES)
def test_the_rank_score_is_the_definition(a: list[int], b: list[int]) -> None:
    u = sum((y > x) + (y == x) / 2 for x in a for y in b)
    n, m = len(a), len(b)
    expected = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    assert rank_z(np.array(a, float), np.array(b, float)) == pytest.approx(expected, abs=1e-9)


VALUES = st.one_of(st.none(), st.floats(0, 20))


@PURE
@given(st.fixed_dictionaries(dict.fromkeys(LIMITS, VALUES)))
def test_the_host_is_as_good_as_its_worst_figure(values: dict[str, float | None]) -> None:
    order = [QUIET, NOISY, UNFIT]
    alone = [Host(**{**dict.fromkeys(LIMITS), name: value}).word() for name, value in values.items()]
    assert Host(**values).word() == max(alone, key=order.index)


def test_the_sentence_has_the_figures_that_decide() -> None:
    results = fake_results()
    sentence = quiet_sentence([results])
    assert QUIET in sentence or NOISY in sentence
    assert "did not count" in sentence and "medians repeat within" in sentence
    for trial in results.trials:
        trial.metrics["other_load_share"] = 0.4
    assert UNFIT in quiet_sentence([results])
    assert "40.0 % of the CPU was used by other processes" in quiet_sentence([results])


def test_without_anything_measured_there_is_still_a_sentence() -> None:
    results = fake_results()
    results.trials = []
    assert "nothing was measured" in quiet_sentence([results])


def test_an_incomplete_ramp_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.trial.conduct.GENERATOR_TIMEOUT_S", 0.05)

    async def silent_generator() -> None:
        async with GeneratorChannel(tmp_path / "channel") as channel:
            _, writer = await asyncio.open_unix_connection(tmp_path / "channel")
            nobody = cast(Any, None)
            processes = TrialProcesses(nobody, nobody, nobody, channel, LoadSpec("sse"), "", IdleCpu(0.0, 0))
            try:
                await await_ramp(processes)
            finally:
                writer.close()

    with pytest.raises(TrialError, match="incomplete ramp: not all of 1 subscribers connected; the generator did not"):
        asyncio.run(silent_generator())


def test_the_generators_collector_must_not_have_run_at_all() -> None:
    name = "generator_gc_pause_ms_max"
    assert BOUNDS[name].limit == 0.0
    (said,) = reasons({name: 0.25}, 0)
    assert said == "the generator was the bottleneck: its garbage collector ran for 0.25 ms, allowed 0.00"
    counts = Counts(expected=1, delivered=1, lost=0, duplicate=0, out_of_order=0, gaps=0, reconnects=0)
    for closed_loop in (False, True):
        assert cost_reasons({name: 0.25}, counts, closed_loop) == [said]
        assert cost_reasons({name: 0.0}, counts, closed_loop) == []
    assert saturation_reasons({name: 0.25, "generator_cpu_share": 0.95}) == [said]


BUSY = {"server_cpu_share": 0.96, "generator_cpu_share": 0.97}


def test_what_makes_a_cost_untrue_is_said() -> None:
    """A poller that is busy asks less often: its cost counts all the same."""
    counts = Counts(expected=9, delivered=9, lost=0, duplicate=0, out_of_order=0, gaps=0, reconnects=0)
    assert cost_reasons(BUSY, counts, closed_loop=True) == []
    assert cost_reasons(BUSY, counts, closed_loop=False) == [
        "the server was saturated, and merges work then: 96% of a core, allowed 95%",
        "the generator was saturated and fell behind: 97% of a core, allowed 95%",
    ]
    for lost, broken in ((2, 0), (0, 3), (2, 3)):
        found = msgspec.structs.replace(counts, lost=lost, reconnects=broken)
        said = f"{lost} deliveries were lost, {broken} connections broke"
        assert cost_reasons({}, found, closed_loop=True) == cost_reasons({}, found, closed_loop=False) == [said]


def test_a_generator_shows_the_most_that_it_can_only_if_it_is_what_is_saturated() -> None:
    assert saturation_reasons({"generator_cpu_share": 0.9}) == []
    assert saturation_reasons(BUSY) == ["the server was saturated, and merges work then: 96% of a core, allowed 95%"]
    assert saturation_reasons({"generator_cpu_share": 0.89}) == [
        "the generator was not saturated: it used 89% of a core"
    ]


@pytest.mark.parametrize(("received", "is_cut"), [(94, True), (95, False), (100, False), (105, False), (106, True)])
def test_an_edge_may_cut_a_twentieth_of_the_deliveries(received: int, is_cut: bool) -> None:
    said = f"{received} deliveries came within the measured part, 100 of it were due: an edge cut them"
    assert cut_reasons(received, 100) == ([said] if is_cut else [])


@pytest.mark.parametrize(
    ("collector", "found"),
    [
        ({"enabled": False, "frozen_objects": 9}, "off"),
        ({"enabled": True, "frozen_objects": 9}, "tuned"),
        ({"enabled": True, "frozen_objects": 0}, "default"),
    ],
)
@pytest.mark.parametrize("asked", ["default", "tuned"])
def test_the_servers_collector_is_as_asked_for(collector: dict[str, object], found: str, asked: str) -> None:
    said = f"the server's garbage collector was {found}, planned {asked}"
    assert collector_reasons(asked, collector) == ([] if found == asked else [said])


def test_an_event_counts_by_the_mean_of_its_deliveries() -> None:
    """The second half's events took 20 ms to one probe and 40 to another: 30 on average, like the first half's."""
    dues = np.repeat(np.arange(60), 2)
    latency_ms = np.where(dues < 30, 30.0, np.tile([20.0, 40.0], 60)) + dues / 1000
    assert drift(latency_ms, dues) == 0
    assert drift(latency_ms + np.where(dues < 30, 0, 6), dues) == pytest.approx((36 + 0.0445) / (30 + 0.0145) - 1)


def test_a_drift_is_of_interest_and_sure_from_the_bounds_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 ms, a tenth and 1 ms are the same; and the score of halves that do not overlap is the one asked for."""
    latency_ms, dues = np.repeat([10.0, 11.0], 30), np.arange(60)
    assert drift(latency_ms, dues) == pytest.approx(0.1)
    monkeypatch.setattr(drift_module, "Z", abs(rank_z(latency_ms[:30], latency_ms[30:])))
    assert drift(latency_ms, dues) == pytest.approx(0.1)


def test_the_deliveries_of_an_event_count_by_their_mean() -> None:
    """Two of each, 0.3 ms later in the second half: of interest as a share, and not in ms."""
    due_ns = np.repeat(np.arange(40), 2)
    later = np.where(due_ns < 20, 1.0, 1.3)
    assert drift(later, due_ns) == 0.0
    assert drift(later * 10, due_ns) == pytest.approx(0.3)
