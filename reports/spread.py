"""An average over several runs, with the spread within them and the spread between them. Pure (docs/method.md, Cost).

The blocks of a run share an hour, a host and its processor, so that their scatter does not say where the next run
lies. For that the unit is the run: each counts once, whatever its number of blocks.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

import msgspec

from reports.samples import Moments, moments
from reports.statistics import ALPHA, Estimate, bounded_exp

LEAST_RUNS: Final = 3
"""Runs from which an interval between runs is formed: two leave one degree of freedom, and an interval of any width."""


class Spread(msgspec.Struct, frozen=True):
    """One quantity over several runs: each run's mean, and their mean with both intervals.

    ``within`` has the interval that the scatter over blocks within the runs gives; none if no run has two blocks.
    ``between`` has the wider one of that and the t interval over the runs' means, which is exact where each run is off
    by an amount of its own (a random effect), however large; none with fewer than ``LEAST_RUNS``.
    """

    means: list[float]
    within: Estimate
    between: Estimate


def over_runs(runs: Sequence[Sequence[float]], alpha: float = ALPHA) -> Spread:
    """The spread of a quantity. ``runs``: each run's values by block, none of them empty.

    Means are geometric, and intervals those of ln(x), unless a value is zero or below, as in ``estimate``. Raises
    ``ValueError`` without a run, or for a run without values.
    """
    if not runs or not all(runs):
        raise ValueError("a run has no values to average")
    positive = all(value > 0 for run in runs for value in run)
    scale = [[math.log(value) for value in run] if positive else list(run) for run in runs]
    means = [fmean(run) for run in scale]
    mean, blocks = fmean(means), sum(map(len, runs))
    within = _half_within(scale, means, alpha)
    between = moments(means).half_width(alpha) if len(runs) >= LEAST_RUNS else None
    back = bounded_exp if positive else float

    def interval(half: float | None) -> Estimate:
        if half is None:
            return Estimate(back(mean), None, None, blocks)
        return Estimate(back(mean), back(mean - half), back(mean + half), blocks)

    widest = None if between is None else max(between, within or 0.0)
    return Spread([back(of) for of in means], interval(within), interval(widest))


def _half_within(runs: Sequence[Sequence[float]], means: Sequence[float], alpha: float) -> float | None:
    """Half the interval of the mean of means, by the scatter of blocks around their run's mean, pooled over runs."""
    freedom = sum(len(run) - 1 for run in runs)
    if not freedom:
        return None
    squares = sum((value - mean) ** 2 for run, mean in zip(runs, means, strict=True) for value in run)
    error = math.sqrt(squares / freedom * sum(1 / len(run) for run in runs)) / len(runs)
    return Moments(fmean(means), error, freedom).half_width(alpha)
