"""Meters of every process of a trial: lateness, the event loop's lag, garbage collection."""

import asyncio
import gc
from typing import Final

from hdrh.histogram import HdrHistogram

from feed.instruments.clock import NS_PER_MS, NS_PER_S, NS_PER_US, Timer, now_ns

LAG_INTERVAL_NS: Final = 50 * NS_PER_MS
_MAX_US: Final = 600 * 1_000_000
_DIGITS: Final = 3


class Lateness:
    """A histogram of lateness, from 1 us to 10 minutes with three significant digits."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _MAX_US, _DIGITS)
        self.unrecorded = 0

    def record(self, late_ns: int) -> None:
        """Add one lateness. Values that the histogram cannot hold are counted as unrecorded."""
        if late_ns < 0 or not self._histogram.record_value(max(1, late_ns // NS_PER_US)):
            self.unrecorded += 1

    def reset(self) -> None:
        """Forget everything, to begin a measured part.

        A new histogram takes a tenth of the millisecond for which clearing the old one would stop the event loop.
        """
        self._histogram = HdrHistogram(1, _MAX_US, _DIGITS)
        self.unrecorded = 0

    @property
    def count(self) -> int:
        """How many were recorded."""
        return int(self._histogram.get_total_count())

    @property
    def total_us(self) -> float:
        """Their sum in microseconds, as well as the histogram knows it."""
        return self.count * float(self._histogram.get_mean_value()) if self.count else 0.0

    def value_us(self, quantile: float) -> float:
        """The lateness in microseconds that a share of values, from 0 to 1, does not exceed."""
        return float(self._histogram.get_value_at_percentile(100 * quantile))

    def summary(self) -> dict[str, float]:
        """Count; p50, p99 and maximum in microseconds; number of unrecorded values."""
        histogram = self._histogram
        return {
            "count": histogram.get_total_count(),
            "us_p50": histogram.get_value_at_percentile(50),
            "us_p99": histogram.get_value_at_percentile(99),
            "us_max": histogram.get_max_value(),
            "unrecorded": self.unrecorded,
        }


class GcPauses:
    """Number and length of the pauses of Python's garbage collector."""

    def __init__(self) -> None:
        self._started_ns = 0
        self.count = self.total_ns = self.max_ns = 0
        gc.callbacks.append(self._on_gc)

    def _on_gc(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._started_ns = now_ns()
            return
        pause_ns = now_ns() - self._started_ns
        self.count += 1
        self.total_ns += pause_ns
        self.max_ns = max(self.max_ns, pause_ns)

    def reset(self) -> None:
        """Begin a measured part."""
        self.count = self.total_ns = self.max_ns = 0

    def summary(self) -> dict[str, float]:
        """Number of collections, and their total and longest pause in milliseconds."""
        return {"count": self.count, "total_ms": self.total_ns / NS_PER_MS, "max_ms": self.max_ns / NS_PER_MS}


async def measure_loop_lag(timer: Timer, lag: Lateness) -> None:
    """Record how late a 20 Hz timer fires on this event loop, until cancelled."""
    due_ns = now_ns()
    while True:
        due_ns += LAG_INTERVAL_NS
        await timer.sleep_until(due_ns)
        late_ns = now_ns() - due_ns
        lag.record(late_ns)
        if late_ns > NS_PER_S:  # after a stop of the process, start anew instead of catching up
            due_ns = now_ns()
        await asyncio.sleep(0)
