"""Which transport suits a scenario: the rule, on blocks whose answer is known."""

import msgspec
import pytest

from bench.results.catalogue import METRICS
from bench.scenarios.registry import SCENARIOS
from reports.blocks import Blocks, main_blocks
from reports.statistics import MARGINS
from reports.table.suits import AGREES, DISAGREES, NO_VERDICT, RULES, TIE, Suits, judge
from reports.table.verdicts import UNJUDGED, Measured, judge_all
from tests.helpers.fake_results import fake_results, fake_trial

RULE = RULES["tokens"]
NOISE = (0.0, 0.002, -0.001, 0.001, -0.002)
"""Of each block, as a share: far below any margin."""


def blocks(blocks: int = 5, **levels: tuple[float, float, float]) -> Blocks:
    """FAKE: transport -> what the user notices, bytes, CPU."""
    return Blocks(
        {
            name: {
                block: msgspec.structs.replace(
                    fake_trial(name, block),
                    metrics={
                        **dict.fromkeys(RULE.never, 0.0),
                        **{
                            metric: value * (1 + NOISE[block - 1] * (1 + len(name)))
                            for metric, value in zip((RULE.noticed, RULE.bytes, RULE.cpu), values, strict=True)
                        },
                    },
                )
                for block in range(1, blocks + 1)
            }
            for name, values in levels.items()
        }
    )


def with_count(found: Blocks, name: str, metric: str) -> Blocks:
    found.trials[name][3].metrics[metric] = 1.0
    return found


def test_the_recommended_one_is_alone_in_front() -> None:
    found = judge(RULE, blocks(sse=(25, 200, 40), websocket=(25, 250, 30), polling=(500, 100, 10)))
    assert found == Suits({}, ["sse", "websocket"], ["sse"], AGREES, found.why)


def test_where_each_stands() -> None:
    levels = {"sse": (25, 200, 40), "websocket": (25, 250, 30), "polling": (500, 100, 10), "raw": (21, 100, 5)}
    found = with_count(blocks(**levels, socketio=(25, 300, 60)), "socketio", RULE.never[0])
    standings = judge(RULE, found).standings(RULE, found)
    words = {of.transport: of.word for of in standings}
    assert words == {"sse": "best", "websocket": "as good", "polling": "worse", "socketio": "fails"}
    assert standings[0].noticed is not None and standings[0].noticed.value == pytest.approx(25, rel=0.01)
    few = blocks(4, sse=(25, 200, 40))
    assert [of.word for of in judge(RULE, few).standings(RULE, few)] == [""]


def test_another_is_better_for_the_user() -> None:
    found = judge(RULE, blocks(sse=(40, 100, 10), websocket=(25, 250, 30)))
    assert (found.equal, found.preferred, found.word) == (["websocket"], ["websocket"], DISAGREES)
    assert "SSE 1.60 times WebSocket" in found.why


def test_equal_for_the_user_and_another_is_cheaper() -> None:
    found = judge(RULE, blocks(sse=(25, 250, 10), websocket=(25, 200, 30)))
    assert (found.equal, found.preferred, found.word) == (["sse", "websocket"], ["websocket"], TIE)
    assert "1.25 times" in found.why


def test_cpu_decides_what_bytes_leave_open() -> None:
    found = judge(RULE, blocks(sse=(25, 200, 50), websocket=(25, 201, 30)))
    assert (found.preferred, found.word) == (["websocket"], TIE)
    found = judge(RULE, blocks(sse=(25, 200, 30), websocket=(25, 201, 50)))
    assert (found.preferred, found.word) == (["sse"], AGREES)


def test_equal_in_everything() -> None:
    found = judge(RULE, blocks(sse=(25, 200, 30), websocket=(25, 201, 31)))
    assert (found.preferred, found.word, found.why) == (["sse", "websocket"], TIE, "WebSocket suits as well")


@pytest.mark.parametrize("metric", RULE.never)
def test_who_loses_something_does_not_suit_however_fast(metric: str) -> None:
    """Once, in one block of five."""
    levels = {"sse": (25.0, 200.0, 30.0), "websocket": (50.0, 300.0, 60.0)}
    found = judge(RULE, with_count(blocks(**levels), "sse", metric))
    assert (found.preferred, found.word) == (["websocket"], DISAGREES)
    assert found.broken["sse"] == f"{METRICS[metric].label} 1" and found.broken["sse"] in found.why
    found = judge(RULE, with_count(blocks(**levels), "websocket", metric))
    assert (found.preferred, found.word) == (["sse"], AGREES)


