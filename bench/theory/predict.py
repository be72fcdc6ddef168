"""What theory predicts for a trial, by the names of its metrics. Pure.

Validity holds every trial against it (``bench.trial.plausible``), and the report shows what is measured above it.
"""

from collections.abc import Mapping

from bench.results.run import Idle, Plan, Trial
from bench.theory.bytes import predict_bytes
from bench.theory.latency import Conditions, predict_latency, requests_per_event


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
