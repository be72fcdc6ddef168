"""Chat: rooms of people who write now and then. How soon is a message stored, and seen by all? Pure."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from bench.generators.scripts.chat import SEEN, SENT, TYPED, TYPING
from bench.scenarios.scenario import Arm, Recorded, Scenario, Size, percentiles
from feed.instruments.clock import NS_PER_MS

DRAIN_S: Final = 0.5


def duration_s(options: Mapping[str, Any]) -> float:
    """Until the last post has been seen by streams."""
    return float(options["stops_s"] + DRAIN_S)


def metrics(found: Recorded) -> dict[str, float]:
    """Of all posts. One without an acknowledgement may have been stored or not, and is only counted."""
    sent, seen = found.rows[SENT], found.rows[SEEN]
    acked = sent["seq"] > 0
    due_ns = dict(zip(zip(sent["room"][acked], sent["seq"][acked], strict=True), sent["due_ns"][acked], strict=True))
    readers = found.option("room_size")
    last_ns: dict[tuple[int, int], int] = {}
    copies: set[tuple[int, int, int]] = set()
    out_of_order = 0
    newest: dict[int, int] = {}
    for subscriber, room, seq, receive_ns in zip(*seen.values(), strict=True):
        message = (room, seq)
        last_ns[message] = max(last_ns.get(message, 0), receive_ns)
        out_of_order += seq < newest.get(subscriber, 0)
        newest[subscriber] = max(seq, newest.get(subscriber, 0))
        copies.add((subscriber, room, seq))
    seen_by_all = [message for message in due_ns if message in last_ns]
    acks_ms = (sent["acked_ns"][acked] - sent["due_ns"][acked]) / NS_PER_MS
    spreads_ms = np.array([(last_ns[of] - due_ns[of]) / NS_PER_MS for of in seen_by_all])
    counted = {
        "messages_unacknowledged": float(np.count_nonzero(~acked)),
        "messages_lost": float(len(due_ns) * readers - sum((room, seq) in due_ns for _, room, seq in copies)),
        "messages_repeated": float(len(seen["seq"]) - len(copies)),
        "messages_out_of_order": float(out_of_order),
    }
    if not len(copies):
        return counted
    return {
        **counted,
        **percentiles("ack_ms", acks_ms),
        **percentiles("seen_by_all_ms", spreads_ms),
        **percentiles("typing_ms", _typing_ms(found)),
        "wire_bytes_per_message": (found.moved.stream_bytes + found.moved.header_bytes) / len(copies),
        "server_cpu_us_per_message": found.server_busy_us / len(copies),
    }


def _typing_ms(found: Recorded) -> np.ndarray:
    """From the start of typing until another member is told: each writer's turns in their order."""
    typed, told = found.rows[TYPED], found.rows[TYPING]
    lags: list[float] = []
    for writer in np.unique(typed["subscriber"]).tolist():
        begun = np.sort(typed["sent_ns"][typed["subscriber"] == writer])
        mine = (told["writer"] == writer) & (told["subscriber"] != writer)
        turns = np.searchsorted(begun, told["receive_ns"][mine], side="right") - 1
        lags += ((told["receive_ns"][mine][turns >= 0] - begun[turns[turns >= 0]]) / NS_PER_MS).tolist()
    return np.array(lags)


CHAT: Final = Scenario(
    name="chat",
    options={"room_size": 20, "posts_hz": 0.25, "text_bytes": 200, "types_s": 1.0, "stops_s": 10.0},
    arms={"as people write, scaled up": Arm()},
    sizes={
        "default": Size(5, {"subscribers": 100}, {}, with_arms=True),
        "smoke": Size(
            1,
            {"subscribers": 10, "poll_interval_s": 0.2},
            {"room_size": 5, "posts_hz": 2.0, "types_s": 0.1, "stops_s": 2.0},
            with_arms=False,
        ),
    },
    duration_s=duration_s,
    metrics=metrics,
    store=True,
)
