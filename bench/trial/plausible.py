"""What no honest trial shows: the impossible, and facts that differ from the plan. Pure (docs/method.md has the table).

Each reason makes a trial invalid. The bounds come from honest trials; docs/decisions/0013 has the data.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from bench.plan.trials import TrialPlan
from bench.results.observed import Excess, Observed
from bench.results.run import Idle, Plan
from feed.transports import POLLING, TRANSPORTS

BYTES_BY_CAUSE: Final = (
    "payload_bytes_per_event",
    "framing_bytes_per_event",
    "tcp_ip_bytes_per_event",
    "heartbeat_bytes_per_event",
    "wire_bytes_per_event",
    "requests_per_event",
    "server_cpu_share",
    "relay_cpu_share",
    "generator_cpu_share",
    "setup_bytes_per_connection",
    "closing_bytes_per_connection",
)
SHARES: Final = ("server_user_share", "steal_share", "other_load_share")

FRAMING_B: Final = 3.0
"""Bytes per event; honest trials of streams are within 0.1, those of polls within 0.6."""
SENT_B: Final = 4.0
"""Bytes per request of a poller; honest trials are within 1."""


class Range(NamedTuple):
    """Allowed shares above what is predicted; negative: below."""

    low: float
    high: float


TCP_IP: Final[dict[str, Range]] = {
    "polling": Range(-0.25, 0.25),
    "long_polling": Range(-0.15, 0.30),
}
STREAM_TCP_IP: Final = Range(-0.15, 0.15)
REQUESTS: Final[dict[str, Range]] = {
    "polling": Range(-0.12, 0.05),
    "long_polling": Range(-0.60, 0.15),
}
PREDICTED_PURPOSES: Final = ("main", "curve", "loopback", "sensitivity", "aa")

AFTER_TICK_MS: Final = Range(-1.0, 12.0)
LEAST_RECORDED: Final = 0.33
LEAST_STAMPS: Final = 10
PERIOD: Final = Range(-0.05, 0.05)
"""Of heartbeats and polls, around the plan's."""
KUIPER: Final = 3.0
LEAST_PHASES: Final = 10
HOLD_EARLY_S: Final = 0.2
OWN_CLOCK: Final = ("sse", "websocket", "socketio")
"""Transports that count a connection's heartbeats from its beginning; others may have one clock for all."""

REQUEST_HEADERS: Final[dict[tuple[str, str], tuple[int, int]]] = {
    ("browser", "GET /poll"): (12, 427),
    ("browser", "GET /long-poll"): (12, 427),
    ("browser", "GET /sse"): (15, 503),
    ("browser", "GET /ws"): (11, 391),
    ("browser", "GET /socket.io/"): (12, 427),
}
"""Header set, and method and path -> number of headers and bytes of their lines, the server's address left out."""
IDLE_STREAM_B: Final[dict[tuple[str, str], tuple[int, int]]] = {
    ("browser", "polling"): (735, 755),
}


def implausible(
    plan: Plan, trial: TrialPlan, idle: Idle | None, metrics: Mapping[str, float], observed: Observed
) -> list[str]:
    """Why nothing honest measures this; empty if it is plausible."""
    return [
        *_impossible(plan, trial, metrics, observed),
        *_stamps(trial, observed),
        *_unpredicted(plan, trial, observed.excess),
        *_on_the_wire(plan, observed),
        *_periods(plan, trial, observed),
        *_collectors(observed),
    ]


def _impossible(plan: Plan, trial: TrialPlan, metrics: Mapping[str, float], observed: Observed) -> Iterator[str]:
    if observed.impossible:
        yield (
            f"{observed.impossible} deliveries came sooner than possible: the fastest took {observed.earliest_ms:.3f} "
            f"ms, one transit takes {trial.rtt_ms / 2:g} ms"
        )
    for name in BYTES_BY_CAUSE:
        if metrics.get(name, 0.0) < 0:
            yield f"{name} is {metrics[name]:.1f}: it cannot be negative"
    for name in SHARES:
        if not 0 <= metrics.get(name, 0.0) <= 1:
            yield f"{name} is {metrics[name]:.2f}: a share is 0 to 1"
    payload = metrics.get("payload_bytes_per_event", plan.payload_bytes)
    if payload != plan.payload_bytes:
        yield f"events had {payload:.2f} bytes of payload; planned are {plan.payload_bytes}"
