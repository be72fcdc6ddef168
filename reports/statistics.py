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

from reports.samples import Moments, Paired, Unpaired, moments

ALPHA: Final = 0.05
MIN_BLOCKS: Final = 5
"""Fewer blocks than this give no verdict."""
DECIDING_BLOCKS: Final = 10
"""A new run is planned with at least so many blocks, and a run of so many plans no other: what it leaves open stays
open. So nobody who does what a verdict says looks more than twice (docs/method.md, Statistics)."""
MAX_PLANNED_BLOCKS: Final = 1000
"""No verdict plans a new run of more blocks than this: a pair that needs more is not worth settling."""
PLANNED_ODDS: Final = 0.8
"""A planned run settles a pair with these odds, if mean and spread are what they seem to be."""

DIFFERS: Final = "differs"
EQUAL: Final = "no practical difference"
OPEN: Final = "not settled"
FEW: Final = f"no verdict: fewer than {MIN_BLOCKS} valid blocks"
BETTER: Final = "better"
WORSE: Final = "worse"

MAX_EXPONENT: Final = 700.0
"""exp() of more overflows a float; two blocks that disagree wildly can give an interval that wide."""


def bounded_exp(x: float) -> float:
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
    "staleness": Margin(0.10),  # it grows with the square of the latency: 5 % of that
}
"""Margins by the name that ``bench.results.catalogue.METRICS`` refers to. They were set before the first full run."""


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
    low, high = _interval(of, alpha)
    back = bounded_exp if positive else float
    if low is None or high is None:
        return Estimate(back(of.mean), None, None, len(values))
    return Estimate(back(of.mean), back(low), back(high), len(values))


