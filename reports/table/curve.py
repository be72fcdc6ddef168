"""Polling over its interval: latency against bytes, the bargain that no single setting shows. Pure."""

import msgspec

from bench.results.run import Results, Trial
from bench.theory.predict import is_plain, predict
from feed.transports import POLLING
from reports.blocks import curve_trials
from reports.formats import with_interval
from reports.statistics import Estimate, estimate
from reports.theory.added import average


class Point(msgspec.Struct, frozen=True):
    """Polling at one interval: seconds between polls, median latency in ms, wire bytes per event, and trials."""

    interval_s: float
    latency_ms: Estimate
    wire_bytes: Estimate
    trials: int
    predicted: dict[str, float]
    """By theory, by the names of metrics; empty where it says nothing."""

    @property
    def latency_text(self) -> str:
        return f"{with_interval(self.latency_ms)} ms"

    @property
    def wire_text(self) -> str:
        return f"{with_interval(self.wire_bytes)} B"

    @property
    def caution(self) -> str:
        return "single trial: no interval" if self.trials == 1 else ""


def points(results: Results) -> list[Point]:
    """One point per interval at which polling was measured; empty unless there are at least two."""
    found = [
        point for interval_s, trials in curve_trials(results).items() if (point := _point(results, interval_s, trials))
    ]
    return found if len(found) > 1 else []


def _point(results: Results, interval_s: float, trials: list[Trial]) -> Point | None:
    needed = ("latency_ms_p50", "wire_bytes_per_event")
    whole = [trial for trial in trials if all(trial.values.get(name, 0.0) > 0 for name in needed)]
    if not whole:
        return None
    latency, wire = (estimate([trial.values[name] for trial in whole]) for name in needed)
    theory = [predict(POLLING, results.plan, results.idle, trial) for trial in whole]
    predicted = average(theory) if is_plain(results.plan) else {}
    return Point(interval_s, latency, wire, len(whole), predicted)
