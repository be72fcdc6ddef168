"""The table so far: averages of the valid trials per transport, with intervals that narrow block by block. Pure.

The averages equal those of a report (``reports.statistics.estimate``), which no benchmark may import; a test compares
the two.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np

from bench.plan.trials import Planned
from bench.results.catalogue import METRICS
from bench.results.run import Trial
from feed.transports import TRANSPORTS

LEVEL: Final = 0.95
SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "main": ("latency_ms_p50", "wire_bytes_per_event"),
    "aa": ("latency_ms_p50", "wire_bytes_per_event"),
    "cost": ("server_cpu_us_per_event",),
    "tls": ("server_cpu_us_per_event", "wire_bytes_per_event"),
}
"""Purpose of a trial -> the metrics of its rows. Trials for other purposes are single ones and get no row."""


class Average(NamedTuple):
    """A geometric mean and its 95 % t interval; ``None`` for a single value."""

    value: float
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """One row of the table so far. ``invalid`` counts all trials that are not valid, ``reason`` is the last one's."""

    name: str
    cells: dict[str, str]
    """Label of a metric -> its average, as text."""
    valid: int
    invalid: int
    reason: str


class Standing:
    """The trials of the current load, by row."""

    def __init__(self) -> None:
        self.title = ""
        self.metrics: tuple[str, ...] = ()
        self._block = 0
        self._trials: dict[str, list[Trial]] = {}

    def add(self, one: Planned, trial: Trial) -> list[Row]:
        """Add a trial. If it is the first of a new block, return the rows as they were at the end of the last block."""
        if trial.purpose not in SHOWN:
            return []
        ended: list[Row] = []
        title = f"{one.section}: {one.load}"
        if (title, trial.block) != (self.title, self._block):
            ended = self.rows()
            self._block = trial.block
        if title != self.title:
            self.title, self.metrics, self._trials = title, SHOWN[trial.purpose], {}
        self._trials.setdefault(row_name(one, trial), []).append(trial)
        return ended

    def rows(self) -> list[Row]:
        """The table so far, transports in the order of every table."""
        order = list(TRANSPORTS)
        found = sorted(self._trials.items(), key=lambda item: (order.index(item[1][0].transport), item[0]))
        return [self._row(name, trials) for name, trials in found]

    def _row(self, name: str, trials: Sequence[Trial]) -> Row:
        valid = [trial for trial in trials if trial.status == "ok"]
        invalid = [trial for trial in trials if trial.status != "ok"]
        cells = {
            METRICS[metric].label: cell(metric, [of.values[metric] for of in valid if metric in of.values])
            for metric in self.metrics
        }
        return Row(name, cells, len(valid), len(invalid), "; ".join(invalid[-1].reasons) if invalid else "")


def row_name(one: Planned, trial: Trial) -> str:
    """The name of a trial's row: the transport, and whatever else differs between the trials of one block."""
    served = [trial.transport, trial.variant, "TLS" if trial.tls else "", one.load if trial.purpose == "aa" else ""]
    return " ".join(word for word in served if word) + (f" by {trial.generator}" if trial.generator != "locust" else "")


def cell(metric: str, values: Sequence[float]) -> str:
    """An average with its interval and unit; a dash without a value."""
    if not values:
        return "–"
    of = METRICS[metric]
    if min(values) <= 0:  # has no geometric mean
        return of.text(fmean(values)) if of.less_idle else "–"
    found, places = average(values), of.decimals
    interval = "" if found.low is None else f" [{found.low:,.{places}f}, {found.high:,.{places}f}]"
    return f"{found.value:,.{places}f}{interval} {of.unit}".strip()


def average(values: Sequence[float]) -> Average:
    """The geometric mean of positive values with its t interval. Raises ``ValueError`` for a value of 0 or below."""
    logs = np.array([math.log(value) for value in values])
    mean = float(logs.mean())
    if len(logs) < 2:
        return Average(math.exp(mean))
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    from scipy.special import stdtrit  # takes a quarter of a second to load, which --help and a refusal do without

    half = error * float(stdtrit(len(logs) - 1, (1 + LEVEL) / 2))
    with np.errstate(over="ignore"):
        return Average(math.exp(mean), float(np.exp(mean - half)), float(np.exp(mean + half)))
