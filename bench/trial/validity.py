"""When a trial says nothing about its transport, because something else was the bottleneck. Pure.

The bounds were set before the runs that they judge (decisions 0007 and 0010). An invalid trial is shown with its
reasons and never averaged in.
Events lost, repeated or out of order and connections that broke do not make a trial invalid: they are what the
transport did, and the report shows them beside its row.
"""

from typing import Final

from bench.results.run import Counts

GENERATOR_CPU_SHARE: Final = 0.9
RELAY_LATENESS_US_P99: Final = 1000.0
PUBLISHER_LATENESS_US_P50: Final = 1000.0
PROBE_LOOP_LAG_US_P99: Final = 5000.0
STEAL_SHARE: Final = 0.05
"""A twentieth of the cores' time taken away delays what falls into it by whole scheduling slices."""
OTHER_LOAD_SHARE: Final = 0.10
"""A tenth of the cores' time used by others."""
HICCUP_MS_P99: Final = 5.0
"""As late as the probes' own loop may be: a host that stalls so often adds to every latency."""
DRIFT_SHARE: Final = 0.0
"""``bench.trial.drift`` gives another value only if it is sure and of interest."""

BOUNDS: Final = {
    "generator_cpu_share": (GENERATOR_CPU_SHARE, "the generator was the bottleneck: {:.2f} of a core"),
    "relay_lateness_us_p99": (RELAY_LATENESS_US_P99, "the relay was the bottleneck: p99 released {:.0f} us late"),
    "publisher_lateness_us_p50": (
        PUBLISHER_LATENESS_US_P50,
        "the publisher was the bottleneck: p50 published {:.0f} us late",
    ),
    "steal_share": (STEAL_SHARE, "the hypervisor took {:.2f} of the cores' time"),
    "other_load_share": (OTHER_LOAD_SHARE, "other processes used {:.2f} of the cores' time"),
    "hiccup_ms_p99": (HICCUP_MS_P99, "the host stalled: 1 ms timers {:.1f} ms late (p99)"),
    "drift_share": (DRIFT_SHARE, "the second half was {:.2f} of its median later than the first"),
    "probe_loop_lag_us_p99": (PROBE_LOOP_LAG_US_P99, "the probes were the bottleneck: loop lag p99 {:.0f} us"),
}

SERVER_CPU_SHARE: Final = 0.95
SATURATED_CPU_SHARE: Final = 0.9

COST_BOUNDS: Final = {
    "server_cpu_share": (SERVER_CPU_SHARE, "the server was saturated, where work is merged: {:.2f} of a core"),
    "generator_cpu_share": (SERVER_CPU_SHARE, "the generator was saturated and fell behind: {:.2f} of a core"),
}
"""What makes the cost of a stream's delivery untrue. Lateness does not: a fan-out lasts as long as it costs."""


def cost_reasons(metrics: dict[str, float], counts: Counts, closed_loop: bool) -> list[str]:
    """Why the cost that this trial measured does not count; empty if it does.

    ``closed_loop``: pollers that are busy ask less often. That is part of what polling costs at such a load; the
    events per response say how far it went.
    """
    found = [] if closed_loop else _over(metrics, COST_BOUNDS)
    if counts.lost or counts.reconnects:
        found.append(f"{counts.lost} deliveries lost, {counts.reconnects} reconnections")
    return found


def saturation_reasons(metrics: dict[str, float]) -> list[str]:
    """Why what a generator received under too much load is not the most that it can receive; empty if it is."""
    found = _over(metrics, {"server_cpu_share": COST_BOUNDS["server_cpu_share"]})
    if metrics["generator_cpu_share"] < SATURATED_CPU_SHARE:
        found.append(f"the generator was not saturated: {metrics['generator_cpu_share']:.2f} of a core")
    return found


def reasons(metrics: dict[str, float], unrecorded: int) -> list[str]:
    """Why this trial is invalid; empty if it is valid."""
    found = _over(metrics, BOUNDS)
    if unrecorded:
        found.append(f"{unrecorded} latenesses could not be recorded")
    return found


def _over(metrics: dict[str, float], bounds: dict[str, tuple[float, str]]) -> list[str]:
    return [
        text.format(metrics[name]) + f", allowed {bound:g}"
        for name, (bound, text) in bounds.items()
        if metrics.get(name, 0.0) > bound
    ]
