"""Averages, comparisons and verdicts over blocks (docs/method.md, Statistics). Pure: no files, no results schema.

The unit of analysis is the block, never the message: 200 receivers of one event are one observation. Every function
takes one number per block.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import msgspec
import numpy as np

ALPHA: Final = 0.05
MAX_MORE_BLOCKS: Final = 1000
"""No verdict suggests more additional blocks than this: a pair that needs more is not worth settling."""

DIFFERS: Final = "differs"
EQUAL: Final = "no practical difference"
OPEN: Final = "not settled"
BETTER: Final = "better"
WORSE: Final = "worse"

MAX_EXPONENT: Final = 700.0
"""exp() of more overflows a float; two blocks that disagree wildly can give an interval that wide."""


def _exp(x: float) -> float:
    return math.exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, x)))


class Margin(msgspec.Struct, frozen=True):
    """The largest difference of no practical interest: the larger of ``relative`` (share) and ``absolute`` (the
    metric's unit)."""

    relative: float
    absolute: float = 0.0

    def in_logs(self, level: float) -> float:
        """The margin of ln(A/B) for a pair whose geometric mean is ``level``."""
        return math.log1p(max(self.relative, self.absolute / level))

    def in_units(self, level: float) -> float:
        """The margin of A - B, in the metric's unit, for a pair whose arithmetic mean is ``level``."""
        return max(self.relative * abs(level), self.absolute)


MARGINS: Final[dict[str, Margin]] = {
    "latency": Margin(0.05, absolute=0.5),  # ms
    "bytes": Margin(0.02),
    "cpu": Margin(0.10),
}
"""Margins by the name that ``bench.results.catalogue.METRICS`` refers to. They were set before the first full run."""


class Moments(msgspec.Struct, frozen=True):
    """Mean, standard error of the mean (nan for fewer than two values) and number of values."""

    mean: float
    error: float
    n: float
    """Values; for a difference of two means, one more than Welch's degrees of freedom."""

    def half_width(self, alpha: float) -> float:
        """Half the width of the two-sided (1 - alpha) t interval; nan for fewer than two values."""
        from scipy.special import stdtrit  # takes longer to load than all that needs no statistics, such as --help

        return self.error * float(stdtrit(self.n - 1, 1 - alpha / 2)) if self.n > 1 else math.nan

    def tail(self, distance: float) -> float:
        """Two-sided level at which the t interval ends ``distance`` from the mean; over 1 if that is negative."""
        if self.n < 2:
            return math.inf
        if self.error == 0:
            return 0.0 if distance > 0 else math.inf
        from scipy.special import stdtr  # as above

        return 2 * float(stdtr(self.n - 1, -distance / self.error))


def moments(values: Sequence[float]) -> Moments:
    """Mean, standard error and number of the values. Raises ``ValueError`` if there are none."""
    if not values:
        raise ValueError("no values to average")
    array = np.asarray(values, dtype=float)
    n = len(array)
    error = float(array.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Moments(float(array.mean()), error, n)


class Estimate(msgspec.Struct, frozen=True):
    """An average over blocks with its interval, in the metric's unit.

    ``low`` and ``high`` are ``None`` for a single block: one observation says nothing about its own error.
    """

    value: float
    low: float | None
    high: float | None
    blocks: int


def estimate(values: Sequence[float], alpha: float = ALPHA, *, arithmetic: bool = False) -> Estimate:
    """Geometric mean with its (1 - alpha) t interval, both computed from ln(x), because ratios are compared.

    Values of which one is zero or below have no logarithms; they get the arithmetic mean and its t interval, and so
    do differences (``arithmetic``), which have a sign. Raises ``ValueError`` if there are no values.
    """
    positive = not arithmetic and all(value > 0 for value in values)
    of = moments([math.log(value) for value in values] if positive else values)
    half = of.half_width(alpha)
    back = _exp if positive else float
    if of.n < 2:
        return Estimate(back(of.mean), None, None, len(values))
    return Estimate(back(of.mean), back(of.mean - half), back(of.mean + half), len(values))


class Paired(msgspec.Struct, frozen=True):
    """A pair measured in the same blocks: each block's difference, and the margin on the same scale (0 or above)."""

    differences: Sequence[float]
    margin: float

    def moments(self) -> Moments:
        return moments(self.differences)

    @property
    def blocks(self) -> int:
        return len(self.differences)


class Unpaired(msgspec.Struct, frozen=True):
    """A pair of independent samples, and the margin on the same scale."""

    a: Sequence[float]
    b: Sequence[float]
    margin: float

    def moments(self) -> Moments:
        """The difference of the two means, with Welch's degrees of freedom (Biometrika 34:28-35, 1947)."""
        of_a, of_b = moments(self.a), moments(self.b)
        if min(of_a.n, of_b.n) < 2:
            return Moments(of_a.mean - of_b.mean, math.nan, 1)
        squares = of_a.error**2, of_b.error**2
        parts = squares[0] ** 2 / (of_a.n - 1) + squares[1] ** 2 / (of_b.n - 1)
        freedom = sum(squares) ** 2 / parts if parts else of_a.n + of_b.n - 2
        return Moments(of_a.mean - of_b.mean, math.sqrt(sum(squares)), freedom + 1)

    @property
    def blocks(self) -> int:
        return min(len(self.a), len(self.b))


class Verdict(msgspec.Struct, frozen=True):
    """The verdict on one pair, corrected for all pairs that are judged together.

    ``low`` and ``high`` are the t interval of the mean difference at the level ``1 - alpha`` that Holm's procedure
    gave this pair; ``None`` with fewer than two blocks. ``more_blocks`` estimates how many more blocks settle the
    pair if mean and spread stay as they are; ``None`` if it is settled, or if that cannot be estimated.
    """

    word: str
    mean: float
    low: float | None
    high: float | None
    alpha: float
    blocks: int
    more_blocks: int | None


def holm(levels: Sequence[float], alpha: float) -> list[tuple[float, bool]]:
    """Holm's step-down procedure: for each p value the level it is compared with, and whether it is rejected.

    The smallest of k p values is compared with alpha / k, the next with alpha / (k - 1), and so on. The first that
    exceeds its level ends the procedure: all larger ones fail at that same level. The chance of one or more false
    rejections is at most alpha, however the p values depend on each other (Holm, Scand. J. Statist. 6:65-70, 1979).
    """
    held: list[tuple[float, bool]] = [(alpha, False)] * len(levels)
    passed = 0
    for rank, place in enumerate(sorted(range(len(levels)), key=levels.__getitem__)):
        level = alpha / (len(levels) - passed)
        passes = passed == rank and levels[place] <= level
        passed += passes
        held[place] = (level, passes)
    return held


def verdicts(pairs: Sequence[Paired | Unpaired], alpha: float = ALPHA) -> list[Verdict]:
    """Judge all pairs of one metric together: does the interval lie outside the margin, inside it, or across?

    Every pair gets two tests, and Holm's procedure corrects each of them over all pairs:

    - *differs*: the null hypothesis |mean| <= margin is rejected at level a when the (1 - a) t interval lies wholly
      outside the margin;
    - *no practical difference*: |mean| >= margin is rejected when the interval lies wholly inside (two one-sided
      tests at a / 2 each: Schuirmann, J. Pharmacokinet. Biopharm. 15:657-680, 1987).

    Each test gives the pair a step-down adjusted level. The verdict shows the interval at the level of the test that
    decided it; a pair that is not settled shows the wider of its two. The chance of any false *differs* among the
    pairs is at most ``alpha``, and so is that of any false *no practical difference*. Nothing more is guaranteed: the
    intervals do not all hold together with 1 - alpha (Strassburger and Bretz, Stat. Med. 27:4914, 2008).
    With a margin of 0, *differs* is the plain two-sided t test.
    """
    of = [pair.moments() for pair in pairs]
    outside = [m.tail(abs(m.mean) - pair.margin) for m, pair in zip(of, pairs, strict=True)]
    inside = [_inside(m, pair.margin) for m, pair in zip(of, pairs, strict=True)]
    held = zip(of, pairs, holm(outside, alpha), holm(inside, alpha), strict=True)
    return [_verdict(m, pair, differs, equal) for m, pair, differs, equal in held]


def _inside(of: Moments, margin: float) -> float:
    """Level at which the interval touches the margin from inside; 0 if all blocks are equal and within the margin."""
    if of.n > 1 and of.error == 0 and abs(of.mean) <= margin:
        return 0.0
    return of.tail(margin - abs(of.mean))


def _verdict(of: Moments, pair: Paired | Unpaired, differs: tuple[float, bool], equal: tuple[float, bool]) -> Verdict:
    if differs[1]:
        word, alpha = DIFFERS, differs[0]
    elif equal[1]:
        word, alpha = EQUAL, equal[0]
    else:
        word, alpha = OPEN, min(differs[0], equal[0])
    if of.n < 2:
        return Verdict(word, of.mean, None, None, alpha, pair.blocks, None)
    half = of.half_width(alpha)
    more = more_blocks(of, pair.margin, alpha) if word == OPEN else None
    return Verdict(word, of.mean, of.mean - half, of.mean + half, alpha, pair.blocks, more)


def more_blocks(of: Moments, margin: float, alpha: float) -> int | None:
    """How many more blocks settle a pair whose mean and spread stay as they are; ``None``: over ``MAX_MORE_BLOCKS``."""
    gap = abs(abs(of.mean) - margin)
    deviation = of.error * math.sqrt(of.n)

    def settles(total: float) -> bool:
        return Moments(of.mean, deviation / math.sqrt(total), total).half_width(alpha) < gap

    extra = range(1, MAX_MORE_BLOCKS + 1)
    place = bisect_left(extra, True, key=lambda more: settles(of.n + more))  # the interval only gets narrower
    return extra[place] if place < len(extra) else None


class Comparison(msgspec.Struct, frozen=True):
    """A against B on one metric.

    ``factor``, ``low`` and ``high`` are A/B and its interval; with ``is_ratio`` false (a zero among the values) they
    are A - B in the metric's unit. Fewer than two blocks that have both give no interval.
    """

    a: str
    b: str
    factor: float
    low: float | None
    high: float | None
    is_ratio: bool
    verdict: Verdict

    @property
    def a_is_more(self) -> bool:
        """Is A above B? ``factor`` decides: ``turned`` leaves the verdict, and so its mean, as it is."""
        return self.factor > (1 if self.is_ratio else 0)

    @property
    def word(self) -> str:
        """The verdict as a reader needs it: A is *better* or *worse* than B where the two differ.

        Less is better in every metric that is compared: latency, bytes, requests and CPU are all costs.
        """
        if self.verdict.word != DIFFERS:
            return self.verdict.word
        return WORSE if self.a_is_more else BETTER

    def turned(self) -> "Comparison":
        """The same comparison, B against A."""
        if self.is_ratio:
            return self._swapped(1 / self.factor, [1 / x for x in self._ends()])
        return self._swapped(-self.factor, [-x for x in self._ends()])

    def _ends(self) -> list[float]:
        return [] if self.low is None or self.high is None else [self.low, self.high]

    def _swapped(self, factor: float, ends: list[float]) -> "Comparison":
        high, low = ends or (None, None)
        return Comparison(self.b, self.a, factor, low, high, self.is_ratio, self.verdict)


def compare(values: Mapping[str, Mapping[int, float]], margin: Margin) -> list[Comparison]:
    """Judge every pair of names on one metric. ``values``: name -> block -> value.

    Values are paired by block, because a block's trials share seed and time. A pair uses only the blocks that have
    both of its values; a pair without such a block is left out.
    """
    shared = [(a, b, sorted(values[a].keys() & values[b].keys())) for a, b in combinations(values, 2)]
    matched = [
        (a, b, [values[a][block] for block in blocks], [values[b][block] for block in blocks])
        for a, b, blocks in shared
        if blocks
    ]
    judged = [_paired(of_a, of_b, margin) for _, _, of_a, of_b in matched]
    found = verdicts([pair for pair, _ in judged])
    return [
        _comparison(a, b, is_ratio, verdict)
        for (a, b, _, _), (_, is_ratio), verdict in zip(matched, judged, found, strict=True)
    ]


def compare_runs(
    values: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]], margin: Margin, *, paired: bool
) -> dict[str, Comparison]:
    """Judge A / B of one metric for several transports together. ``values``: name -> A's values and B's, by block.

    ``paired``: the same block had the same schedule in both; otherwise the samples are independent.
    """
    judged: dict[str, tuple[Paired | Unpaired, bool]] = {}
    for name, (in_a, in_b) in values.items():
        shared = sorted(in_a.keys() & in_b.keys())
        if paired and shared:
            judged[name] = _paired([in_a[block] for block in shared], [in_b[block] for block in shared], margin)
        else:
            judged[name] = _unpaired(list(in_a.values()), list(in_b.values()), margin)
    found = verdicts([pair for pair, _ in judged.values()])
    return {
        name: _comparison("A", "B", is_ratio, verdict)
        for (name, (_, is_ratio)), verdict in zip(judged.items(), found, strict=True)
    }


