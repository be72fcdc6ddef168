"""Which trials count, by transport and block."""

import msgspec
import pytest

from bench.results.run import Counts
from bench.results.sweep import SweepResults, SweepTrial
from reports.blocks import Blocks, curve_trials, first_arms
from tests.helpers.fake_results import fake_results, fake_trial


def test_percentiles_are_those_that_every_block_has() -> None:
    """In the order of their numbers, not of their texts."""
    curves = [{"5": 1.0, "9": 2.0, "50": 20.0, "95": 40.0, "99": 80.0}, {"5": 1.0, "9": 2.0, "50": 20.0, "95": 44.0}]
    trials = {
        block: msgspec.structs.replace(fake_trial("sse", block), latency_ms=of) for block, of in enumerate(curves, 1)
    }
    found = Blocks({"sse": trials}).percentiles("sse")
    assert list(found) == [5.0, 9.0, 50.0, 95.0]
    assert found[50.0].value == pytest.approx(20) and found[95.0].value == pytest.approx((40 * 44) ** 0.5)
    assert Blocks({"sse": {}}).percentiles("sse") == {}


def test_what_came_late_is_known_only_where_every_block_says_so() -> None:
    counts = [Counts(10, 10, 0, 0, 0, 0, 0, late) for late in (1, 2)]
    trials = {block: msgspec.structs.replace(fake_trial("sse", block), counts=of) for block, of in enumerate(counts, 1)}
    assert Blocks({"sse": trials}).counts("sse") == Counts(20, 20, 0, 0, 0, 0, 0, 3)
    trials[2].counts = msgspec.structs.replace(counts[1], late=None)
    assert Blocks({"sse": trials}).counts("sse") == Counts(20, 20, 0, 0, 0, 0, 0, None)


def test_without_polls_there_is_no_curve() -> None:
    results = fake_results()
    trials = [trial for trial in results.trials if trial.transport != "polling"]
    names = [name for name in results.plan.transports if name != "polling"]
    plan = msgspec.structs.replace(results.plan, transports=names)
    assert curve_trials(results) and not curve_trials(msgspec.structs.replace(results, trials=trials, plan=plan))


def test_the_first_arm_of_a_section_is_its_first_load_and_the_last_valid_attempt_counts() -> None:
    """A transport whose trials are all invalid is there, with none."""

    def one(section: str, load: str, name: str, status: str, attempt: int = 1) -> SweepTrial:
        changed = {"status": status, "attempt": attempt, "transport": name}
        return SweepTrial(section, load, msgspec.structs.replace(fake_trial(name, 1), **changed))

    trials = [
        one("chat", "usual", "sse", "invalid"),
        one("chat", "usual", "sse", "ok", 2),
        one("chat", "usual", "polling", "failed"),
        one("chat", "more", "websocket", "ok"),
        one("game", "fast", "websocket", "ok"),
    ]
    shared = {
        name: getattr(fake_results(), name) for name in ("schema_version", "pushmark_version", "created_at", "command")
    }
    shared |= {name: getattr(fake_results(), name) for name in ("host", "versions", "options")}
    found = first_arms(SweepResults(**shared, finished=True, preset="default", seed=1, loads={}, trials=trials))
    assert list(found) == ["chat", "game"]
    assert {name: list(of) for name, of in found["chat"].trials.items()} == {"polling": [], "sse": [1]}
    assert found["chat"].trials["sse"][1].attempt == 2
    assert list(found["game"].trials) == ["websocket"]
