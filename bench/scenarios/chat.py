"""Chat: rooms of people who write now and then. How soon is a message stored, and seen by all? Pure."""

from collections import Counter
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
    seen_by: Counter[tuple[int, int]] = Counter()
    copies: set[tuple[int, int, int]] = set()
    out_of_order = 0
    newest: dict[int, int] = {}
    for subscriber, room, seq, receive_ns in zip(*seen.values(), strict=True):
        message = (room, seq)
        last_ns[message] = max(last_ns.get(message, 0), receive_ns)
        out_of_order += seq < newest.get(subscriber, 0)
        newest[subscriber] = max(seq, newest.get(subscriber, 0))
        seen_by[message] += (subscriber, room, seq) not in copies
        copies.add((subscriber, room, seq))
    seen_by_all = [message for message in due_ns if seen_by[message] == readers]
    acks_ms = (sent["acked_ns"][acked] - sent["due_ns"][acked]) / NS_PER_MS
    spreads_ms = np.array([(last_ns[of] - due_ns[of]) / NS_PER_MS for of in seen_by_all])
    counted = {
        "messages_unacknowledged": float(np.count_nonzero(~acked)),
        "messages_lost": float(len(due_ns) * readers - sum((room, seq) in due_ns for _, room, seq in copies)),
        "messages_repeated": float(len(seen["seq"]) - len(copies) + found.left_out),
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
    """From the instant typing is due to begin until others are told: for each turn the mean over those who are.

    Notices bear no number: a reader's first one of a writer is of that writer's first turn, and so on. Where a reader
    has not one for each turn, none of them count.
    """
    typed, told = found.rows[TYPED], found.rows[TYPING]
    lags: list[float] = []
    for writer in np.unique(typed["subscriber"]).tolist():
        due_ns = np.sort(typed["due_ns"][typed["subscriber"] == writer])
        mine = (told["writer"] == writer) & (told["subscriber"] != writer)
        readers = [
            told["receive_ns"][mine & (told["subscriber"] == reader)] for reader in np.unique(told["subscriber"][mine])
        ]
        whole = [np.sort(receive_ns) for receive_ns in readers if len(receive_ns) == len(due_ns)]
        if whole:
            lags += ((np.mean(whole, axis=0) - due_ns) / NS_PER_MS).tolist()
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