class Verdict(msgspec.Struct, frozen=True):
    """The verdict on one pair, corrected for all pairs that are judged together.

    ``low`` and ``high`` are the t interval of the mean difference at the level ``1 - alpha`` that Holm's procedure
    gave this pair; ``None`` with fewer than two blocks. ``new_run_blocks``: how many blocks one new run needs to settle
    the pair by itself; ``None`` if it is settled, was decided by a run of ``DECIDING_BLOCKS``, or cannot be planned.
    """

    word: str
    mean: float
    low: float | None
    high: float | None
    alpha: float
    blocks: int
    new_run_blocks: int | None


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

    Every pair of at least ``MIN_BLOCKS`` blocks gets two tests, and Holm's procedure corrects each of them over all
    these pairs:

    - *differs*: the null hypothesis |mean| <= margin is rejected at level a when the (1 - a) t interval lies wholly
      outside the margin;
    - *no practical difference*: |mean| >= margin is rejected when the interval lies wholly inside (two one-sided
      tests at a / 2 each: Schuirmann, J. Pharmacokinet. Biopharm. 15:657-680, 1987).

    Each test gives the pair a step-down adjusted level. The verdict shows the interval at the level of the test that
    decided it; a pair that is not settled shows the wider of its two. The chance of any false *differs* among the
    pairs is at most ``alpha``, and so is that of any false *no practical difference*, if block differences are normal.
    Nothing more is guaranteed: the intervals do not all hold together with 1 - alpha (Strassburger and Bretz, Stat.
    Med. 27:4914, 2008). With a margin of 0, *differs* is the plain two-sided t test.
    """
    judged = [(place, pair.moments(), pair.margin) for place, pair in enumerate(pairs) if pair.blocks >= MIN_BLOCKS]
    outside = holm([m.tail(abs(m.mean) - margin) for _, m, margin in judged], alpha)
    inside = holm([_inside(m, margin) for _, m, margin in judged], alpha)
    words: dict[int, tuple[str, float]] = {}
    for (place, _, _), differs, equal in zip(judged, outside, inside, strict=True):
        if differs[1]:
            words[place] = DIFFERS, differs[0]
        elif equal[1]:
            words[place] = EQUAL, equal[0]
        else:
            words[place] = OPEN, min(differs[0], equal[0])
    return [_verdict(pair, *words.get(place, (FEW, alpha))) for place, pair in enumerate(pairs)]


def _inside(of: Moments, margin: float) -> float:
    """Level at which the interval touches the margin from inside; 0 if all blocks are equal and within the margin."""
    if of.error == 0 and abs(of.mean) <= margin:
        return 0.0
    return of.tail(margin - abs(of.mean))


def _verdict(pair: Paired | Unpaired, word: str, alpha: float) -> Verdict:
    of = pair.moments()
    low, high = _interval(of, alpha)
    planned = new_run_blocks(pair, alpha) if word == OPEN else None
    return Verdict(word, of.mean, low, high, alpha, pair.blocks, planned)


def _interval(of: Moments, alpha: float) -> tuple[float | None, float | None]:
    half = of.half_width(alpha)
    return (None, None) if math.isnan(half) else (of.mean - half, of.mean + half)


def new_run_blocks(pair: Paired | Unpaired, alpha: float) -> int | None:
    """How many blocks one new run needs to settle a pair by itself, if mean and spread stay as they are.

    ``None``: over ``MAX_PLANNED_BLOCKS``, or the pair's run was large enough to decide. The blocks measured so far do
    not count in the new run: whoever adds blocks until a word appears looks several times, and each look can err.
    """
    if pair.size >= DECIDING_BLOCKS:
        return None

    def settles(blocks: int) -> bool:
        of = pair.planned(blocks)
        return of.half_width(alpha) + of.quantile(PLANNED_ODDS) < abs(abs(of.mean) - pair.margin)

    sizes = range(DECIDING_BLOCKS, MAX_PLANNED_BLOCKS + 1)
    place = bisect_left(sizes, True, key=settles)  # the interval only gets narrower
    return sizes[place] if place < len(sizes) else None


class Comparison(msgspec.Struct, frozen=True):
    """A against B on one metric.

    ``factor``, ``low`` and ``high`` are A/B and its interval; with ``is_ratio`` false (a zero among the values) they
    are A - B in the metric's unit. Fewer than two blocks that have both give no interval. ``pair`` is what was judged.
    """

    a: str
    b: str
    factor: float
    low: float | None
    high: float | None
    is_ratio: bool
    verdict: Verdict
    pair: Paired | Unpaired

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

    @property
    def hangs_on(self) -> list[str]:
        """The blocks without which, one at a time, the word would be another; none without a verdict."""
        if self.verdict.word == FEW:
            return []
        margin, alpha = self.pair.margin, self.verdict.alpha
        words = {name: _word_at(rest.moments(), margin, alpha) for name, rest in self.pair.without_each()}
        return [name for name, word in words.items() if word != self.verdict.word]

    @property
    def shuffled_p(self) -> float | None:
        """The two-sided p of a settled word by a permutation test over blocks, which assumes no distribution.

        Five paired blocks can be flipped in 32 ways, so p is never below 1/16: they reach it when no block speaks
        against the word, and can never reach 5 %.
        """
        side, margin = (1 if self.verdict.mean > 0 else -1), self.pair.margin
        if self.verdict.word == DIFFERS:
            return min(1.0, 2 * self.pair.shuffled(side, margin))
        if self.verdict.word == EQUAL and margin:  # without a margin every block is equal: nothing to shuffle
            return min(1.0, 2 * max(self.pair.shuffled(way, -margin) for way in (-1, 1)))
        return None

    @property
    def is_confirmed(self) -> bool:
        """Does the permutation test agree, as far as so few blocks allow? Words that settle nothing need none."""
        return self.shuffled_p is None or self.shuffled_p <= max(ALPHA, self.pair.least_p)

    def larger(self) -> "Comparison":
        """The same, turned so that the first is not the smaller: sentences speak of factors of 1 and more."""
        return self if self.factor >= (1 if self.is_ratio else 0) else self.turned()

    def turned(self) -> "Comparison":
        """The same comparison, B against A."""
        if self.is_ratio:
            return self._swapped(1 / self.factor, [1 / x for x in self._ends()])
        return self._swapped(-self.factor, [-x for x in self._ends()])

    def _ends(self) -> list[float]:
        return [] if self.low is None or self.high is None else [self.low, self.high]

    def _swapped(self, factor: float, ends: list[float]) -> "Comparison":
        high, low = ends or (None, None)
        return Comparison(self.b, self.a, factor, low, high, self.is_ratio, self.verdict, self.pair)


def _word_at(of: Moments, margin: float, alpha: float) -> str:
    """The word of a pair that is judged alone at this level."""
    if of.tail(abs(of.mean) - margin) <= alpha:
        return DIFFERS
    return EQUAL if _inside(of, margin) <= alpha else OPEN


def compare(values: Mapping[str, Mapping[int, float]], margin: Margin) -> list[Comparison]:
    """Judge every pair of names on one metric. ``values``: name -> block -> value.

    Values are paired by block, because a block's trials share seed and time. A pair uses only the blocks that have
    both of its values; a pair without such a block is left out.
    """
    names = [(a, b) for a, b in combinations(values, 2) if values[a].keys() & values[b].keys()]
    return _judged(names, [_paired(values[a], values[b], margin) for a, b in names])


def compare_runs(
    values: Mapping[str, tuple[Mapping[int, float], Mapping[int, float]]],
    margin: Margin,
    *,
    paired: bool,
    runs: tuple[str, str] = ("A", "B"),
    second_stays: bool = False,
) -> dict[str, Comparison]:
    """Judge the first of two runs against the second on one metric, for several transports together.

    ``values``: name -> the values of the two, by block; ``runs``: their names. ``paired``: the same block had the same
    schedule in both; otherwise the samples are independent. ``second_stays``: only the first can be measured again.
    """
    judged = [
        _paired(first, second, margin)
        if paired and first.keys() & second.keys()
        else _unpaired(first, second, margin, runs, second_stays)
        for first, second in values.values()
    ]
    return dict(zip(values, _judged([runs] * len(judged), judged), strict=True))


def _judged(names: Sequence[tuple[str, str]], pairs: Sequence[tuple[Paired | Unpaired, bool]]) -> list[Comparison]:
    found = verdicts([pair for pair, _ in pairs])
    return [
        _comparison(*of, pair, is_ratio, verdict)
        for of, (pair, is_ratio), verdict in zip(names, pairs, found, strict=True)
    ]


def _unpaired(
    a: Mapping[int, float], b: Mapping[int, float], margin: Margin, runs: tuple[str, str], b_stays: bool
) -> tuple[Unpaired, bool]:
    of_a, of_b, scaled, is_ratio = _scaled(list(a.values()), list(b.values()), margin)
    names = [f"block {block} of {run}" for run, of in zip(runs, (a, b), strict=True) for block in of]
    return Unpaired(of_a, of_b, scaled, names, b_stays), is_ratio


def _paired(a: Mapping[int, float], b: Mapping[int, float], margin: Margin) -> tuple[Paired, bool]:
    blocks = sorted(a.keys() & b.keys())
    of_a, of_b, scaled, is_ratio = _scaled([a[block] for block in blocks], [b[block] for block in blocks], margin)
    differences = [x - y for x, y in zip(of_a, of_b, strict=True)]
    return Paired(differences, scaled, [f"block {block}" for block in blocks]), is_ratio


def _scaled(
    a: Sequence[float], b: Sequence[float], margin: Margin
) -> tuple[Sequence[float], Sequence[float], float, bool]:
    """Both samples and the margin as logarithms (``True``) where all values are above 0, else as they are."""
    if min(*a, *b) <= 0:
        return a, b, margin.in_units((moments(a).mean + moments(b).mean) / 2), False
    log_a, log_b = [math.log(x) for x in a], [math.log(x) for x in b]
    level = math.exp((moments(log_a).mean + moments(log_b).mean) / 2)
    return log_a, log_b, margin.in_logs(level), True


def _comparison(a: str, b: str, pair: Paired | Unpaired, is_ratio: bool, verdict: Verdict) -> Comparison:
    back = bounded_exp if is_ratio else float
    low, high = (None if end is None else back(end) for end in (verdict.low, verdict.high))
    return Comparison(a, b, back(verdict.mean), low, high, is_ratio, verdict, pair)
