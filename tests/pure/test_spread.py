"""The average over runs: its interval is that of the blocks if the runs agree, and wider if they do not."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.spread import over_runs
from reports.statistics import Estimate, estimate

PURE = settings(deadline=None, derandomize=True, database=None)
VALUES = st.lists(st.floats(0.1, 1000), min_size=2, max_size=7)
RUNS = st.lists(VALUES, min_size=3, max_size=6)


def width(of: Estimate) -> float:
    assert of.low is not None and of.high is not None
    return math.log(of.high / of.low)


@PURE
@given(VALUES, st.integers(3, 6))
def test_runs_that_agree_give_the_interval_of_their_blocks(run: list[float], count: int) -> None:
    spread = over_runs([run] * count)
    assert width(spread.between) == pytest.approx(width(spread.within))
    assert spread.between.value == pytest.approx(estimate(run).value)


@PURE
@given(RUNS)
def test_the_interval_between_runs_covers_the_one_within(runs: list[list[float]]) -> None:
    spread = over_runs(runs)
    assert width(spread.between) >= width(spread.within)
    assert width(spread.between) >= width(estimate(spread.means)) * (1 - 1e-9), "the runs' means alone"
    assert min(spread.means) * (1 - 1e-9) <= spread.between.value <= max(spread.means) * (1 + 1e-9)


@PURE
@given(RUNS, st.floats(2, 100))
def test_it_widens_as_one_run_moves_away(runs: list[list[float]], factor: float) -> None:
    """The scatter within stays as it is: a run that is slower in all its blocks can only be seen between runs."""
    means = [math.exp(sum(map(math.log, run)) / len(run)) for run in runs]
    together = [[value / mean for value in run] for run, mean in zip(runs, means, strict=True)]
    apart = [*together[:-1], [value * factor for value in together[-1]]]
    before, after = over_runs(together), over_runs(apart)
    assert width(after.within) == pytest.approx(width(before.within))
    assert width(after.between) >= width(before.between) * (1 - 1e-9)
    assert width(after.between) > 2 * 1.96 * math.log(factor) / len(runs) * (1 - 1e-9), "one run's error is log / n"


def test_three_runs_by_hand() -> None:
    """t with 2 degrees of freedom is 4.303, and the means' standard error 10 / sqrt(3) (values below 0: no logs)."""
    spread = over_runs([[-10.0, -10.0], [0.0, 0.0], [10.0, 10.0]])
    assert spread.means == [-10.0, 0.0, 10.0] and (spread.within.low, spread.within.high) == (0.0, 0.0)
    assert spread.between.high == pytest.approx(4.303 * 10 / math.sqrt(3), rel=1e-3)


def test_each_run_counts_once_whatever_its_number_of_blocks() -> None:
    assert over_runs([[1.0] * 9, [4.0], [16.0]]).between.value == pytest.approx(4.0)


def test_fewer_than_three_runs_have_no_interval_between_them() -> None:
    assert over_runs([[1.0, 2.0], [8.0, 9.0]]).between.low is None
    assert over_runs([[1.0], [2.0], [3.0]]).within.low is None, "single trials do not scatter"
    for bad in ([], [[1.0], []]):
        with pytest.raises(ValueError, match="no values"):
            over_runs(bad)


@pytest.mark.slow
@pytest.mark.parametrize("between", (0.0, 0.1, 0.3))
def test_it_covers_the_truth_whatever_the_runs_differ_by(between: float) -> None:
    """Three runs of five blocks that scatter by 0.1. The interval within covers the truth in 95 % only without a
    difference between runs; the interval between, always."""
    chance, hits = random.Random(1), {"within": 0, "between": 0}
    for _ in range(1500):
        offsets = [chance.gauss(0, between) for _ in range(3)]
        spread = over_runs([[math.exp(chance.gauss(offset, 0.1)) for _ in range(5)] for offset in offsets])
        for name in hits:
            of: Estimate = getattr(spread, name)
            assert of.low is not None and of.high is not None
            hits[name] += of.low <= 1 <= of.high
    assert hits["between"] >= 0.94 * 1500
    assert (hits["within"] >= 0.94 * 1500) == (between == 0.0)
