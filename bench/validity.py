"""When a trial says nothing about its transport, because something else was the bottleneck. Pure.

The bounds were set before the first full run. An invalid trial is shown with its reasons and never averaged in.
Events lost, repeated or out of order do not make a trial invalid: they are what the transport did, and the report
shows them beside its row.
"""

from typing import Final

from bench.results import Counts

GENERATOR_CPU_SHARE: Final = 0.9
RELAY_LATENESS_US_P99: Final = 1000.0
PUBLISHER_LATENESS_US_P50: Final = 1000.0
PROBE_LOOP_LAG_US_P99: Final = 5000.0

BOUNDS: Final = {
    "generator_cpu_share": (GENERATOR_CPU_SHARE, "the generator was the bottleneck: {:.2f} of a core"),
    "relay_lateness_us_p99": (RELAY_LATENESS_US_P99, "the relay was the bottleneck: p99 released {:.0f} us late"),
    "publisher_lateness_us_p50": (
        PUBLISHER_LATENESS_US_P50,
        "the publisher was the bottleneck: p50 published {:.0f} us late",
    ),
    "probe_loop_lag_us_p99": (PROBE_LOOP_LAG_US_P99, "the probes were the bottleneck: loop lag p99 {:.0f} us"),
}


def reasons(metrics: dict[str, float], counts: Counts, unrecorded: int) -> list[str]:
    """Why this trial is invalid; empty if it is valid."""
    found = [
        text.format(metrics[name]) + f", allowed {bound:g}"
        for name, (bound, text) in BOUNDS.items()
        if metrics.get(name, 0.0) > bound
    ]
    if counts.reconnects:
        found.append(f"{counts.reconnects} connections broke and were made again")
    if unrecorded:
        found.append(f"{unrecorded} latenesses could not be recorded")
    return found
