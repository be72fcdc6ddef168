"""The statistics of the report: intervals, Holm's procedure, verdicts."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from reports.samples import Paired, Unpaired
from reports.statistics import (
    ALPHA,
    DECIDING_BLOCKS,
    DIFFERS,
    EQUAL,
    FEW,
    MARGINS,
    MIN_BLOCKS,
    OPEN,
    PLANNED_ODDS,
    Margin,
    Verdict,
    compare,
    estimate,
    holm,
    new_run_blocks,
    verdicts,
)

POSITIVE = st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=12)
LEVELS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(POSITIVE)
def test_interval_is_scipys_t_interval_of_the_logarithms(values: list[float]) -> None:
    logs = np.log(values)
    assume(float(logs.std(ddof=1)) > 1e-9)
    low, high = stats.t.interval(0.95, len(logs) - 1, loc=logs.mean(), scale=stats.sem(logs))
    assume(abs(low) < 600 and abs(high) < 600)
    found = estimate(values)
    assert found.low is not None and found.high is not None
    assert math.log(found.low) == pytest.approx(low, rel=1e-9, abs=1e-9)
    assert math.log(found.high) == pytest.approx(high, rel=1e-9, abs=1e-9)


@given(POSITIVE, st.floats(1e-3, 1e3))
def test_another_unit_changes_nothing_but_the_scale(values: list[float], scale: float) -> None:
    plain, scaled = estimate(values), estimate([scale * value for value in values])
    assert scaled.value == pytest.approx(scale * plain.value)
    assert plain.low is not None and scaled.low is not None
    assume(plain.low > 1e-200)
    assert scaled.low == pytest.approx(scale * plain.low, rel=1e-6)


def test_zeros_have_no_logarithm_so_the_arithmetic_mean_is_taken() -> None:
    found = estimate([0.0, 1.0, 2.0])
    low, high = stats.t.interval(0.95, 2, loc=1.0, scale=stats.sem([0.0, 1.0, 2.0]))
    assert [found.value, found.low, found.high] == pytest.approx([1.0, low, high])


def test_one_block_has_no_interval_and_none_has_no_average() -> None:
    assert estimate([3.0]).low is None
    assert estimate([3.0]).value == pytest.approx(3.0)
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@given(LEVELS)
def test_holm_passes_the_smallest_and_lies_between_bonferroni_and_none(levels: list[float]) -> None:
    held = holm(levels, ALPHA)
    passed = [p for p, (_, passes) in zip(levels, held, strict=True) if passes]
    failed = [p for p, (_, passes) in zip(levels, held, strict=True) if not passes]
    assert all(a <= b for a in passed for b in failed)
    for p, (level, passes) in zip(levels, held, strict=True):
        assert ALPHA / len(levels) <= level <= ALPHA
        assert passes == (p <= level)
        assert passes or p > ALPHA / len(levels)


@given(LEVELS, st.data())
def test_holm_never_passes_less_when_a_level_gets_smaller(levels: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(levels) - 1))
    smaller = [*levels]
    smaller[place] = data.draw(st.floats(0, levels[place]))
    before, after = (sum(passes for _, passes in holm(of, ALPHA)) for of in (levels, smaller))
    assert after >= before


def test_holm_by_hand() -> None:
    held = holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert [passes for _, passes in held] == [True, False, False, True]
    assert [level for level, _ in held] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


def _one(differences: Sequence[float], margin: float) -> Verdict:
    return verdicts([Paired(differences, margin)])[0]


def test_verdict_reads_the_interval_against_the_margin() -> None:
    assert _one([0.20, 0.21, 0.19, 0.20, 0.20], 0.05).word == DIFFERS
    assert _one([-0.20, -0.21, -0.19, -0.20, -0.20], 0.05).word == DIFFERS
    assert _one([0.00, 0.01, -0.01, 0.00, 0.00], 0.05).word == EQUAL
    across = _one([0.02, 0.08, 0.05, 0.04, 0.05], 0.05)
    assert across.word == OPEN
    assert across.low is not None and across.high is not None
    assert across.low < 0.05 < across.high


@given(st.lists(st.lists(st.floats(-1, 1), min_size=5, max_size=8), min_size=1, max_size=6), st.floats(0, 0.3))
def test_every_word_is_what_its_own_interval_says(samples: list[list[float]], margin: float) -> None:
    assume(all(float(np.std(sample)) > 1e-6 for sample in samples))
    for found in verdicts([Paired(sample, margin) for sample in samples]):
        assert found.low is not None and found.high is not None
        outside = found.low > margin or found.high < -margin
        inside = -margin < found.low and found.high < margin
        near = min(abs(abs(end) - margin) for end in (found.low, found.high)) < 1e-9
        assert near or found.word == (DIFFERS if outside else EQUAL if inside else OPEN)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=8))
def test_turning_a_pair_round_turns_its_interval(differences: list[float]) -> None:
    there, back = _one(differences, 0.05), _one([-x for x in differences], 0.05)
    assert there.word == back.word
    assert there.low is not None and back.high is not None
    assert there.low == pytest.approx(-back.high)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_fewer_than_five_blocks_give_no_verdict_however_clear(blocks: int) -> None:
    found = _one([5.0] * blocks, 0.05)
    assert (found.word, found.new_run_blocks) == ("no verdict: fewer than 5 valid blocks", None)
    assert (found.low is None) is (blocks == 1)
    assert _one([5.0] * 5, 0.05).word == DIFFERS and MIN_BLOCKS == 5


def test_a_pair_without_a_verdict_does_not_count_in_the_correction() -> None:
    few, clear = verdicts([Paired([0.0, 0.1], 0.05), Paired([0.2, 0.21, 0.19, 0.2, 0.2], 0.05)])
    assert (few.word, clear.word, clear.alpha) == (FEW, DIFFERS, ALPHA)


def test_the_same_in_every_block_is_no_practical_difference() -> None:
    assert _one([0.0] * 5, 0.0).word == EQUAL
    assert _one([0.3] * 5, 0.05).word == DIFFERS


def test_a_new_run_of_so_many_blocks_settles_the_pair_by_itself() -> None:
    pair = Paired([-0.05, 0.15, 0.03, 0.07, 0.05], 0.1)
    of, blocks = pair.moments(), new_run_blocks(pair, ALPHA)
    assert blocks is not None and blocks > 10

    def reach(n: int) -> float:
        odds = 1 - ALPHA / 2, PLANNED_ODDS
        return sum(float(stats.t.ppf(share, n - 1)) for share in odds) * of.error * math.sqrt(5 / n)

    gap = 0.1 - of.mean
    assert reach(blocks) < gap <= reach(blocks - 1)
    assert new_run_blocks(Paired([0.0, 0.1, 0.0, 0.1, 0.05], 0.05), ALPHA) is None, "on the margin"
    assert new_run_blocks(Paired([0.04, 0.05, 0.045, 0.046, 0.044], 0.1), ALPHA) == DECIDING_BLOCKS == 10
    assert new_run_blocks(Paired([*pair.differences] * 2, 0.1), ALPHA) is None, "it was large enough to decide"


def test_blocks_of_independent_runs_are_counted_in_each_run() -> None:
    """Not as degrees of freedom, of which two runs of n blocks have up to 2n - 2."""
    spread = [-0.05, -0.025, 0.0, 0.025, 0.05]
    unpaired = Unpaired([0.05 + x for x in spread], spread, 0.1)
    assert unpaired.planned(5) == unpaired.moments()
    blocks = new_run_blocks(unpaired, ALPHA)
    assert blocks is not None

    def reach(n: int) -> float:
        error = math.sqrt(2 * np.var(spread, ddof=1) / n)
        return error * sum(float(stats.t.ppf(share, 2 * n - 2)) for share in (1 - ALPHA / 2, PLANNED_ODDS))

    assert reach(blocks) < 0.05 <= reach(blocks - 1)
    alone = new_run_blocks(Unpaired(unpaired.a, unpaired.b, 0.15, b_stays=True), ALPHA)
    both = new_run_blocks(Unpaired(unpaired.a, unpaired.b, 0.15), ALPHA)
    assert alone is not None and both is not None and alone >= both, "the published run stays as it is"
    assert unpaired.planned(10**6).error < 1e-3 < Unpaired(unpaired.a, spread, 0.1, b_stays=True).planned(10**6).error


def _share_of_false(
    word: str, draw: Callable[[np.random.Generator], list[list[float]]], margin: float, experiments: int = 1500
) -> float:
    """Share of simulated experiments in which at least one of the pairs got ``word``."""
    generator = np.random.default_rng(20260101)
    false = sum(
        any(found.word == word for found in verdicts([Paired(pair, margin) for pair in draw(generator)]))
        for _ in range(experiments)
    )
    return false / experiments


def test_same_against_same_differs_in_about_one_of_twenty() -> None:
    """One pair, no margin: the nominal level. 1500 experiments: standard error 0.6 %."""
    assert 0.03 < _share_of_false(DIFFERS, lambda g: [g.normal(0, 0.05, 5).tolist()], 0.0) < 0.07


@pytest.mark.slow
def test_over_all_pairs_of_five_alike_false_differences_stay_below_the_level() -> None:
    def pairs(generator: np.random.Generator) -> list[list[float]]:
        levels = generator.normal(0, 0.05, (5, 5))
        return [(levels[a] - levels[b]).tolist() for a in range(5) for b in range(a + 1, 5)]

    assert _share_of_false(DIFFERS, pairs, 0.0, 600) < 0.06
    assert _share_of_false(DIFFERS, pairs, 0.05, 600) < 0.01


@pytest.mark.slow
def test_at_the_margins_edge_neither_word_comes_too_often() -> None:
    def pairs(generator: np.random.Generator) -> list[list[float]]:
        return [generator.normal(0.05, 0.02, 5).tolist() for _ in range(4)]

    assert _share_of_false(DIFFERS, pairs, 0.05) < 0.04
    assert _share_of_false(EQUAL, pairs, 0.05) < 0.04


def test_a_difference_of_a_fifth_is_found() -> None:
    def pair(generator: np.random.Generator) -> list[list[float]]:
        return [generator.normal(math.log(1.2), 0.03, 5).tolist()]

    assert _share_of_false(DIFFERS, pair, math.log1p(0.05)) > 0.95


def test_the_latency_margin_is_the_larger_of_share_and_half_a_millisecond() -> None:
    margin = MARGINS["latency"]
    assert margin.in_logs(2.0) == pytest.approx(math.log(1.25))
    assert margin.in_logs(10.0) == pytest.approx(math.log(1.05))
    assert margin.in_logs(500.0) == pytest.approx(math.log(1.05))
    assert margin.in_units(2.0) == 0.5
    assert margin.in_units(500.0) == 25.0
    assert MARGINS["bytes"].in_logs(1000.0) == pytest.approx(math.log(1.02))
    assert MARGINS["cpu"].in_logs(1000.0) == pytest.approx(math.log(1.10))


def test_comparison_pairs_by_block_and_leaves_out_blocks_that_lack_one() -> None:
    both = dict.fromkeys(range(10, 15), 2.0)
    values = {"a": both | {3: 100.0}, "b": dict.fromkeys(both, 1.0) | {4: 7.0}, "c": {9: 1.0}}
    found = compare(values, Margin(0.05))
    assert [(of.a, of.b) for of in found] == [("a", "b")]
    assert found[0].factor == pytest.approx(2.0)
    assert found[0].verdict.blocks == 5
    assert found[0].verdict.word == DIFFERS


def test_comparison_turned_round_is_the_inverse_ratio() -> None:
    found = compare({"a": {1: 2.0, 2: 4.4}, "b": {1: 1.0, 2: 2.0}}, Margin(0.05))[0]
    turned = found.turned()
    assert (turned.a, turned.b) == ("b", "a")
    assert turned.factor == pytest.approx(1 / found.factor)
    assert found.low is not None and turned.high is not None
    assert turned.high == pytest.approx(1 / found.low)
    again = turned.turned()
    assert [again.low, again.high] == pytest.approx([found.low, found.high])


def test_values_with_zeros_are_compared_as_differences() -> None:
    a, b = dict(enumerate([0.0, 0.0, 0.1, 0.0, 0.0])), dict(enumerate([5.0, 5.1, 5.0, 5.0, 5.0]))
    found = compare({"a": a, "b": b}, Margin(0.1))[0]
    assert not found.is_ratio
    assert found.factor == pytest.approx(-5.0)
    assert found.verdict.word == DIFFERS
    assert found.turned().factor == pytest.approx(5.0)


def test_two_blocks_that_disagree_wildly_do_not_overflow() -> None:
    found = compare({"a": {1: 1e-300, 2: 1e300}, "b": {1: 1e300, 2: 1e-300}}, Margin(0.05))[0]
    assert found.low is not None and found.high is not None
    assert 0 < found.low < found.high < math.inf
    assert found.turned().verdict.word == FEW