def test_fewer_than_five_blocks_give_no_verdict() -> None:
    found = judge(RULE, blocks(4, sse=(25, 200, 40), websocket=(99, 250, 30)))
    assert (found.word, found.preferred) == (NO_VERDICT, []) and "5" in found.why


def with_fewer(found: Blocks, name: str, count: int) -> Blocks:
    found.trials[name] = dict(list(found.trials[name].items())[:count])
    return found


@pytest.mark.parametrize("count", [0, 4])
def test_nothing_is_best_while_another_was_hardly_measured(count: int) -> None:
    """It may be the better one. The words of the others stand."""
    levels = {"sse": (25.0, 200.0, 30.0), "websocket": (50.0, 300.0, 60.0), "polling": (500.0, 100.0, 10.0)}
    found = with_fewer(blocks(**levels), "polling", count)
    suits = judge(RULE, found)
    assert (suits.word, suits.preferred, suits.short) == (NO_VERDICT, ["sse"], {"polling": count})
    assert f"polling has {count} valid blocks" in suits.why
    assert {of.transport: of.word for of in suits.standings(RULE, found)} == {
        "sse": "best",
        "websocket": "worse",
        "polling": "",
    }


def test_what_already_speaks_against_the_recommended_one_needs_nothing_more() -> None:
    """Another is better, or it lost something: the third, whatever it would show, cannot change that."""
    levels = {"sse": (40.0, 200.0, 30.0), "websocket": (25.0, 300.0, 60.0), "polling": (500.0, 100.0, 10.0)}
    assert judge(RULE, with_fewer(blocks(**levels), "polling", 4)).word == DISAGREES
    lost = with_count(with_fewer(blocks(**levels), "polling", 4), "sse", RULE.never[0])
    assert judge(RULE, lost).word == DISAGREES


def test_where_all_lost_something_the_recommended_one_did_too() -> None:
    found = blocks(sse=(25, 200, 30), websocket=(50, 300, 60))
    for name in ("sse", "websocket"):
        with_count(found, name, RULE.never[0])
    suits = judge(RULE, found)
    assert (suits.word, suits.preferred) == (DISAGREES, []) and "SSE: " in suits.why


def test_a_metric_that_is_not_judged_decides_nothing() -> None:
    found = judge(RULE._replace(cpu=""), blocks(sse=(25, 200, 50), websocket=(25, 201, 30)))
    assert (found.preferred, found.word) == (["sse", "websocket"], TIE)


def test_the_baseline_is_no_contender_and_an_absent_recommendation_is_said() -> None:
    found = judge(RULE, blocks(websocket=(25, 250, 30), raw=(21, 100, 5)))
    assert found.preferred == ["websocket"]
    assert (found.word, found.why) == (NO_VERDICT, "SSE was not measured")


def test_what_is_not_settled_is_a_tie() -> None:
    """The blocks say now this, now that."""
    found = blocks(sse=(25, 200, 30), websocket=(25, 200, 30))
    for block, factor in enumerate((1.0, 1.6, 0.7, 1.4, 0.8), 1):
        found.trials["websocket"][block].metrics[RULE.noticed] *= factor
    assert judge(RULE, found).equal == ["sse", "websocket"]


def test_every_scenario_has_its_rule_of_metrics_with_margins() -> None:
    assert list(RULES) == list(SCENARIOS)
    for rule in RULES.values():
        judged = [name for name in (rule.noticed, rule.bytes, rule.cpu) if name]
        assert {METRICS[name].margin for name in judged} <= set(MARGINS) and len(judged) >= 2
        assert all(METRICS[name].unit == "" for name in rule.never)


def test_uses_are_judged_where_their_scenario_was_measured() -> None:
    results = fake_results()
    points = [Measured(results.plan, main_blocks(results))]
    scenarios = {"tokens": blocks(sse=(25, 200, 40), websocket=(25, 250, 30))}
    found = {line.claim.words: line.functional for line in judge_all(points, None, scenarios)}
    streaming, notifying = found["use: data streaming, data push"], found["use: notifications"]
    assert streaming is not None and notifying is not None
    assert streaming.word == AGREES and streaming.evidence.startswith("tokens: agrees, ")
    assert streaming.command == "python -m bench scenario tokens"
    assert notifying.word == UNJUDGED
    scenarios["ticker"] = blocks(sse=(25, 200, 40))
    again = {line.claim.words: line.functional for line in judge_all(points, None, scenarios)}
    both = again["use: data streaming, data push"]
    assert both is not None and both.word == "agrees / no verdict", "the FAKE ticker lacks its metric"
