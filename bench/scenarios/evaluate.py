"""Fills the record of a scenario's trial from its measurement: metrics, and whether it is valid."""

import numpy as np

from bench.generators.scripts.registry import SCRIPTS
from bench.generators.spec import Records
from bench.plan.trials import TrialPlan, service_seed
from bench.results.run import Plan, Trial
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.scenario import Column, Recorded, impossible
from bench.trial import metrics, validity
from bench.trial.channel import TrialError
from bench.trial.context import RunContext
from bench.trial.evaluate import Measurement
from feed.instruments.clock import NS_PER_S
from feed.transports import POLLING


def evaluate(context: RunContext, trial: TrialPlan, record: Trial, measured: Measurement) -> None:
    """Fill the record. Raises ``TrialError`` if subscribers failed."""
    plan, gauges, records = context.plan, measured.gauges, measured.records
    failures = [failure for process in records for failure in process.failures]
    if failures:
        raise TrialError(f"{len(failures)} subscribers failed; the first: {failures[0]}")
    common = {
        **metrics.byte_metrics(
            records, trial.transport, gauges.window_s, plan.subscribers, None, trial.poll_interval_s
        ),
        **metrics.cost_metrics(records, gauges, plan.subscribers),
    }
    busy_ns = gauges.server_cpu_ns - gauges.server_idle_share * gauges.window_s * NS_PER_S
    moved = metrics.totals(records, "begin", "end")
    interval_s = trial.poll_interval_s if trial.transport == POLLING else 0.0
    idle = context.idle.get(trial.transport)
    found = Recorded(
        plan,
        measured.start_ns,
        rows_of(plan, records),
        moved,
        busy_ns / 1000,
        interval_s,
        idle and idle.of_block(trial.block),
        service_seed(trial.seed),
        sum(process.counts["left_out"] for process in records),
    )
    # A connection that breaks is no reason to measure again: what it loses counts.
    broken = {"connections_broken": float(sum(process.counts["reconnects"] for process in records))}
    record.metrics = {**common, **broken, **SCENARIOS[plan.scenario].metrics(found)}
    record.details |= {"server_stats": gauges.server_stats, "relay_stats": gauges.relay_stats}
    record.reasons = [
        *validity.reasons(record.metrics, 0),
        *impossible(record.metrics, trial.rtt_ms),
        *context.relay_reasons.get(trial.rtt_ms, ()),
    ]
    if record.reasons:
        record.status = "invalid"


def rows_of(plan: Plan, records: list[Records]) -> dict[str, dict[str, Column]]:
    """Everything that the script recorded in all processes."""
    found: dict[str, dict[str, Column]] = {}
    for kind, fields in SCRIPTS[plan.scenario].FIELDS.items():
        data = b"".join(process.rows.get(kind, b"") for process in records)
        table = np.frombuffer(data, dtype=np.int64).reshape(-1, len(fields))
        found[kind] = {field: table[:, column] for column, field in enumerate(fields)}
    return found
