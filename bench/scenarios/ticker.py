"""Ticker: quotes that change at their own rates. How old is what a reader shows? Pure."""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.generators.scripts.ticker import BEGAN, QUOTE
from bench.plan.trials import TRIAL_SEED
from bench.scenarios.scenario import Arm, Recorded, Scenario, Size
from feed.instruments.clock import NS_PER_MS, NS_PER_S
from feed.ticker import TickerOptions, quotes


def duration_s(options: Mapping[str, Any]) -> float:
    return float(options["reads_s"])


def metrics(found: Recorded) -> dict[str, float]:
    """Staleness: for how long what is shown has not been the newest, over all readers, instruments and time.

    It is 0 while the newest quote is shown; else it is the time since the first quote that is missing was due. The
    measured part is ``begin`` to ``end`` of the plan.
    """
    begin_ns = found.start_ns + round(found.plan.scenario_begin_s * NS_PER_S)
    end_ns = found.start_ns + round(found.plan.duration_s * NS_PER_S)
    began, rows = found.rows[BEGAN], found.rows[QUOTE]
    delivered = int(np.count_nonzero((rows["receive_ns"] >= begin_ns) & (rows["receive_ns"] < end_ns)))
    if not len(began["start_ns"]) or not delivered:
        return {}
    until_ns = end_ns + round(found.poll_interval_s * NS_PER_S)
    came = int(np.count_nonzero((rows["receive_ns"] >= begin_ns) & (rows["receive_ns"] < until_ns)))
    options = TickerOptions(int(found.option("instruments")), float(found.option("hot_hz")), found.seed)
    dues_ns = due_by_instrument(options, int(began["start_ns"].min()), end_ns)
    aged: list[NDArray[np.int64]] = []
    for subscriber in began["subscriber"].tolist():
        mine = rows["subscriber"] == subscriber
        for instrument, due_ns in enumerate(dues_ns):
            of = mine & (rows["instrument"] == instrument)
            aged.append(ages(due_ns, rows["n"][of], rows["receive_ns"][of], begin_ns, end_ns))
    pairs = len(began["subscriber"]) * len(dues_ns)
    aged_ns = np.concatenate(aged)
    whole_ns = pairs * (end_ns - begin_ns)
    return {
        "staleness_ms_mean": mean_ns(aged_ns, whole_ns) / NS_PER_MS,
        "staleness_ms_p95": quantile_ns(aged_ns, whole_ns, 0.95) / NS_PER_MS,
        "stale_share": float(np.diff(aged_ns).sum() / whole_ns),
        "quotes_per_s": delivered / ((end_ns - begin_ns) / NS_PER_S) / len(began["subscriber"]),
        "server_cpu_us_per_quote": found.server_busy_us / came,
        "wire_bytes_per_s": (found.moved.stream_bytes + found.moved.header_bytes)
        / found.window_s
        / len(began["subscriber"]),
    }


def due_by_instrument(options: TickerOptions, start_ns: int, end_ns: int) -> list[NDArray[np.int64]]:
    """When each instrument's changes are due, up to ``end_ns``."""
    found: list[list[int]] = [[] for _ in range(options.instruments)]
    for quote in takewhile(lambda quote: start_ns + quote.offset_ns < end_ns, quotes(options)):
        found[quote.instrument].append(start_ns + quote.offset_ns)
    return [np.array(of, dtype=np.int64) for of in found]


def ages(
    due_ns: NDArray[np.int64], n: NDArray[np.int64], receive_ns: NDArray[np.int64], begin_ns: int, end_ns: int
) -> NDArray[np.int64]:
    """How old one instrument grew at one reader while it was not the newest: rows of (age at first, age at last).

    Within a row the age grows with time, so a row lasts for the difference of the two. ``n`` counts the changes that
    were received from 1, in the order in which they came.
    """
    found = []
    held, at_ns = 0, begin_ns
    for number, received_ns in [*zip(n.tolist(), receive_ns.tolist(), strict=True), (0, end_ns)]:
        until_ns = min(received_ns, end_ns)
        if held < len(due_ns):
            missing_ns = int(due_ns[held])
            from_ns = max(missing_ns, at_ns, begin_ns)
            if until_ns > from_ns:
                found.append((from_ns - missing_ns, until_ns - missing_ns))
        held, at_ns = max(held, number), received_ns
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def mean_ns(aged_ns: NDArray[np.int64], whole_ns: float) -> float:
    """The mean age over all of ``whole_ns``, of which nothing is stale but the rows of ``ages``."""
    first, last = aged_ns.T.astype(np.float64)
    return float((last**2 - first**2).sum() / 2 / whole_ns)


def quantile_ns(aged_ns: NDArray[np.int64], whole_ns: float, share: float) -> float:
    """The age that is not exceeded for ``share`` of the time."""
    allowed_ns = (1 - share) * whole_ns
    first, last = aged_ns.T.astype(np.float64)
    low, high = 0.0, float(last.max(initial=0.0))
    for _ in range(60):
        middle = (low + high) / 2
        beyond_ns = float(np.maximum(last - np.maximum(first, middle), 0.0).sum())
        low, high = (middle, high) if beyond_ns > allowed_ns else (low, middle)
    return high


TICKER: Final = Scenario(
    name="ticker",
    options={"max_hz": 0.0, "instruments": 100, "hot_hz": 10.0, "reads_s": 8.0},
    arms={"every change": Arm(), "at most 1 a second": Arm({"max_hz": 1.0})},
    sizes={
        "default": Size(5, {"subscribers": 20}, {}, with_arms=True),
        "smoke": Size(1, {"subscribers": 3, "poll_interval_s": 0.2}, {"reads_s": 2.0}, with_arms=False),
    },
    duration_s=duration_s,
    metrics=metrics,
    service_options=lambda options: {
        "ticker.instruments": str(options["instruments"]),
        "ticker.hot_hz": str(options["hot_hz"]),
        "ticker.seed": TRIAL_SEED,
    },
)
