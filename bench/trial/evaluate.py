"""Fills the record of a trial from its measurement: counts, metrics, samples, and whether it is valid."""

from typing import Any, Final, NamedTuple

import numpy as np

from bench.generators.spec import Records
from bench.generators.window import Window
from bench.plan.timing import LATE_MS, latest_ms
from bench.plan.trials import TrialPlan, schedule_of
from bench.results.catalogue import METRICS
from bench.results.metric import BELOW_NOISE
from bench.results.run import Plan, Trial
from bench.trial import metrics, validity
from bench.trial.case import Case
from bench.trial.channel import TrialError, UnfitError
from bench.trial.context import RunContext
from bench.trial.observe import observe
from bench.trial.planned import unplanned
from bench.trial.plausible import implausible
from feed.transports import TRANSPORTS

SAMPLES_FOLDER: Final = "samples"
CUT_BY_EDGES: Final = (
    "payload_bytes_per_event",
    "framing_bytes_per_event",
    "tcp_ip_bytes_per_event",
    "heartbeat_bytes_per_event",
    "wire_bytes_per_event",
    "segments_per_event",
)


class Measurement(NamedTuple):
    """Records and readings of one trial."""

    part: Window
    start_ns: int
    """The instant from which the schedule counts (CLOCK_MONOTONIC)."""
    published: int
    gauges: metrics.Gauges
    records: list[Records]
    handshakes: dict[str, float]
    """Metrics of handshakes on their own; empty unless the trial is about TLS."""


def evaluate(context: RunContext, trial: TrialPlan, record: Trial, measured: Measurement) -> None:
    """Fill the record. Raises ``TrialError`` if subscribers failed, or without deliveries, or with impossible ones."""
    plan, part, gauges, records = context.plan, measured.part, measured.gauges, measured.records
    samples = _samples(plan, trial, measured)
    record.counts = metrics.count(
        samples, records, part, plan.rooms, plan.subscribers, _late_after_ms(plan, trial, gauges)
    )
    cycles = context.idle.get(trial.transport)
    idle = cycles.of_block(trial.block) if cycles else None
    record.metrics = {
        **metrics.latency_metrics(samples, records, part, plan.rooms),
        **metrics.byte_metrics(
            records, trial.transport, gauges.window_s, plan.subscribers, idle, trial.poll_interval_s
        ),
        **metrics.cost_metrics(records, gauges, plan.subscribers),
        "due_events_per_s": record.counts.expected / gauges.window_s,
        **measured.handshakes,
    }
    record.latency_ms = metrics.probe_percentiles(samples, records, part, plan.rooms)
    record.notes = metrics.unsupported(plan, records, part) + below_noise(record.metrics)
    record.samples = _save_samples(context, record, samples, records)
    record.details |= {"server_stats": gauges.server_stats, "relay_stats": gauges.relay_stats}
    record.details["scheduling"] = [["probes" if of.probes else "load", of.scheduling] for of in records]
    record.observed = observe(plan, trial, idle, records, gauges, samples)
    if trial.purpose == "cost":
        record.notes += drop_cut_bytes(record.metrics, records)
    case = Case(plan, trial, idle, record.metrics, record.observed, record.details)
    record.reasons = [
        *_reasons(plan, trial, record, measured),
        *implausible(case),
        *unplanned(case),
        *context.relay_reasons.get(trial.rtt_ms, ()),
    ]
    if record.reasons:
        record.status = "invalid"


def below_noise(found: dict[str, float]) -> list[str]:
    """Costs of which nothing is left but the noise of the idle server, a sentence each."""
    return [f"{METRICS[name].label}: {BELOW_NOISE}" for name, x in found.items() if METRICS[name].is_below_noise(x)]


