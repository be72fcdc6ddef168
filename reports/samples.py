"""Samples of blocks: moments, pairs, and what a pair would show if it were shuffled, shortened or repeated. Pure.

The t interval assumes that block differences are normal and independent. Nothing here proves that; ``shuffled`` asks
the same question without the assumption, and ``without_each`` says whether the answer hangs on a single block.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, product
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_SHUFFLES: Final = 4096
"""All ways to shuffle a pair are tried if they are no more than this (12 paired blocks), else so many seeded ones."""
SAME: Final = 1e-12
"""Two sums that differ by less, as a share of their terms, are equal but for rounding."""


class Moments(msgspec.Struct, frozen=True):
    """Mean, standard error of the mean (nan for fewer than two values) and degrees of freedom."""

    mean: float
    error: float
    freedom: float
    """One less than the number of values; for a difference of two means, Welch's."""

    def half_width(self, alpha: float) -> float:
        """Half the width of the two-sided (1 - alpha) t interval; nan for fewer than two values."""
        return self.quantile(1 - alpha / 2)

    def quantile(self, share: float) -> float:
        """How far above the mean this quantile of its t distribution lies; nan for fewer than two values."""
        from scipy.special import stdtrit  # takes longer to load than all that needs no statistics, such as --help

        return self.error * float(stdtrit(self.freedom, share)) if self.freedom > 0 else math.nan

    def tail(self, distance: float) -> float:
        """Two-sided level at which the t interval ends ``distance`` from the mean; over 1 if that is negative."""
        if self.freedom <= 0:
            return math.inf
        if self.error == 0:
            return 0.0 if distance > 0 else math.inf
        from scipy.special import stdtr  # as above

        return 2 * float(stdtr(self.freedom, -distance / self.error))


