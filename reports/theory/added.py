"""Measured minus predicted: what the implementation adds to what the protocol itself costs. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from bench.results.catalogue import METRICS
from bench.results.run import Results
from bench.theory.predict import is_plain, predict
from reports.blocks import Blocks
from reports.formats import NOT_MEASURED, number, with_interval
from reports.layout import Table
from reports.statistics import estimate
from reports.style import LOOKS

PREDICTED: Final = ("latency_ms_p50", "latency_ms_p95", "wire_bytes_per_event", "requests_per_event")
NOTES: Final = (
    "Predicted: from round trip, poll interval, hold and rate, by the formulas in docs/method.md (Theory). Bytes "
    "follow the formats' framing rules; HTTP heads are taken as they were sent.",
    "Measured minus predicted: per block, with its 95 % t interval. The rate is what the block's schedule drew.",
    "Polling's prediction contains one acknowledgement (52 B) per poll that the relay adds at round trips of 40 ms "
    "and more.",
    "In a busy room a subscriber waits until the others before it are served: the implementation adds that wait, the "
    "protocol does not.",
)


def predictions(results: Results, blocks: Blocks) -> dict[str, dict[str, float]]:
    """Transport -> metric -> prediction, averaged over the blocks, each with its own rate."""
    if not is_plain(results.plan):
        return {}
    return {
        name: average([predict(name, results.plan, results.idle, trial) for trial in trials.values()])
        for name, trials in blocks.trials.items()
        if trials
    }


def average(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric that all predictions have. Raises ``ValueError`` if there are no predictions."""
    return {name: fmean(of[name] for of in found) for name in set.intersection(*(set(of) for of in found))}


def added_table(results: Results, blocks: Blocks) -> Table | None:
    """One row per transport: the prediction, and what was measured above it; ``None`` if nothing can be predicted."""
    names = [name for name in blocks.trials if blocks.trials[name]]
    if not names or not is_plain(results.plan):
        return None
    head = [
        "",
        *(text for name in PREDICTED for text in (f"{METRICS[name].title}: predicted", "measured minus predicted")),
    ]
    rows = [[LOOKS[name].name, *_cells(results, blocks, name)] for name in names]
    return Table("What the implementation adds to what the protocol costs", head, rows, list(NOTES), on_terminal=False)


def _cells(results: Results, blocks: Blocks, name: str) -> list[str]:
    found: list[str] = []
    for metric in PREDICTED:
        values = blocks.values(name, metric)
        theory = {block: predict(name, results.plan, results.idle, blocks.trials[name][block]) for block in values}
        pairs = [(value, theory[block][metric]) for block, value in values.items() if metric in theory[block]]
        found += _pair(pairs)
    return found


def _pair(pairs: list[tuple[float, float]]) -> list[str]:
    if not pairs:
        return [NOT_MEASURED, NOT_MEASURED]
    predicted = fmean(theory for _, theory in pairs)
    added = estimate([value - theory for value, theory in pairs], arithmetic=True)
    return [number(predicted), with_interval(added)]