def drop_cut_bytes(found: dict[str, float], records: list[Records]) -> list[str]:
    """Leave bytes per event out where they are impossible in the measured part, but not from before to after it.

    What the kernel has received at an edge of the measured part, and the client has not read yet, is cut off: of events
    with 16 KiB that is more than all framing. If it is more than ``validity.CUT_SHARE``, as with a few events to
    thousands of subscribers, the cost is not to be trusted either, and the trial stays invalid for its negative part.
    """
    if found.get("framing_bytes_per_event", 0.0) >= 0 or any(not of.quiet or not of.drained for of in records):
        return []
    moved = metrics.totals(records, "quiet", "drained")
    parts = found["payload_bytes_per_event"] + found["framing_bytes_per_event"]
    cut = 1 - parts * moved.deliveries / moved.stream_bytes if moved.stream_bytes >= moved.payload_bytes > 0 else 1.0
    if cut > validity.CUT_SHARE:
        return []
    for name in CUT_BY_EDGES:
        found.pop(name, None)
    return [f"bytes per event: an edge of the measured part cut {cut:.1%} of them, and the cost may be off by as much"]


def _samples(plan: Plan, trial: TrialPlan, measured: Measurement) -> metrics.Samples:
    """The deliveries of the measured part; raises as ``evaluate``."""
    part, records = measured.part, measured.records
    failures = [failure for process in records for failure in process.failures]
    if failures:
        raise TrialError(f"{len(failures)} subscribers failed; the first: {failures[0]}")
    samples = metrics.measured_samples(records, part, plan.rooms)
    if not len(samples.n):
        raise _nothing(measured, schedule_of(plan, trial).limit)
    wrong = metrics.wrong_dues(samples, part, plan.rooms, measured.start_ns)
    if wrong:
        raise TrialError(f"{wrong} deliveries came with another due instant than scheduled")
    return samples


def _nothing(measured: Measurement, scheduled: int) -> TrialError:
    """Why nothing was delivered: a publisher that did not come round to it tells nothing of the transport."""
    text = f"nothing was delivered of {len(measured.part.events)} events, so nothing was measured"
    if measured.published < scheduled:
        return UnfitError(f"{text}: {measured.published} of {scheduled} events were published in time")
    return TrialError(text)


def _reasons(plan: Plan, trial: TrialPlan, record: Trial, measured: Measurement) -> list[str]:
    """Why the trial is invalid; empty if it is valid."""
    assert record.counts is not None
    if trial.purpose in ("cost", "tls"):
        found = validity.cost_reasons(record.metrics, record.counts, TRANSPORTS[trial.transport].is_poll)
        if plan.schedule == "constant":
            received = metrics.totals(measured.records, "begin", "end").deliveries
            found += validity.cut_reasons(received, record.counts.expected)
    elif trial.purpose == "saturation":
        found = validity.saturation_reasons(record.metrics)
    else:
        found = validity.reasons(record.metrics, _unrecorded(measured))
    found += validity.collector_reasons(trial.gc, measured.gauges.server_stats["collector"])
    scheduled = schedule_of(plan, trial).limit
    if measured.published != scheduled:
        found.append(
            f"the publisher was the bottleneck: {measured.published} of {scheduled} events were published in time"
        )
    return found


def _late_after_ms(plan: Plan, trial: TrialPlan, gauges: metrics.Gauges) -> float | None:
    """The latency above which a delivery is late; ``None`` where the network alone may delay it by any time."""
    if trial.rtt_ms and (plan.loss or plan.bandwidth_mbit_s):
        return None
    return latest_ms(plan, trial) + LATE_MS + metrics.worst_hiccup_ms(gauges.hiccups + gauges.drain_hiccups)


def _unrecorded(measured: Measurement) -> int:
    """The number of latenesses above the range of their meters."""
    gauges = measured.gauges
    meters: list[dict[str, Any]] = [gauges.server_stats["publisher_lateness"], gauges.server_stats["loop_lag"]]
    if gauges.relay_stats:
        meters.append(gauges.relay_stats["release_lateness"])
    meters += [process.loop_lag for process in measured.records]
    return int(sum(meter["unrecorded"] for meter in meters))


def _save_samples(context: RunContext, record: Trial, samples: metrics.Samples, records: list[Records]) -> str:
    """Write the probes' samples, compressed: subscriber, room, n, due_ns, receive_ns. Returns the file's name."""
    probes = metrics.probed(samples, records)
    name = f"{SAMPLES_FOLDER}/{record.id}-{record.attempt}.npz"
    np.savez_compressed(context.folder / name, room=probes.subscriber % context.plan.rooms, **probes._asdict())
    return name
