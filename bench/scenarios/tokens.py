"""Tokens: an answer comes a few bytes at a time. How soon, how evenly, and at what cost per token? Pure."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from bench.generators.scripts.tokens import ANSWER, TOKEN
from bench.scenarios.scenario import Arm, Recorded, Scenario, Size, percentiles
from feed.instruments.clock import NS_PER_MS, NS_PER_S

DRAIN_S: Final = 0.2
"""Two transits of the broadband network and a little; what polls bring later still counts, but not its bytes."""


def duration_s(options: Mapping[str, Any]) -> float:
    """Until the last token of the answer that was asked for last is there."""
    answer_s = options["first_delay_s"] + options["tokens"] / options["rate_hz"]
    return float(options["asked_within_s"] + answer_s + DRAIN_S)


def metrics(found: Recorded) -> dict[str, float]:
    """Of all readers and tokens. A reader that got nothing of an answer has lost all of its tokens."""
    answers, tokens = found.rows[ANSWER], found.rows[TOKEN]
    readers, expected = found.option("readers"), found.option("tokens")
    start_ns = dict(zip(answers["subscriber"] // readers, answers["start_ns"], strict=True))
    asked_ns = dict(zip(answers["subscriber"] // readers, answers["asked_ns"], strict=True))
    first_ms: list[float] = []
    gaps_ms: list[np.ndarray] = []
    latencies_ms: list[np.ndarray] = []
    delivered = repeated = reads = 0
    for subscriber in np.unique(tokens["subscriber"]).tolist():
        mine = tokens["subscriber"] == subscriber
        counts = tokens["count"][mine]
        numbers = np.concatenate([n + np.arange(count) for n, count in zip(tokens["n"][mine], counts, strict=True)])
        received_ns = np.repeat(tokens["receive_ns"][mine], counts)
        reads += len(np.unique(received_ns))
        numbers, first = np.unique(numbers, return_index=True)
        delivered += len(numbers)
        repeated += len(received_ns) - len(numbers)
        received_ns = received_ns[first]
        room = subscriber // readers
        if room not in start_ns:
            continue
        due_ns = start_ns[room] + (found.option("first_delay_s") + numbers / found.option("rate_hz")) * NS_PER_S
        first_ms.append((received_ns[0] - asked_ns[room]) / NS_PER_MS)
        gaps_ms.append(np.diff(np.sort(received_ns)) / NS_PER_MS)
        latencies_ms.append((received_ns - due_ns) / NS_PER_MS)
    every = {
        "tokens_lost": float(found.plan.subscribers * expected - delivered),
        "tokens_repeated": float(repeated + found.left_out),
        **_silence(found),
    }
    if not delivered or not first_ms:
        return every
    return {
        **every,
        "first_token_ms_mean": float(np.mean(first_ms)),
        **percentiles("inter_token_ms", np.concatenate(gaps_ms)),
        **percentiles("token_latency_ms", np.concatenate(latencies_ms)),
        "tokens_per_read": delivered / reads,
        "wire_bytes_per_token": (found.moved.stream_bytes + found.moved.header_bytes) / delivered,
        "server_cpu_us_per_token": found.server_busy_us / delivered,
    }


def _silence(found: Recorded) -> dict[str, float]:
    """What a reader's connection moves by itself while the model says nothing for a minute."""
    if found.idle is None:
        return {}
    return {"wire_bytes_per_silent_minute": found.idle.cycle_bytes / found.idle.period_s * 60}


TOKENS: Final = Scenario(
    name="tokens",
    options={
        "readers": 1,
        "asked_within_s": 1.0,
        "tokens": 200,
        "rate_hz": 30.0,
        "first_delay_s": 0.5,
        "batch_tokens": 1,
        "batch_s": 0.0,
        "cut_share": 0.0,
    },
    arms={
        "one by one": Arm(),
        "by 5": Arm({"batch_tokens": 5}),
        "by 50 ms": Arm({"batch_tokens": 4096, "batch_s": 0.05}),
        "cut at 40 %": Arm({"cut_share": 0.4}),
    },
    sizes={
        "default": Size(5, {"subscribers": 20}, {}, with_arms=True),
        "smoke": Size(1, {"subscribers": 5, "poll_interval_s": 0.2}, {"tokens": 40, "rate_hz": 50.0}, with_arms=False),
    },
    duration_s=duration_s,
    metrics=metrics,
    needs_idle=True,
)
