"""The scenarios' metrics, from rows as scripts record them; the age of quotes against counting instant by instant."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results.catalogue import METRICS
from bench.results.run import Idle
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.scenario import (
    TRANSITS,
    Scenario,
    impossible,
    percentiles,
    scenario_trials,
)
from bench.scenarios.ticker import ages, due_by_instrument, mean_ns, quantile_ns
from feed.instruments.clock import NS_PER_S
from feed.ticker import TickerOptions
from feed.transports import CONTENDERS
from tests.helpers.recorded import START_NS, at, recorded
from tests.pure.test_scenario_game import snapshots


def tokens(rows: Mapping[str, Sequence[tuple[int, ...]]], subscribers: int = 1, **options: Any) -> dict[str, float]:
    asked = {"tokens": 4, "rate_hz": 100.0, "first_delay_s": 0.1, **options}
    return SCENARIOS["tokens"].metrics(recorded("tokens", rows, subscribers, **asked))


def test_tokens_one_by_one() -> None:
    """Asked at 0 ms, begun at 20 ms; token n is due at 120 + 10 n ms, and received 20 ms later."""
    found = tokens({"answer": [(0, at(0), at(20))], "token": [(0, n, 1, at(140 + 10 * n)) for n in range(4)]})
    assert found["first_token_ms_mean"] == pytest.approx(140)
    assert found["tokens_per_read"] == 1
    assert (found["tokens_lost"], found["tokens_repeated"]) == (0, 0)
    assert found["wire_bytes_per_token"] == 250 and found["server_cpu_us_per_token"] == 12.5
    assert not [name for name in found if name.endswith(("_p50", "_p95", "_p99"))], "4 tokens have no percentile"


def test_tokens_that_are_late_together_come_in_one_read_with_no_gap() -> None:
    rows = [(0, n, 1, at(500)) for n in range(2)] + [(0, 2, 2, at(600))]
    found = tokens({"answer": [(0, at(0), at(20))], "token": rows})
    assert found["tokens_per_read"] == 2
    assert found["first_token_ms_mean"] == pytest.approx(500)


def test_percentiles_of_tokens() -> None:
    """40 tokens, 15 ms late each but those of the last quarter, which are 35 ms late."""
    late_ms = [15 if n < 30 else 35 for n in range(40)]
    rows = [(0, n, 1, at(120 + 10 * n + late_ms[n])) for n in range(40)]
    found = tokens({"answer": [(0, at(0), at(20))], "token": rows}, tokens=40)
    assert found["token_latency_ms_p50"] == pytest.approx(15)
    assert found["inter_token_ms_p50"] == pytest.approx(10)
    assert "token_latency_ms_p95" not in found, "two values above it are too few"


@pytest.mark.parametrize(
    ("rows", "lost", "repeated"),
    [
        ([(0, 0, 1, 1), (0, 1, 1, 2), (0, 3, 1, 3)], 1, 0),
        ([(0, 0, 4, 1), (0, 2, 1, 2)], 0, 1),
        ([(0, 0, 2, 1), (0, 0, 2, 2)], 2, 2),
        ([], 4, 0),
    ],
)
def test_tokens_lost_and_repeated(rows: list[tuple[int, ...]], lost: int, repeated: int) -> None:
    found = tokens({"answer": [(0, at(0), at(20))], "token": [(s, n, of, at(ms)) for s, n, of, ms in rows]})
    assert (found["tokens_lost"], found["tokens_repeated"]) == (lost, repeated)


def test_an_answer_that_was_not_begun_has_lost_all_of_its_readers_tokens() -> None:
    rows = {"answer": [(0, at(0), at(20))], "token": [(0, 0, 4, at(140)), (1, 0, 4, at(140))]}
    assert tokens(rows, subscribers=4, readers=2)["tokens_lost"] == 8


def test_a_silent_minute_is_what_the_transport_moves_by_itself() -> None:
    asked = {"tokens": 4, "rate_hz": 100.0, "first_delay_s": 0.1}
    found = recorded("tokens", {}, 1, **asked)._replace(idle=Idle(200.0, 50.0, 6, 15.0))
    assert SCENARIOS["tokens"].metrics(found)["wire_bytes_per_silent_minute"] == 800


def chat(rows: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, float]:
    """A room of two."""
    return SCENARIOS["chat"].metrics(recorded("chat", rows, 2, room_size=2))


SENT = [(0, 0, at(100 * n), at(100 * n + 40), n) for n in range(1, 4)]
SEEN = [(reader, 0, n, at(100 * n + 50 + reader)) for n in range(1, 4) for reader in (0, 1)]


def test_chat_as_it_should_be() -> None:
    found = chat({"sent": SENT, "seen": SEEN})
    problems = ("messages_unacknowledged", "messages_lost", "messages_repeated", "messages_out_of_order")
    assert [found[name] for name in problems] == [0, 0, 0, 0]
    assert found["wire_bytes_per_message"] == pytest.approx(1000 / 6)
    assert found["server_cpu_us_per_message"] == pytest.approx(50 / 6)


def test_a_message_is_seen_by_all_when_the_last_one_has_it() -> None:
    sent = [(0, 0, at(100 * n), at(100 * n + 40), n) for n in range(1, 41)]
    seen = [(reader, 0, n, at(100 * n + 50 + 10 * reader)) for n in range(1, 41) for reader in (0, 1)]
    found = chat({"sent": sent, "seen": seen})
    assert found["ack_ms_p50"] == pytest.approx(40)
    assert found["seen_by_all_ms_p50"] == pytest.approx(60)


@pytest.mark.parametrize(
    ("seen", "problem", "count"),
    [
        (SEEN[:-1], "messages_lost", 1),
        ([*SEEN, SEEN[0]], "messages_repeated", 1),
        ([SEEN[2], SEEN[0], *SEEN[4:], SEEN[1], SEEN[3]], "messages_out_of_order", 3),
        ([], "messages_lost", 6),
    ],
)
def test_what_is_wrong_with_messages_is_counted(seen: list[tuple[int, ...]], problem: str, count: int) -> None:
    assert chat({"sent": SENT, "seen": seen})[problem] == count


def test_a_message_without_an_acknowledgement_is_counted_and_not_called_lost() -> None:
    found = chat({"sent": [*SENT[:2], (0, 0, at(300), 0, 0)], "seen": SEEN[:4]})
    assert found["messages_unacknowledged"] == 1
    assert found["messages_lost"] == 0


def test_a_message_that_not_all_have_is_lost_and_not_seen_by_all() -> None:
    """Its last reader would otherwise be the last but one of those who should have it."""
    sent = [(0, 0, at(100 * n), at(100 * n + 40), n) for n in range(1, 41)]
    seen = [(0, 0, n, at(100 * n + 50)) for n in range(1, 41)] + [(1, 0, n, at(100 * n + 60)) for n in range(1, 31)]
    found = chat({"sent": sent, "seen": seen})
    assert found["messages_lost"] == 10 and found["seen_by_all_ms_p50"] == pytest.approx(60)


def test_a_reader_that_was_not_told_of_each_turn_of_typing_does_not_count() -> None:
    """Its notices could not be told apart: the second would be taken for the first."""
    typed = [(0, 0, at(1_000 * n)) for n in range(40)]
    told = [(1, 0, at(1_000 * n + 45)) for n in range(40)] + [(2, 0, at(1_000 * n + 5)) for n in range(1, 40)]
    assert chat({"sent": SENT, "seen": SEEN, "typed": typed, "typing": told})["typing_ms_p50"] == pytest.approx(45)


def test_typing_is_told_from_the_turn_before_it() -> None:
    """The writer itself is told too, at once; that is no lag."""
    typed = [(0, 0, at(1_000 * n)) for n in range(40)]
    told = [(1, 0, at(1_000 * n + 45)) for n in range(40)] + [(0, 0, at(1_000 * n + 1)) for n in range(40)]
    strangers = [(1, -1, at(5))] * 40
    found = chat({"sent": SENT, "seen": SEEN, "typed": typed, "typing": told + strangers})
    assert found["typing_ms_p50"] == pytest.approx(45)


@st.composite
def one_instrument(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int]], int, int]:
    """When changes are due, (n, receive) in the order of receiving, and the measured part; small integers as ns."""
    dues = sorted(draw(st.lists(st.integers(0, 60), max_size=8)))
    taken = (
        draw(st.lists(st.tuples(st.sampled_from(range(len(dues))), st.integers(0, 40)), max_size=12)) if dues else []
    )
    received = sorted((dues[n] + late, n + 1) for n, late in taken)
    begin = draw(st.integers(0, 40))
    return dues, [(n, at_ns) for at_ns, n in received], begin, begin + draw(st.integers(1, 60))


def age_at(ns: float, dues: list[int], received: list[tuple[int, int]]) -> float:
    """By the definition: the time since the first missing change was due."""
    held = max((n for n, at_ns in received if at_ns <= ns), default=0)
    return max(0.0, ns - dues[held]) if held < len(dues) else 0.0


@given(one_instrument(), st.floats(0.05, 1.0))
def test_ages_agree_with_counting(case: tuple[list[int], list[tuple[int, int]], int, int], share: float) -> None:
    """Between integers nothing happens, so the middle of each is its mean; a fine grid stands for the distribution."""
    dues, received, begin, end = case
    numbers, receives = (np.array([row[of] for row in received], dtype=np.int64) for of in (0, 1))
    aged = ages(np.array(dues, dtype=np.int64), numbers, receives, begin, end)
    middles = [age_at(ns + 0.5, dues, received) for ns in range(begin, end)]
    assert mean_ns(aged, end - begin) == pytest.approx(np.mean(middles))
    assert np.diff(aged).sum() == sum(age > 0 for age in middles)
    quantile = quantile_ns(aged, end - begin, share)
    above = sum(max(0.0, min(1.0, age + 0.5 - quantile)) for age in middles if age > 0)
    below = sum(max(0.0, min(1.0, age + 0.5 - quantile + 1e-6)) for age in middles if age > 0)
    allowed = (1 - share) * (end - begin)
    assert above <= allowed + 1e-6
    assert quantile == pytest.approx(0, abs=1e-6) or below >= allowed - 1e-6


def test_a_reader_that_stays_behind_shows_what_is_as_old_as_its_lag() -> None:
    """Each change comes 5 s late, every 100 ms: the age is about 5 s all the time, not 100 ms."""
    dues = np.arange(0, 20 * NS_PER_S, NS_PER_S // 10)
    numbers = np.arange(1, len(dues) + 1)
    aged = ages(dues, numbers, dues + 5 * NS_PER_S, 10 * NS_PER_S, 20 * NS_PER_S)
    assert mean_ns(aged, 10 * NS_PER_S) / NS_PER_S == pytest.approx(4.95, abs=0.01)


def test_the_quotes_are_due_where_the_ticker_has_them() -> None:
    dues = due_by_instrument(TickerOptions(instruments=3, hot_hz=50.0), START_NS, START_NS + 10 * NS_PER_S)
    assert [len(of) for of in dues] == pytest.approx([500, 250, 167], rel=0.25)
    assert all(of[0] >= START_NS and of[-1] < START_NS + 10 * NS_PER_S for of in dues)


def test_ticker_of_a_reader_that_misses_nothing_and_of_one_that_gets_nothing() -> None:
    options = TickerOptions(instruments=2, hot_hz=20.0)
    end_ns = START_NS + 2 * NS_PER_S
    dues = due_by_instrument(options, START_NS, end_ns)
    quotes = [(0, of, n + 1, int(due)) for of, due_ns in enumerate(dues) for n, due in enumerate(due_ns)]
    began = [(0, START_NS), (1, START_NS)]
    plan = {"instruments": 2, "hot_hz": 20.0, "reads_s": 2.0}
    one = SCENARIOS["ticker"].metrics(recorded("ticker", {"began": began[:1], "quote": quotes}, 1, **plan))
    both = SCENARIOS["ticker"].metrics(recorded("ticker", {"began": began, "quote": quotes}, 2, **plan))
    assert one["staleness_ms_mean"] == one["staleness_ms_p95"] == one["stale_share"] == 0
    assert both["quotes_per_s"] == pytest.approx(one["quotes_per_s"] / 2)
    assert both["stale_share"] > 0.4 and 400 < both["staleness_ms_mean"] < 500


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_trial_that_recorded_nothing_has_no_metric_that_needs_something(name: str) -> None:
    found = SCENARIOS[name].metrics(recorded(name, {}, 4))
    assert all(np.isfinite(value) for value in found.values())
    assert not [of for of in found if "_ms_" in of or ("_per_" in of and not of.endswith("_per_user_hour"))]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_plans(scenario: Scenario) -> None:
    """Blocks of the first arm in shuffled orders, each further arm once, all with a name of their own."""
    trials = scenario_trials(scenario, "default", list(CONTENDERS), None, 1)
    first, *others = scenario.arms
    assert [one.load for one in trials] == [
        arm for arm in [first] * 5 + others for _ in scenario.arms[arm].transports or CONTENDERS
    ]
    assert len({one.trial.id for one in trials}) == len(trials)
    assert len({tuple(one.trial.transport for one in trials[at : at + 5]) for at in range(0, 25, 5)}) > 1
    assert trials == scenario_trials(scenario, "default", list(CONTENDERS), None, 1)
    for one in trials:
        assert one.plan.duration_s == scenario.duration_s(one.plan.scenario_options)
        assert set(one.plan.scenario_options) == set(scenario.options)
    smoke = scenario_trials(scenario, "smoke", list(CONTENDERS), None, 1)
    assert [one.load for one in smoke] == [first] * len(CONTENDERS)


@given(st.integers(0, 2_000))
def test_a_percentile_needs_ten_values_above_it(count: int) -> None:
    found = percentiles("gap_ms", np.arange(count, dtype=float))
    assert set(found) == {f"gap_ms_p{q}" for q in (50, 95, 99) if count * (100 - q) >= 1000}


def test_every_metric_of_a_scenario_is_in_the_catalogue() -> None:
    rows: dict[str, dict[str, list[tuple[int, ...]]]] = {
        "tokens": {"answer": [(0, at(0), at(20))], "token": [(0, n, 1, at(140 + n)) for n in range(2000)]},
        "chat": {
            "sent": [(0, 0, at(n), at(n + 40), n) for n in range(1, 2000)],
            "seen": [(1, 0, n, at(n + 50)) for n in range(1, 2000)],
            "typed": [(0, 0, at(1))],
            "typing": [(1, 0, at(2 + n)) for n in range(2000)],
        },
        "collab": {
            "typed": [(0, n, at(n), at(n + 40)) for n in range(1, 2000)],
            "seen": [(1, n, at(n + 45)) for n in range(1, 2000)],
        },
        "game": {"input": [(0, n, at(n), 1) for n in range(2000)], "snapshot": snapshots({}) * 20},
        "notifications": {
            "sent": [(0, at(n), at(n + 40), n) for n in range(1, 2000)],
            "seen": [(0, n, at(n + 20)) for n in range(1, 2000)],
            "kept": [(2, 3)],
        },
        "ticker": {"began": [(0, START_NS)], "quote": [(0, 0, 1, at(500))]},
    }
    for name, scenario in SCENARIOS.items():
        found = scenario.metrics(recorded(name, rows[name], 2))
        assert found and set(found) <= set(METRICS), set(found) - set(METRICS)


def test_what_the_network_forbids_is_named() -> None:
    """Two one-way transits of 20 ms from a writer to a reader, one from the server."""
    assert impossible({"seen_by_all_ms_p50": 40.0, "token_latency_ms_p50": 20.0, "stale_share": 0.1}, 40.0) == []
    (one,) = impossible({"seen_by_all_ms_p50": 39.0, "token_latency_ms_p50": 20.0}, 40.0)
    assert "seen_by_all_ms_p50 is 39.0" in one and "takes 40 ms" in one
    assert len(impossible(dict.fromkeys((f"{name}_p50" for name in TRANSITS), 1.0), 40.0)) == len(TRANSITS)
