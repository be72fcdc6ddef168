"""The metrics of notifications: what is lost, repeated, refused or missed, and what idle users cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from bench.results.run import Idle
from bench.scenarios.registry import SCENARIOS
from reports.table.suits import RULES
from tests.helpers.recorded import at, recorded


def notifications(rows: Mapping[str, Sequence[tuple[int, ...]]], **of: Any) -> dict[str, float]:
    """Two users, idle for 4 s of which the measured part consists."""
    found = recorded("notifications", rows, 2, idle_s=4.0)
    plan = msgspec.structs.replace(found.plan, duration_s=found.plan.scenario_begin_s + 4)
    return SCENARIOS["notifications"].metrics(found._replace(plan=plan, **of))


NOTIFIED = {
    "sent": [(0, at(100), at(140), 1), (1, at(200), at(240), 1), (2, at(300), at(340), 3)],
    "seen": [(0, 1, at(121)), (1, 1, at(222))],
    "kept": [(2, 3), (3, 3)],
}


@pytest.mark.parametrize(
    ("kind", "rows", "problem", "count"),
    [
        ("sent", [*NOTIFIED["sent"], (1, at(300), at(340), 2)], "notifications_lost", 1),
        ("sent", [*NOTIFIED["sent"], (1, at(300), 0, 0)], "notifications_unacknowledged", 1),
        ("seen", [*NOTIFIED["seen"], (1, 1, at(400))], "notifications_repeated", 1),
        ("kept", [(2, 3), (3, 1)], "notifications_missed", 2),
        ("kept", [(2, 3)], "notifications_missed", 3),
    ],
)
def test_what_is_wrong_with_notifications_is_counted(
    kind: str, rows: list[tuple[int, ...]], problem: str, count: int
) -> None:
    """One who was away, and never came back, has missed all."""
    problems = RULES["notifications"].never
    assert [notifications(NOTIFIED)[name] for name in problems] == [0, 0, 0, 0]
    found = notifications({**NOTIFIED, kind: rows})
    assert {name: found[name] for name in problems} == {**dict.fromkeys(problems, 0), problem: count}


def test_an_idle_user_costs_its_heartbeats_or_its_polls() -> None:
    """1,000 bytes and 50 us by two users within 4 s; a poll each second makes that 5."""
    streams = notifications(NOTIFIED, idle=Idle(150.0, 50.0, 6, 15.0))
    assert streams["idle_bytes_per_user_hour"] == 150 * 240
    assert "idle_cpu_us_per_user_hour" not in streams, "no heartbeat comes within 4 s"
    polls = notifications(NOTIFIED, poll_interval_s=1.0, idle=Idle(900.0, 700.0, 6, 1.0))
    assert polls["idle_bytes_per_user_hour"] == 1000 / 2 / 5 * 3600
    assert polls["idle_cpu_us_per_user_hour"] == pytest.approx(50 / 2 / 5 * 3600)
    assert "idle_bytes_per_user_hour" not in notifications(NOTIFIED)