def _unpaired(of_a: Sequence[float], of_b: Sequence[float], margin: Margin) -> tuple[Unpaired, bool]:
    if min(*of_a, *of_b) <= 0:
        return Unpaired(of_a, of_b, margin.in_units((moments(of_a).mean + moments(of_b).mean) / 2)), False
    log_a, log_b = [math.log(a) for a in of_a], [math.log(b) for b in of_b]
    level = math.exp((moments(log_a).mean + moments(log_b).mean) / 2)
    return Unpaired(log_a, log_b, margin.in_logs(level)), True


def _paired(of_a: Sequence[float], of_b: Sequence[float], margin: Margin) -> tuple[Paired, bool]:
    """Differences of logarithms (``True``) where all values are above 0, else plain differences (``False``)."""
    if min(*of_a, *of_b) <= 0:
        level = (moments(of_a).mean + moments(of_b).mean) / 2
        return Paired([a - b for a, b in zip(of_a, of_b, strict=True)], margin.in_units(level)), False
    log_a, log_b = [math.log(a) for a in of_a], [math.log(b) for b in of_b]
    level = math.exp((moments(log_a).mean + moments(log_b).mean) / 2)
    return Paired([a - b for a, b in zip(log_a, log_b, strict=True)], margin.in_logs(level)), True


def _comparison(a: str, b: str, is_ratio: bool, verdict: Verdict) -> Comparison:
    back = _exp if is_ratio else float
    low, high = (None if end is None else back(end) for end in (verdict.low, verdict.high))
    return Comparison(a, b, back(verdict.mean), low, high, is_ratio, verdict)
