"""Notifications: users who are idle nearly always. What does that cost, and how soon is one notified? Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from bench.generators.scripts.notifications import KEPT, SEEN, SENT
from bench.scenarios.scenario import Arm, Recorded, Scenario, Size, percentiles
from feed.instruments.clock import NS_PER_MS
from feed.transports import CONDITIONAL, POLLING

HOUR_S: Final = 3600
BEGIN_S: Final = 5.5
"""By then all are notified and the absent have come back, and the measured part begins, in which nothing happens."""
MOST_AWAY: Final = 5


def duration_s(options: Mapping[str, Any]) -> float:
    return float(BEGIN_S + options["idle_s"])


def metrics(found: Recorded) -> dict[str, float]:
    """Of all users. What an idle user moves is what its transport does by itself (``Recorded.idle``), or its polls."""
    every, seen, kept = found.rows[SENT], found.rows[SEEN], found.rows[KEPT]
    there = (every["recipient"] < found.plan.subscribers) & (every["seq"] > 0)
    sent = {field: column[there] for field, column in every.items()}
    received = Counter(zip(seen["subscriber"].tolist(), seen["seq"].tolist(), strict=True))
    first_ns: dict[tuple[int, int], int] = {}
    for user, seq, receive_ns in zip(*seen.values(), strict=True):
        first_ns.setdefault((user, seq), receive_ns)
    due_ns = dict(zip(zip(sent["recipient"], sent["seq"], strict=True), sent["due_ns"], strict=True))
    latencies_ms = [(first_ns[of] - due) / NS_PER_MS for of, due in due_ns.items() if of in first_ns]
    return {
        **percentiles("notification_ms", np.array(latencies_ms)),
        "notifications_unacknowledged": float(np.count_nonzero(every["seq"] == 0)),
        "notifications_lost": float(sum(of not in received for of in due_ns)),
        "notifications_repeated": float(sum(count - 1 for count in received.values()) + found.left_out),
        "notifications_missed": float(found.option("away") * found.option("kept") - np.sum(kept["found"])),
        **_idle_bytes(found),
        **_idle_cpu(found),
    }


def _idle_bytes(found: Recorded) -> dict[str, float]:
    """Polls come throughout the measured part; a heartbeat may not come in it at all."""
    if found.poll_interval_s:
        moved = found.moved.stream_bytes + found.moved.header_bytes
        per_hour = moved / found.plan.subscribers / found.window_s * HOUR_S
    elif found.idle is not None:
        per_hour = found.idle.cycle_bytes / found.idle.period_s * HOUR_S
    else:
        return {}
    return {"idle_bytes_per_user_hour": per_hour}


def _idle_cpu(found: Recorded) -> dict[str, float]:
    """Of polls alone: no heartbeat and no end of a hold comes in the measured part, so that nothing is measured."""
    if not found.poll_interval_s:
        return {}
    return {"idle_cpu_us_per_user_hour": found.server_busy_us / found.plan.subscribers / found.window_s * HOUR_S}


NOTIFICATIONS: Final = Scenario(
    name="notifications",
    options={"within_s": 4.0, "back_s": 4.5, "idle_s": 6.0, "text_bytes": 100, "away": MOST_AWAY, "kept": 3},
    arms={
        "polls every second": Arm(),
        "polls every 60 s, with 304": Arm(
            {"idle_s": 60.0},
            # A session ends without polls for a minute, unless it may take longer.
            {"poll_interval_s": 60.0, "server_options": {"session_timeout_s": "180", "poll_interval_hint_s": "60"}},
            (POLLING,),
            CONDITIONAL,
        ),
    },
    sizes={
        "default": Size(5, {"subscribers": 50}, {}, with_arms=True),
        "smoke": Size(1, {"subscribers": 25}, {"idle_s": 2.0, "away": 2}, with_arms=False),
    },
    duration_s=duration_s,
    metrics=metrics,
    store=True,
    begin_s=BEGIN_S,
    users=MOST_AWAY,
    needs_idle=True,
)
