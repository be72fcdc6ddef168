"""Collaborative editing: several type in one document. How soon do others see a key, and do all end alike? Pure."""

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, Final

import numpy as np

from bench.generators.scripts.collab import FINAL, SEEN, TYPED
from bench.scenarios.scenario import Arm, Recorded, Scenario, Size, percentiles
from feed.instruments.clock import NS_PER_MS

DRAIN_S: Final = 0.5


def duration_s(options: Mapping[str, Any]) -> float:
    """Until the last key has been seen by streams."""
    return float(options["types_s"] + DRAIN_S)


def metrics(found: Recorded) -> dict[str, float]:
    """Of all keys that were acknowledged, and all other writers of the document."""
    every, seen = found.rows[TYPED], found.rows[SEEN]
    typed = {field: column[every["update"] > 0] for field, column in every.items()}
    writers = found.option("writers")
    due_ns = dict(zip(zip(typed["subscriber"] // writers, typed["update"], strict=True), typed["due_ns"], strict=True))
    keys = list(zip(seen["subscriber"] // writers, seen["update"], strict=True))
    copies = set(zip(seen["subscriber"].tolist(), seen["update"].tolist(), strict=True))
    lags_ns = [at - due_ns[key] for key, at in zip(keys, seen["receive_ns"], strict=True) if key in due_ns]
    expected = len(due_ns) * (writers - 1)
    counted = {
        "keys_unacknowledged": float(len(every["update"]) - len(due_ns)),
        "keys_lost": float(expected - sum((who // writers, update) in due_ns for who, update in copies)),
        "keys_repeated": float(len(keys) - len(copies) + found.left_out),
        **_differences(found),
    }
    if not len(due_ns):
        return counted
    return {
        **counted,
        **percentiles("visible_ms", np.array(lags_ns) / NS_PER_MS),
        **percentiles("key_ack_ms", (typed["acked_ns"] - typed["due_ns"]) / NS_PER_MS),
        "wire_bytes_per_key": (found.moved.stream_bytes + found.moved.header_bytes) / len(due_ns),
        "server_cpu_us_per_key": found.server_busy_us / len(due_ns),
    }


def _differences(found: Recorded) -> dict[str, float]:
    """How many documents ended with different texts, or with none, and by how many characters they differ."""
    texts = texts_of(found)
    writers = found.option("writers")
    documents = [
        [texts.get(writer, "") for writer in range(first, first + writers)]
        for first in range(0, found.plan.subscribers, writers)
    ]
    apart = [copies for copies in documents if len(set(copies)) > 1 or not copies[0]]
    return {
        "documents_apart": float(len(apart)),
        "characters_apart": float(sum(differing(copies[0], other) for copies in apart for other in copies[1:])),
    }


def texts_of(found: Recorded) -> dict[int, str]:
    """Writer -> its text at the end."""
    rows = found.rows[FINAL]
    texts: dict[int, list[str]] = {}
    for writer, _, character in zip(*rows.values(), strict=True):
        texts.setdefault(int(writer), []).append(chr(character))
    return {writer: "".join(characters) for writer, characters in texts.items()}


def differing(one: str, other: str) -> int:
    """Characters of both that are lost or displaced: not part of what they have in common in the same order."""
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    common = sum(block.size for block in matcher.get_matching_blocks())
    return len(one) + len(other) - 2 * common


COLLAB: Final = Scenario(
    name="collab",
    options={"writers": 3, "engine": "crdt", "edits_hz": 5.0, "types_s": 8.0},
    arms={"Yjs's CRDT": Arm(), "positions as they come (naive)": Arm({"engine": "naive"})},
    sizes={
        "default": Size(5, {"subscribers": 30}, {}, with_arms=True),
        "smoke": Size(1, {"subscribers": 6, "poll_interval_s": 0.2}, {"types_s": 2.0}, with_arms=False),
    },
    duration_s=duration_s,
    metrics=metrics,
    store=True,
)
