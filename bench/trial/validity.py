"""When a trial says nothing about its transport, because something else was the bottleneck. Pure.

The bounds were set before the runs that they judge (decisions 0007 and 0010). An invalid trial is shown with its
reasons and never averaged in.
Events lost, repeated or out of order and broken connections do not make a trial invalid: the transport caused them,
and the report shows them next to its row.
"""

from typing import Any, Final, NamedTuple

from bench.results.run import Counts
from bench.trial.drift import LEAST_SHARE


class Bound(NamedTuple):
    """The largest allowed value of a metric, and what a larger one means."""

    limit: float
    text: str
    """The reason, with the value in place of ``{}``."""
    form: str
    """How value and limit are written."""


SERVER_CPU_SHARE: Final = 0.95
SATURATED_CPU_SHARE: Final = 0.9
CUT_SHARE: Final = 0.05
"""Share of the deliveries, or of their bytes, that an edge of the measured part may cut: costs repeat within 10 to 15 %
(docs/method.md)."""

# The collector is off from the start of the feed, so that any pause is one too many.
GENERATOR_GC: Final = {
    "generator_gc_pause_ms_max": Bound(
        0.0, "the generator was the bottleneck: its garbage collector ran for {} ms", ".2f"
    ),
}

BOUNDS: Final = {
    "generator_cpu_share": Bound(0.9, "the generator was the bottleneck: it used {} of a core", ".0%"),
    "relay_lateness_us_p99": Bound(
        1000.0, "the relay was the bottleneck: it released segments {} µs late (p99)", ".0f"
    ),
    "publisher_lateness_us_p50": Bound(
        1000.0, "the publisher was the bottleneck: it published events {} µs late (p50)", ".0f"
    ),
    # A twentieth of the cores' time taken away delays what falls into it by whole scheduling slices.
    "steal_share": Bound(0.05, "the hypervisor took {} of the cores' time", ".1%"),
    "other_load_share": Bound(0.10, "other processes used {} of the cores' time", ".1%"),
    # As late as the probes' own loop may be: a host that stalls so often adds to every latency.
    "hiccup_ms_p99": Bound(5.0, "the host stalled: 1 ms timers were {} ms late (p99)", ".1f"),
    # ``bench.trial.drift`` gives another value only if it is sure and of interest.
    "drift_share": Bound(LEAST_SHARE, "latency drifted: the medians of the two halves differ by {}", ".0%"),
    "probe_loop_lag_us_p99": Bound(
        5000.0, "the probes were the bottleneck: their event loop lagged {} µs (p99)", ".0f"
    ),
    **GENERATOR_GC,
}

COST_BOUNDS: Final = {
    "server_cpu_share": Bound(SERVER_CPU_SHARE, "the server was saturated, and merges work then: {} of a core", ".0%"),
    "generator_cpu_share": Bound(SERVER_CPU_SHARE, "the generator was saturated and fell behind: {} of a core", ".0%"),
}
"""What makes the cost of a stream's delivery untrue. Lateness does not: a fan-out lasts as long as it costs."""


def cost_reasons(metrics: dict[str, float], counts: Counts, closed_loop: bool) -> list[str]:
    """Why the cost that this trial measured does not count; empty if it does.

    ``closed_loop``: pollers that are busy ask less often. That is part of the cost of polling at such a load; the
    events per response say how far it went.
    """
    found = _over(metrics, GENERATOR_GC if closed_loop else COST_BOUNDS | GENERATOR_GC)
    if counts.lost or counts.reconnects:
        found.append(f"{counts.lost} deliveries were lost, {counts.reconnects} connections broke")
    return found


def cut_reasons(received: int, expected: int) -> list[str]:
    """Whether the measured part of a constant schedule, whose edges lie where nothing should be on its way, cut more
    than ``CUT_SHARE`` of its deliveries: a long pause of the server's collector delays them beyond the end."""
    if abs(received - expected) <= CUT_SHARE * expected:
        return []
    return [f"{received:,} deliveries came within the measured part, {expected:,} of it were due: an edge cut them"]


def collector_reasons(asked: str, collector: dict[str, Any]) -> list[str]:
    """Whether the server's garbage collector was as asked for: only a tuned one has frozen what the start left."""
    found = "off" if not collector["enabled"] else "tuned" if collector["frozen_objects"] else "default"
    return [] if found == asked else [f"the server's garbage collector was {found}, planned {asked}"]


def saturation_reasons(metrics: dict[str, float]) -> list[str]:
    """Why a generator under too much load did not show the most that it can receive; empty if it did."""
    found = _over(metrics, {"server_cpu_share": COST_BOUNDS["server_cpu_share"], **GENERATOR_GC})
    if metrics["generator_cpu_share"] < SATURATED_CPU_SHARE:
        found.append(f"the generator was not saturated: it used {metrics['generator_cpu_share']:.0%} of a core")
    return found


def reasons(metrics: dict[str, float], unrecorded: int) -> list[str]:
    """Why this trial is invalid; empty if it is valid."""
    found = _over(metrics, BOUNDS)
    if unrecorded:
        found.append(f"{unrecorded} latenesses were too large for their meter")
    return found


def _over(metrics: dict[str, float], bounds: dict[str, Bound]) -> list[str]:
    return [
        f"{bound.text.format(format(metrics[name], bound.form))}, allowed {bound.limit:{bound.form}}"
        for name, bound in bounds.items()
        if metrics.get(name, 0.0) > bound.limit
    ]
