"""Which trials count, arranged by transport and block. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Final

import msgspec
import numpy as np

from bench.results.catalogue import METRICS
from bench.results.metric import BELOW_NOISE
from bench.results.run import Counts, Results, Trial
from bench.results.sweep import SweepResults
from feed.transports import BASELINE, POLLING, TRANSPORTS
from reports.formats import counted, with_interval
from reports.statistics import MARGINS, Comparison, Estimate, Margin, compare, estimate
from reports.style import LOOKS

SERVER_CPU: Final = "server_cpu_us_per_event"
PAIRED_METRICS = ("latency_ms_p50", "latency_ms_p95", "wire_bytes_per_event", SERVER_CPU)
"""What transports are compared on. Holm's correction is over the pairs of one metric."""
APART_DEVIATIONS: Final = 8.0
"""A block stands apart if it lies so many standard deviations of a transport's other blocks from their mean, and
``APART_MARGINS`` of the metric's margins. By chance some block of a run does in under 1 % of the runs if the transports
scatter alike, and in 6 % if a third of them scatters eight times as much as the rest (a test simulates both)."""
APART_MARGINS: Final = 2.0
APART_BLOCKS: Final = 4
"""Fewer blocks than this say nothing about their scatter."""


class Blocks(msgspec.Struct, frozen=True):
    """The valid main trials: transport -> block -> trial, transports in the order of every table."""

    trials: dict[str, dict[int, Trial]]

    @property
    def contenders(self) -> list[str]:
        """All transports but the baseline."""
        return [name for name in self.trials if name != BASELINE]

    def values(self, transport: str, metric: str) -> dict[int, float]:
        """A metric of a transport by block; blocks in which it was not measured are absent."""
        found = self.trials[transport].items()
        return {block: trial.values[metric] for block, trial in found if metric in trial.values}

    def estimate(self, transport: str, metric: str) -> Estimate | None:
        """A metric's average over blocks, or ``None`` if no block has it."""
        values = self.values(transport, metric)
        return estimate(list(values.values())) if values else None

    def text(self, transport: str, metric: str) -> str:
        """A metric's average over blocks with its interval, ready to print."""
        found = self.estimate(transport, metric)
        if found is not None and METRICS[metric].is_below_noise(found.value):
            return BELOW_NOISE
        return with_interval(found)

    def percentiles(self, transport: str) -> dict[float, Estimate]:
        """Latency percentiles in ms averaged over blocks; only those that every block supports."""
        curves = [trial.latency_ms for trial in self.trials[transport].values()]
        shared = set.intersection(*(set(curve) for curve in curves)) if curves else set()
        return {float(q): estimate([curve[q] for curve in curves]) for q in sorted(shared, key=float)}

    def counts(self, transport: str) -> Counts | None:
        """Completeness summed over blocks, or ``None`` if no block has it."""
        found = [trial.counts for trial in self.trials[transport].values() if trial.counts is not None]
        if not found:
            return None
        late = [counts.late for counts in found if counts.late is not None]
        sums = {field: sum(getattr(counts, field) for counts in found) for field in Counts.__struct_fields__[:-1]}
        return Counts(**sums, late=sum(late) if len(late) == len(found) else None)

    def compare(self, metric: str) -> list[Comparison]:
        """Every pair of transports on one metric, the baseline included."""
        return compare({name: self.values(name, metric) for name in self.trials}, MARGINS[METRICS[metric].margin])


def first_arms(results: SweepResults) -> dict[str, Blocks]:
    """The valid trials of the first load of each section; of several valid attempts the last counts.

    A transport that was tried and has no valid trial is there with none.
    """
    first: dict[str, str] = {}
    found: dict[str, dict[str, dict[int, Trial]]] = {}
    for section, load, trial in [(one.section, one.load, one.trial) for one in results.trials]:
        if load == first.setdefault(section, load):
            of = found.setdefault(section, {}).setdefault(trial.transport, {})
            if trial.status == "ok":
                of[trial.block] = trial
    return {section: Blocks({name: of[name] for name in LOOKS if name in of}) for section, of in found.items()}


def main_blocks(results: Results) -> Blocks:
    """The valid main trials. Invalid and failed ones never count; of several valid attempts the last does."""
    present = {*results.plan.transports, *(trial.transport for trial in results.trials)}
    chosen: dict[str, dict[int, Trial]] = {name: {} for name in TRANSPORTS if name in present}
    for trial in sorted(_ok(results, "main"), key=lambda trial: (trial.block, trial.attempt)):
        chosen[trial.transport][trial.block] = trial
    return Blocks(chosen)