def moments(values: Sequence[float]) -> Moments:
    """Mean, standard error and degrees of freedom of the values. Raises ``ValueError`` if there are none."""
    if not values:
        raise ValueError("no values to average")
    array = np.asarray(values, dtype=float)
    n = len(array)
    error = float(array.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return Moments(float(array.mean()), error, n - 1)


class Paired(msgspec.Struct, frozen=True):
    """A pair measured in the same blocks: each block's difference, and the margin on the same scale (0 or above)."""

    differences: Sequence[float]
    margin: float
    names: Sequence[str] = ()
    """The blocks, as a reader knows them."""

    def moments(self) -> Moments:
        return moments(self.differences)

    @property
    def blocks(self) -> int:
        return len(self.differences)

    @property
    def size(self) -> int:
        """The blocks of the largest run in it."""
        return self.blocks

    @property
    def least_p(self) -> float:
        """The smallest two-sided p that ``shuffled`` can give: 1/16 with five blocks."""
        return 2 / len(_signs(self.blocks))

    def planned(self, blocks: int) -> Moments:
        """The moments of a new run of so many blocks, if mean and spread stay as they are."""
        of = self.moments()
        return Moments(of.mean, of.error * math.sqrt(self.blocks / blocks), blocks - 1)

    def without_each(self) -> Iterator[tuple[str, "Paired"]]:
        """Each block's name, and the pair without this block."""
        for name, rest in zip(self.names, _without_each(self.differences), strict=True):
            yield name, Paired(rest, self.margin)

    def shuffled(self, side: int, threshold: float) -> float:
        """One-sided p of ``side`` x mean > ``threshold``, from flipping the signs of the blocks: exact if their
        differences are symmetric about the threshold, whatever their distribution."""
        beyond = side * np.asarray(self.differences) - threshold
        return _share_at_least(_signs(self.blocks) @ beyond, beyond.sum(), np.abs(beyond).sum())


class Unpaired(msgspec.Struct, frozen=True):
    """A pair of independent samples, and the margin on the same scale."""

    a: Sequence[float]
    b: Sequence[float]
    margin: float
    names: Sequence[str] = ()
    """The blocks of ``a`` and then those of ``b``, as a reader knows them."""
    b_stays: bool = False
    """Only ``a`` will be measured again."""

    def moments(self) -> Moments:
        """The difference of the two means, with Welch's degrees of freedom (Biometrika 34:28-35, 1947)."""
        return self.planned(len(self.a), len(self.b))

    @property
    def blocks(self) -> int:
        return min(len(self.a), len(self.b))

    @property
    def size(self) -> int:
        """The blocks of the largest run in it."""
        return max(len(self.a), len(self.b))

    @property
    def least_p(self) -> float:
        """The smallest two-sided p that ``shuffled`` can give: 1/126 with five blocks in each sample."""
        return 2 / len(_dealt(len(self.a), len(self.b)))

    def planned(self, blocks: int, blocks_of_b: int | None = None) -> Moments:
        """The moments with so many blocks in each of two new runs (in ``a`` alone if ``b_stays``), if means and
        spreads stay as they are."""
        of_a, of_b = moments(self.a), moments(self.b)
        if min(of_a.freedom, of_b.freedom) < 1:
            return Moments(of_a.mean - of_b.mean, math.nan, 0)
        n_a, n_b = blocks, blocks_of_b or (len(self.b) if self.b_stays else blocks)
        squares = of_a.error**2 * len(self.a) / n_a, of_b.error**2 * len(self.b) / n_b
        parts = squares[0] ** 2 / (n_a - 1) + squares[1] ** 2 / (n_b - 1)
        freedom = sum(squares) ** 2 / parts if parts else n_a + n_b - 2
        return Moments(of_a.mean - of_b.mean, math.sqrt(sum(squares)), freedom)

    def without_each(self) -> Iterator[tuple[str, "Unpaired"]]:
        """Each block's name, and the pair without this block."""
        rests = [(rest, self.b) for rest in _without_each(self.a)] + [(self.a, rest) for rest in _without_each(self.b)]
        for name, (a, b) in zip(self.names, rests, strict=True):
            yield name, Unpaired(a, b, self.margin)

    def shuffled(self, side: int, threshold: float) -> float:
        """One-sided p of ``side`` x difference > ``threshold``, from dealing the blocks out to both samples anew."""
        values = np.concatenate([side * np.asarray(self.a) - threshold, side * np.asarray(self.b)])
        dealt = _dealt(len(self.a), len(self.b))
        return _share_at_least(dealt @ values, dealt[0] @ values, np.abs(dealt[0]) @ np.abs(values))


def _without_each(values: Sequence[float]) -> list[list[float]]:
    return [[*values[:place], *values[place + 1 :]] for place in range(len(values))]


def _share_at_least(found: NDArray[np.float64], observed: float, size: float) -> float:
    return float(np.mean(found >= observed - SAME * size))


@lru_cache(maxsize=64)
def _signs(blocks: int) -> NDArray[np.float64]:
    """Rows of signs, the first of them all +1."""
    if 2**blocks <= MAX_SHUFFLES:
        return np.array(list(product((1.0, -1.0), repeat=blocks)))
    signs = np.random.default_rng(blocks).choice((1.0, -1.0), (MAX_SHUFFLES, blocks))
    signs[0] = 1.0
    return signs


@lru_cache(maxsize=64)
def _dealt(of_a: int, of_b: int) -> NDArray[np.float64]:
    """Rows of weights that give the difference of two means, the first of them for the samples as they are."""
    total = of_a + of_b
    if math.comb(total, of_a) <= MAX_SHUFFLES:
        chosen = [list(places) for places in combinations(range(total), of_a)]
    else:
        draw = np.random.default_rng(total)
        chosen = [list(range(of_a)), *(draw.permutation(total)[:of_a].tolist() for _ in range(MAX_SHUFFLES - 1))]
    weights = np.full((len(chosen), total), -1 / of_b)
    for row, places in enumerate(chosen):
        weights[row, places] = 1 / of_a
    return weights
