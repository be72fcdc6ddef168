"""Comparisons seen from either side, of differences too, and runs that have no block in common."""

import math

import pytest

from reports.samples import Moments, Paired, Unpaired
from reports.statistics import MARGINS, Comparison, compare, compare_runs

CPU = MARGINS["cpu"]
A = {1: 0.0, 2: 4.0, 3: 5.0, 4: 3.0, 5: 4.0}
B = {1: 9.0, 2: 13.0, 3: 11.0, 4: 12.0, 5: 15.0}


def of(a: dict[int, float], b: dict[int, float]) -> Comparison:
    (found,) = compare({"a": a, "b": b}, CPU)
    return found


def test_a_difference_turned_has_the_other_sign_and_its_ends_change_places() -> None:
    """A zero among the values: no ratio."""
    found = of(A, B)
    assert not found.is_ratio and found.factor == pytest.approx(-8.8)
    assert found.low is not None and found.high is not None and found.low < found.factor < found.high < 0
    turned = found.turned()
    assert (turned.a, turned.b, turned.factor) == ("b", "a", pytest.approx(8.8))
    assert (turned.low, turned.high) == (pytest.approx(-found.high), pytest.approx(-found.low))
    assert turned.pair is found.pair and turned.verdict is found.verdict
    assert found.larger() == turned and turned.larger() is turned


def test_a_small_difference_above_zero_is_not_turned() -> None:
    """Half a unit: below the 1 from which a ratio says more."""
    found = of({block: value + 0.5 for block, value in A.items()}, A)
    assert found.factor == pytest.approx(0.5) and found.larger() is found
    same = of(A, dict(A))
    assert same.factor == 0 and same.larger() is same


def test_a_single_block_has_no_interval_from_either_side() -> None:
    for values in ({1: 0.0}, {1: 3.0}):
        turned = of(values, {1: 9.0}).turned()
        assert (turned.low, turned.high) == (None, None)


def test_runs_without_a_common_block_are_independent_and_both_can_be_measured_again() -> None:
    later = {block + 5: value for block, value in B.items()}
    for paired in (True, False):
        found = compare_runs({"x": (A, later)}, CPU, paired=paired)["x"]
        assert isinstance(found.pair, Unpaired) and not found.pair.b_stays
    assert isinstance(compare_runs({"x": (A, B)}, CPU, paired=True)["x"].pair, Paired)


def test_a_planned_run_has_a_degree_of_freedom_less_than_blocks() -> None:
    pair = Paired([1.0, 2.0, 4.0, 3.0, 2.5], 0.0)
    now = pair.moments()
    assert pair.planned(20) == Moments(now.mean, now.error * math.sqrt(5 / 20), 19)