def curve_trials(results: Results) -> dict[float, list[Trial]]:
    """Poll interval in seconds -> its valid trials, the main ones among them; shortest interval first."""
    found: dict[float, list[Trial]] = {}
    for trial in [*main_blocks(results).trials.get(POLLING, {}).values(), *_ok(results, "curve")]:
        found.setdefault(trial.poll_interval_s, []).append(trial)
    return dict(sorted(found.items()))


def noise_sentences(blocks: Blocks) -> list[str]:
    """Every transport whose server CPU was below the noise of the idle server in some block, a sentence each."""
    found = {name: list(blocks.values(name, SERVER_CPU).values()) for name in blocks.trials}
    below = {name: sum(METRICS[SERVER_CPU].is_below_noise(x) for x in of) for name, of in found.items()}
    return [
        f"{LOOKS[name].name}: {METRICS[SERVER_CPU].label} was {BELOW_NOISE} in {count} of "
        f"{counted(len(found[name]), 'block')}, so that it has differences and no ratios."
        for name, count in below.items()
        if count
    ]


class Apart(msgspec.Struct, frozen=True):
    """A block in which a transport's metric was far from what it was in the other blocks."""

    block: int
    transport: str
    metric: str
    value: float
    usual: float
    """The mean of the other blocks."""


def stand_apart(blocks: Blocks) -> list[Apart]:
    """The blocks that stand apart, in the order of metrics and transports."""
    return [
        Apart(block, name, metric, value, usual)
        for metric in PAIRED_METRICS
        for name, block, value, usual in far_values(
            {name: blocks.values(name, metric) for name in blocks.trials}, MARGINS[METRICS[metric].margin]
        )
    ]


def apart_sentences(blocks: Blocks) -> list[str]:
    """Every block that stands apart, with what was measured there, a sentence each."""
    found = stand_apart(blocks)
    return [
        f"Block {block} stands apart: {'; '.join(_said(of) for of in found if of.block == block)}."
        for block in sorted({of.block for of in found})
    ]


def _said(of: Apart) -> str:
    metric = METRICS[of.metric]
    name = LOOKS[of.transport].name
    return f"{name}, {metric.label} {metric.text(of.value)} (other blocks {metric.text(of.usual)})"


def far_values(values: Mapping[str, Mapping[int, float]], margin: Margin) -> Iterator[tuple[str, int, float, float]]:
    """Name, block, value and mean of the other blocks, of every value that stands apart. ``values``: by name and block.

    The scatter is that of the transport's other blocks, but no less than the median transport's, because so few blocks
    may agree by chance. Ratios count, unless a value is 0 or below.
    """
    found = {name: of for name, of in values.items() if len(of) >= APART_BLOCKS}
    is_ratio = all(value > 0 for of in found.values() for value in of.values())
    scaled = {name: {block: math.log(x) if is_ratio else x for block, x in of.items()} for name, of in found.items()}
    others = {
        (name, block): [x for other, x in of.items() if other != block] for name, of in scaled.items() for block in of
    }
    spreads = {place: float(np.std(rest, ddof=1)) for place, rest in others.items()}
    least = median([min(spreads[name, block] for block in of) for name, of in found.items()] or [0.0])
    for (name, block), rest in others.items():
        usual = math.exp(fmean(rest)) if is_ratio else fmean(rest)
        far = APART_MARGINS * (margin.in_logs(usual) if is_ratio else margin.in_units(usual))
        if abs(scaled[name][block] - fmean(rest)) > max(APART_DEVIATIONS * max(spreads[name, block], least), far):
            yield name, block, found[name][block], usual


def left_out(results: Results) -> list[Trial]:
    """Trials without valid numbers, which every table lists with their reasons."""
    return [trial for trial in results.trials if trial.status != "ok"]


def find(comparisons: Sequence[Comparison], a: str, b: str) -> Comparison | None:
    """The comparison of ``a`` against ``b``, whichever way round it was made."""
    for found in comparisons:
        if (found.a, found.b) == (a, b):
            return found
        if (found.a, found.b) == (b, a):
            return found.turned()
    return None


def _ok(results: Results, purpose: str) -> list[Trial]:
    return [trial for trial in results.trials if trial.status == "ok" and trial.purpose == purpose]
