"""The metrics of the game: inputs that are shown or not, frames that are late or lost."""

from collections.abc import Mapping, Sequence

import pytest

from bench.scenarios.registry import SCENARIOS
from reports.table.suits import RULES
from tests.helpers.recorded import at, recorded


def game(rows: Mapping[str, Sequence[tuple[int, ...]]], players: int = 1) -> dict[str, float]:
    """20 ticks a second: one is due every 50 ms."""
    return SCENARIOS["game"].metrics(recorded("game", rows, players, tick_hz=20, plays_s=5.0))


def snapshots(late_ms: Mapping[int, float], player: int = 0, without: Sequence[int] = ()) -> list[tuple[int, ...]]:
    """100 ticks, each received 25 ms after it is due, or so much later; each applies the input of the same number."""
    return [
        (player, tick, at(50 * tick), tick, at(50 * tick + 25 + late_ms.get(tick, 0.0)))
        for tick in range(100)
        if tick not in without
    ]


def test_a_game_on_time() -> None:
    inputs = [(0, n, at(50 * n - 30), 1) for n in range(1, 100)]
    found = game({"input": inputs, "snapshot": snapshots({})})
    assert found["input_to_snapshot_ms_p50"] == pytest.approx(55)
    assert found["snapshot_ms_p50"] == pytest.approx(25)
    assert found["jitter_ms_p50"] == pytest.approx(0)
    assert (found["late_frame_share"], found["snapshots_lost"], found["inputs_unanswered"]) == (0, 0, 0)


def test_late_frames_are_those_beyond_two_ticks_and_those_that_never_came() -> None:
    """100 ms late is shown in time, 101 is not; the other player of the match has all ticks."""
    found = game({"snapshot": [*snapshots({5: 100, 50: 101}, without=[7]), *snapshots({}, player=1)]}, players=2)
    assert found["snapshots_lost"] == 1
    assert found["late_frame_share"] == pytest.approx(2 / 200)


def test_a_player_that_saw_nothing_has_lost_all() -> None:
    found = game({"input": [(1, 1, at(1), 0)], "snapshot": snapshots({})}, players=2)
    assert found["inputs_unshown"] == 1
    assert (found["snapshots_lost"], found["late_frame_share"], found["inputs_unanswered"]) == (100, 0.5, 1)


def test_inputs_that_are_answered_and_never_shown_are_counted_but_for_the_last_second() -> None:
    """The player's snapshots show its input 40 from then on."""
    inputs = [(0, n, at(50 * n - 30), 1) for n in range(1, 100)]
    shown = [(player, tick, due, min(n, 40), came) for player, tick, due, n, came in snapshots({})]
    assert game({"input": inputs, "snapshot": shown})["inputs_unshown"] == 80 - 40


def test_cpu_and_bytes_are_divided_by_what_came_while_they_were_counted() -> None:
    """Of 100 snapshots, 8 come after the end; a poll that brings them within its interval is part of the window."""
    late = snapshots(dict.fromkeys(range(92, 100), 500.0))
    recorded_ = recorded("game", {"snapshot": late}, 1, tick_hz=20, plays_s=5.0)
    metrics = SCENARIOS["game"].metrics
    assert metrics(recorded_)["server_cpu_us_per_snapshot"] == pytest.approx(50 / 92)
    assert metrics(recorded_._replace(poll_interval_s=1.0))["server_cpu_us_per_snapshot"] == pytest.approx(50 / 100)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "ticker"])
def test_what_clients_left_out_is_repeated(name: str) -> None:
    """Clients hand nothing on twice, so what a server sends twice shows there alone."""
    (repeated,) = [metric for metric in RULES[name].never if metric.endswith("_repeated")]
    empty = recorded(name, {}, 4)
    assert SCENARIOS[name].metrics(empty._replace(left_out=3))[repeated] == 3


def test_snapshots_that_come_in_pairs_have_jitter() -> None:
    found = game({"snapshot": snapshots(dict.fromkeys(range(0, 100, 2), 50.0))})
    assert found["jitter_ms_p50"] == pytest.approx(50)
