"""Ticker: quotes that change at their own rates. How old is what a reader shows? Pure."""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.generators.scripts.ticker import BEGAN, QUOTE
from bench.scenarios.scenario import Recorded, Scenario, Size
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
    options = TickerOptions(int(found.option("instruments")), float(found.option("hot_hz")))
    dues_ns = due_by_instrument(options, int(began["start_ns"].min()), end_ns)
    waits_ns: list[NDArray[np.float64]] = []
    for subscriber in began["subscriber"].tolist():
        mine = rows["subscriber"] == subscriber
        for instrument, due_ns in enumerate(dues_ns):
            of = mine & (rows["instrument"] == instrument)
            waits_ns.append(waits(due_ns, rows["n"][of], rows["receive_ns"][of], begin_ns, end_ns))
    pairs = len(began["subscriber"]) * len(dues_ns)
    all_ns = np.concatenate(waits_ns)
    whole_ns = pairs * (end_ns - begin_ns)
    return {
        "staleness_ms_mean": float((all_ns**2).sum() / 2 / whole_ns / NS_PER_MS),
        "staleness_ms_p95": quantile_ns(all_ns, whole_ns, 0.95) / NS_PER_MS,
        "stale_share": float(all_ns.sum() / whole_ns),
        "quotes_per_s": delivered / ((end_ns - begin_ns) / NS_PER_S) / len(began["subscriber"]),
        "wire_bytes_per_s": (found.moved.stream_bytes + found.moved.header_bytes)
        / ((end_ns - begin_ns) / NS_PER_S)
        / len(began["subscriber"]),
    }


def due_by_instrument(options: TickerOptions, start_ns: int, end_ns: int) -> list[NDArray[np.int64]]:
    """When each instrument's changes are due, up to ``end_ns``."""
    found: list[list[int]] = [[] for _ in range(options.instruments)]
    for quote in takewhile(lambda quote: start_ns + quote.offset_ns < end_ns, quotes(options)):
        found[quote.instrument].append(start_ns + quote.offset_ns)
    return [np.array(of, dtype=np.int64) for of in found]


def waits(
    due_ns: NDArray[np.int64], n: NDArray[np.int64], receive_ns: NDArray[np.int64], begin_ns: int, end_ns: int
) -> NDArray[np.float64]:
    """How long one reader went without the newest quote of one instrument: a wait for each time that it fell behind.

    ``n`` counts changes from 1, in the order in which they came. A wait that crosses an edge is cut there, which
    leaves out at most the part of it outside.
    """
    found = []
    held, at_ns = 0, begin_ns
    for number, received_ns in [*zip(n.tolist(), receive_ns.tolist(), strict=True), (len(due_ns) + 1, end_ns)]:
        if held < len(due_ns):
            behind_ns = max(int(due_ns[held]), at_ns, begin_ns)
            until_ns = min(received_ns, end_ns)
            if until_ns > behind_ns:
                found.append(until_ns - behind_ns)
        held, at_ns = max(held, number), received_ns
    return np.array(found, dtype=np.float64)


def quantile_ns(waits_ns: NDArray[np.float64], whole_ns: float, share: float) -> float:
    """The staleness that is not exceeded for ``share`` of the time: within a wait it grows from 0 to the wait."""
    allowed_ns = (1 - share) * whole_ns
    low, high = 0.0, float(waits_ns.max(initial=0.0))
    for _ in range(60):
        middle = (low + high) / 2
        beyond_ns = float(np.maximum(waits_ns - middle, 0.0).sum())
        low, high = (middle, high) if beyond_ns > allowed_ns else (low, middle)
    return high


TICKER: Final = Scenario(
    name="ticker",
    options={"max_hz": 0.0, "instruments": 100, "hot_hz": 10.0, "reads_s": 8.0},
    arms={"every change": {}, "at most 1 a second": {"max_hz": 1.0}},
    sizes={
        "default": Size(5, {"subscribers": 20}, {}, with_arms=True),
        "smoke": Size(1, {"subscribers": 3, "poll_interval_s": 0.2}, {"reads_s": 2.0}, with_arms=False),
    },
    duration_s=duration_s,
    metrics=metrics,
    service_options=lambda options: {
        "ticker.instruments": str(options["instruments"]),
        "ticker.hot_hz": str(options["hot_hz"]),
    },
)
