"""Drift of latency during a trial: its second half against its first. Pure."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_SHARE: Final = 0.10
LEAST_MS: Final = 1.0
"""A drift is of interest if it exceeds both."""
Z: Final = 4.5
"""Standard score of the rank test above which a drift is sure: one trial in 150,000 exceeds it by chance."""
LEAST_EVENTS: Final = 28
"""With fewer, even halves that do not overlap at all stay below ``Z``."""


def drift(latency_ms: NDArray[np.float64], due_ns: NDArray[np.int64]) -> float | None:
    """The share by which the second half's median latency is above the first half's; 0 unless the drift is sure.

    ``None`` with fewer than ``LEAST_EVENTS`` events, where no drift can be sure.

    Deliveries of one event are one observation: their mean stands for it. A drift is sure if the Mann-Whitney test with
    its normal approximation (Ann. Math. Stat. 18:50-60, 1947) is beyond ``Z`` and the difference is of interest.
    """
    dues, place = np.unique(due_ns, return_inverse=True)
    if len(dues) < LEAST_EVENTS:
        return None
    means = np.bincount(place, latency_ms) / np.bincount(place)
    first, second = means[: len(dues) // 2], means[len(dues) // 2 :]
    before, after = float(np.median(first)), float(np.median(second))
    if abs(after - before) < max(LEAST_SHARE * before, LEAST_MS) or abs(rank_z(first, second)) < Z:
        return 0.0
    return after / before - 1


def rank_z(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Standard score of the Mann-Whitney U of ``b`` over ``a``: positive if ``b`` tends to be larger."""
    ordered = np.sort(a)
    below = np.searchsorted(ordered, b)
    ties = np.searchsorted(ordered, b, side="right") - below
    u = float(np.sum(below + ties / 2))
    n, m = len(a), len(b)
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
