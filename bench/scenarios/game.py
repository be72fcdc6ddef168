"""Game: a match that is shown tick by tick. How soon does a player see what it did, how many frames are late? Pure."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.generators.scripts.game import INPUT, SNAPSHOT
from bench.scenarios.scenario import Arm, Column, Recorded, Scenario, Size, percentiles
from feed.game import MAX_PLAYERS
from feed.instruments.clock import NS_PER_MS, NS_PER_S

BUFFER_TICKS: Final = 2
"""A snapshot is shown so long after the fastest one's way (Source's ``cl_interp``: 100 ms at 20 Hz)."""
LONGEST_NS: Final = 2**62
SHOWN_WITHIN_S: Final = 1.0
"""An input that is shown later counts as not shown."""


def duration_s(options: Mapping[str, Any]) -> float:
    """As long as they play, so that bytes and CPU are those of play."""
    return float(options["plays_s"])


def metrics(found: Recorded) -> dict[str, float]:
    """Of all players, and the ticks that are due while they play."""
    begin_ns = found.start_ns + round(found.plan.scenario_begin_s * NS_PER_S)
    end_ns = found.start_ns + round(found.option("plays_s") * NS_PER_S)
    inputs, snapshots = found.rows[INPUT], found.rows[SNAPSHOT]
    measured = (snapshots["due_ns"] >= begin_ns) & (snapshots["due_ns"] < end_ns)
    received = {field: column[measured] for field, column in snapshots.items()}
    counted = {
        "inputs_unanswered": float(np.count_nonzero(inputs["answered"] == 0)),
        "inputs_unshown": float(_unshown(inputs, snapshots, end_ns)),
        "snapshots_repeated": float(found.left_out),
    }
    if not len(received["tick"]):
        return counted
    until_ns = end_ns + round(found.poll_interval_s * NS_PER_S)
    came = np.count_nonzero((snapshots["receive_ns"] >= begin_ns) & (snapshots["receive_ns"] < until_ns))
    tick_ns, players = NS_PER_S / int(found.option("tick_hz")), range(found.plan.subscribers)
    match_of = received["subscriber"] // MAX_PLAYERS
    # A tick that somebody in the match has seen was there for all.
    shown = [len(np.unique(received["tick"][match_of == player // MAX_PLAYERS])) for player in players]
    late = 0
    jitters_ms: list[NDArray[np.float64]] = []
    for player in players:
        of = received["subscriber"] == player
        lags_ns = received["receive_ns"][of] - received["due_ns"][of]
        late += int(np.count_nonzero(lags_ns - lags_ns.min(initial=LONGEST_NS) > BUFFER_TICKS * tick_ns))
        jitters_ms.append(np.abs(np.diff(np.sort(received["receive_ns"][of])) - tick_ns) / NS_PER_MS)
    lost = sum(shown) - len(received["tick"])
    return {
        **counted,
        "snapshots_lost": float(lost),
        "late_frame_share": (late + lost) / sum(shown),
        **percentiles("jitter_ms", np.concatenate(jitters_ms)),
        **percentiles("snapshot_ms", (received["receive_ns"] - received["due_ns"]) / NS_PER_MS),
        **percentiles("input_to_snapshot_ms", echoes_ms(inputs, snapshots, begin_ns)),
        "wire_bytes_per_s": (found.moved.stream_bytes + found.moved.header_bytes) / found.window_s / len(players),
        "sent_bytes_per_s": found.moved.sent_bytes / found.window_s / len(players),
        "server_cpu_us_per_snapshot": found.server_busy_us / max(1, int(came)),
    }


def echoes_ms(inputs: Mapping[str, Column], snapshots: Mapping[str, Column], begin_ns: int) -> NDArray[np.float64]:
    """From the instant each input is due to its player's first snapshot in which it, or a newer one, is applied."""
    found: list[NDArray[np.float64]] = []
    for player in np.unique(inputs["subscriber"]).tolist():
        asked = (inputs["subscriber"] == player) & (inputs["due_ns"] >= begin_ns)
        seen = snapshots["subscriber"] == player
        applied, receive_ns = snapshots["own_n"][seen], snapshots["receive_ns"][seen]
        first = np.searchsorted(applied, inputs["n"][asked], side="left")
        shown = first < len(applied)
        found.append((receive_ns[first[shown]] - inputs["due_ns"][asked][shown]) / NS_PER_MS)
    return np.concatenate(found) if found else np.array([])


def _unshown(inputs: Mapping[str, Column], snapshots: Mapping[str, Column], end_ns: int) -> int:
    """How many inputs, but for the last ones, no snapshot of their player shows."""
    count = 0
    for player in np.unique(inputs["subscriber"]).tolist():
        asked = (inputs["subscriber"] == player) & (inputs["due_ns"] < end_ns - SHOWN_WITHIN_S * NS_PER_S)
        newest = snapshots["own_n"][snapshots["subscriber"] == player].max(initial=0)
        count += int(np.count_nonzero(inputs["n"][asked] > newest))
    return count


GAME: Final = Scenario(
    name="game",
    options={"tick_hz": 20, "snapshots": "delta", "plays_s": 8.0},
    arms={
        "20 ticks a second": Arm(),
        "30 ticks a second": Arm({"tick_hz": 30}),
        "60 ticks a second": Arm({"tick_hz": 60}),
        "20 ticks a second, full snapshots": Arm({"snapshots": "full"}),
        "20 ticks a second, 1 % loss (modelled)": Arm(plan={"loss": 0.01}),
    },
    sizes={
        "default": Size(5, {"subscribers": MAX_PLAYERS}, {}, with_arms=True),
        "smoke": Size(1, {"subscribers": 4}, {"plays_s": 2.0}, with_arms=False),
    },
    duration_s=duration_s,
    metrics=metrics,
    poll_interval_s=lambda options: 1 / options["tick_hz"],
)
