"""One sentence that says whether the host was quiet enough to trust what it measured. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.results.run import Results, Trial
from feed.transports import POLLS
from reports.blocks import main_blocks
from reports.formats import counted

QUIET: Final = "quiet enough to trust"
NOISY: Final = "noisy but usable"
UNFIT: Final = "not to be trusted"

LIMITS: Final[dict[str, tuple[float, float]]] = {
    "hiccup_ms": (2.0, 10.0),
    "steal_share": (0.01, 0.05),
    "other_load_share": (0.05, 0.10),
    "invalid_share": (0.05, 0.25),
    "spread_share": (0.05, 0.25),
}
"""Field of ``Host`` -> the value above which a host is noisy, and the one above which it is not to be trusted."""


class Host(msgspec.Struct, frozen=True):
    """The numbers that decide; ``None`` where a run did not measure one.

    ``hiccup_ms``: 99th percentile of a 1 ms timer's lateness, median over trials. ``spread_share``: half the 95 %
    interval of the median latency over blocks, as a share of it, for the stream that repeats worst. Polls do not count
    here: their waits differ from schedule to schedule.
    """

    hiccup_ms: float | None
    steal_share: float | None
    other_load_share: float | None
    invalid_share: float | None
    spread_share: float | None

    def word(self) -> str:
        """The worst word that any of the numbers earns."""
        return (QUIET, NOISY, UNFIT)[max(map(self.level, LIMITS))]

    def level(self, name: str) -> int:
        """How many of its two limits a number exceeds."""
        value = getattr(self, name)
        return 0 if value is None else sum(value > limit for limit in LIMITS[name])


def quiet_sentence(points: Sequence[Results]) -> str:
    """The verdict on the host and the numbers behind it, over all operating points of a run."""
    trials = [trial for of in points for trial in of.trials]
    host = observe(points)
    invalid = sum(trial.status != "ok" for trial in trials)
    parts = {
        "hiccup_ms": "1 ms timers were {:.1f} ms late (p99)",
        "steal_share": "{:.1%} of the time was stolen",
        "other_load_share": "{:.1%} of the CPU was used by other processes",
        "invalid_share": f"{invalid} of {counted(len(trials), 'trial')} did not count",
        "spread_share": "medians repeat within {:.1%}",
    }
    known = {name: value for name in parts if (value := getattr(host, name)) is not None}
    worst_first = sorted(known, key=host.level, reverse=True)
    said = ", ".join(parts[name].format(known[name]).replace("%", " %") for name in worst_first)
    return f"This host was {host.word()}: {said or 'nothing was measured'}."


def observe(points: Sequence[Results]) -> Host:
    """The deciding numbers, from all trials of a run."""
    trials = [trial for of in points for trial in of.trials]
    invalid = sum(trial.status != "ok" for trial in trials)
    return Host(
        hiccup_ms=_median(trials, "hiccup_ms_p99"),
        steal_share=_mean(trials, "steal_share"),
        other_load_share=_mean(trials, "other_load_share"),
        invalid_share=invalid / len(trials) if trials else None,
        spread_share=max((spread for of in points for spread in _spreads(of)), default=None),
    )


def _spreads(results: Results) -> list[float]:
    blocks = main_blocks(results)
    found = [blocks.estimate(name, "latency_ms_p50") for name in blocks.trials if name not in POLLS]
    known = [of for of in found if of and of.value]
    return [(of.high - of.low) / 2 / of.value for of in known if of.low is not None and of.high is not None]


def _values(trials: Sequence[Trial], metric: str) -> list[float]:
    return sorted(trial.values[metric] for trial in trials if metric in trial.values)


def _median(trials: Sequence[Trial], metric: str) -> float | None:
    values = _values(trials, metric)
    return values[len(values) // 2] if values else None


def _mean(trials: Sequence[Trial], metric: str) -> float | None:
    values = _values(trials, metric)
    return sum(values) / len(values) if values else None
