"""Which trials count, arranged by transport and block. Pure."""

from collections.abc import Sequence

import msgspec

from bench.results.catalogue import METRICS
from bench.results.run import Counts, Results, Trial
from feed.transports import BASELINE, POLLING, TRANSPORTS
from reports.statistics import MARGINS, Comparison, Estimate, compare, estimate

PAIRED_METRICS = ("latency_ms_p50", "latency_ms_p95", "wire_bytes_per_event", "server_cpu_us_per_event")
"""What transports are compared on. Holm's correction is over the pairs of one metric."""


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
