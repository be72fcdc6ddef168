"""Measured minus predicted: what the implementation adds to what the protocol itself costs. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from bench.results.catalogue import METRICS
from bench.results.run import Idle, Plan, Results, Trial
from reports.blocks import Blocks
from reports.formats import NOT_MEASURED, number, with_interval
from reports.layout import Table
from reports.statistics import estimate
from reports.style import LOOKS
from reports.theory.bytes import predict_bytes
from reports.theory.latency import Conditions, predict_latency, requests_per_event

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


def conditions(plan: Plan, trial: Trial | None = None) -> Conditions:
    """The conditions of one subscriber. The rate is what the trial's schedule drew: some 200 events miss the average.

    Older files lack it; the received rate replaces it, which is near it for all but pollers.
    """
    known = trial.values if trial else {}
    drawn = known.get("due_events_per_s") or known.get("received_events_per_s")
    rate_hz = drawn / plan.subscribers if drawn else plan.rate_hz / plan.rooms
    interval_s = trial.poll_interval_s if trial else plan.poll_interval_s
    return Conditions(plan.rtt_ms, rate_hz, interval_s, plan.hold_s)


def predict(transport: str, plan: Plan, idle: Mapping[str, Idle], trial: Trial | None = None) -> dict[str, float]:
    """Metric -> prediction, for every metric that theory covers."""
    of = conditions(plan, trial)
    latency = predict_latency(transport, of)
    found = {
        "latency_ms_p50": float(latency.quantile_ms(0.50)),
        "latency_ms_p95": float(latency.quantile_ms(0.95)),
        "requests_per_event": requests_per_event(transport, of),
    }
    events = (plan.warmup_events + plan.measured_events) // plan.rooms
    cycle = idle.get(transport)
    if cycle is not None and trial is not None:
        cycle = cycle.of_block(trial.block)
    size = predict_bytes(transport, of, plan.payload_bytes, plan.rooms // 2, max(1, events // 2), cycle)
    return found if size is None else {**found, "wire_bytes_per_event": size}


def is_plain(plan: Plan) -> bool:
    """Does the network only delay? The formulas know neither jitter nor a bandwidth limit nor loss."""
    return bool(plan.rtt_ms) and not (plan.jitter_ms or plan.bandwidth_mbit_s or plan.loss)


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
