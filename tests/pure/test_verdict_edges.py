"""Verdicts at their edges: what was not measured, what hangs on one block, and the words that are then said."""

from typing import Any

import msgspec
import pytest

from bench.results.capabilities import CapabilityCheck
from bench.results.run import Results
from reports.blocks import Blocks, main_blocks
from reports.formats import number, with_interval
from reports.statistics import estimate
from reports.table.claims import BURDENS, CLAIMS, ByCheck, ByOrder, ByScenario, ByWord
from reports.table.ratings import LATENCY_BOUNDS
from reports.table.verdicts import (
    BETTER_THAN_CLAIMED,
    HOLDS,
    OPEN,
    UNJUDGED,
    WORSE_THAN_CLAIMED,
    Judgement,
    Measured,
    judge_all,
    spanned,
    tally_text,
)
from tests.commands.test_verdicts import changed, word
from tests.helpers.fake_results import fake_results

LATENCY, BYTES = "latency_ms_p50", "wire_bytes_per_event"


def without(results: Results, transport: str, metric: str) -> Results:
    for trial in results.trials:
        if trial.transport == transport:
            trial.metrics.pop(metric, None)
            trial.latency_ms = {} if metric == LATENCY else trial.latency_ms
    return results


def test_a_word_that_was_not_measured_is_not_judged() -> None:
    assert word(without(fake_results(), "sse", BYTES), "sse", "bandwidth: low") == Judgement(UNJUDGED, "not measured")
    missing = not_planned(fake_results(), "sse")
    of = Measured(missing.plan, main_blocks(missing))
    other = Measured(msgspec.structs.replace(fake_results().plan, point="broadcast"), main_blocks(fake_results()))
    absent = next(claim for claim in CLAIMS if (claim.transport, claim.words) == ("sse", "bandwidth: low"))
    (line,) = [line for line in judge_all([of, other], None) if line.claim == absent]
    assert line.points["sparse"] == Judgement(UNJUDGED, "not measured")
    assert line.points["broadcast"].word != UNJUDGED


def not_planned(results: Results, transport: str) -> Results:
    names = [name for name in results.plan.transports if name != transport]
    trials = [trial for trial in results.trials if trial.transport != transport]
    return msgspec.structs.replace(results, plan=msgspec.structs.replace(results.plan, transports=names), trials=trials)


def test_without_delay_there_is_no_transit_to_count_in() -> None:
    found = word(fake_results(rtt_ms=0.0), "polling", "latency: high")
    assert found == Judgement(UNJUDGED, "no network delay, so no one-way transit to count in")


def test_an_order_that_was_not_measured_side_by_side_is_not_judged() -> None:
    cpu = "server_cpu_us_per_event"
    expected = Judgement(UNJUDGED, "not measured side by side")
    assert word(without(fake_results(), "sse", cpu), "polling", "high resource use") == expected
    assert word(without(fake_results(), "polling", cpu), "polling", "high resource use") == expected
    assert word(not_planned(fake_results(), "sse"), "polling", "high resource use") == expected
    absent = not_planned(fake_results(), "polling")
    points = [Measured(absent.plan, main_blocks(absent)), Measured(fake_results().plan, main_blocks(fake_results()))]
    points[1] = msgspec.structs.replace(points[1], plan=msgspec.structs.replace(points[1].plan, point="broadcast"))
    (line,) = [of for of in judge_all(points, None) if of.claim.words == "high resource use"]
    assert line.points["sparse"] == expected
    apart = fake_results()
    for trial in apart.trials:
        if (trial.transport == "polling") == (trial.block > 2):
            trial.metrics.pop(cpu, None)
    assert word(apart, "polling", "high resource use") == expected, "each in blocks in which the others are not"


def test_the_evidence_is_the_number_in_both_units() -> None:
    values = [30.0, 30.5, 29.5, 30.2, 29.8]
    found = word(changed(fake_results(), "sse", LATENCY, values), "sse", "latency: low")
    of = estimate(values)
    assert found.evidence == f"{with_interval(of)} ms, {number(of.value / 20)} one-way transits: low"
    assert found.word == HOLDS


def test_too_few_blocks_name_the_command_that_measures_more() -> None:
    found = word(fake_results(blocks=4), "sse", "latency: low")
    assert found.word == UNJUDGED and found.command.startswith("python -m bench cell sse/latency_ms_p50")


def test_a_word_that_hangs_on_one_block_says_so() -> None:
    """Without the fifth block it would be another."""
    values = [30.0, 30.0, 30.1, 29.9, 90.0]
    found = word(changed(fake_results(), "sse", LATENCY, values), "sse", "latency: low")
    assert (
        found.word == OPEN
        and "; " in found.evidence
        and "block 5" in found.evidence
        and "block 4" not in found.evidence
    )
    assert "XX" not in found.evidence


def test_where_bare_tcp_misses_the_word_as_well_the_number_stays() -> None:
    """The sentence about the baseline follows the evidence, and does not replace it."""
    results = changed(fake_results(), "websocket", BYTES, [600.0, 601.0, 599.0, 600.5, 600.0])
    results = changed(results, "raw", BYTES, [500.0, 501.0, 499.0, 500.5, 500.0])
    found = word(results, "websocket", "bandwidth: very low")
    assert found.word == WORSE_THAN_CLAIMED
    assert found.evidence.startswith("600") and "(bare TCP as well: 1.95 × payload)" in found.evidence
    fine = changed(results, "raw", BYTES, [300.0] * 5)
    again = word(fine, "websocket", "bandwidth: very low")
    assert "bare TCP" not in again.evidence and "XX" not in again.evidence


def test_as_good_as_claimed_is_not_better_than_claimed() -> None:
    """The best of the claimed words is the one that it has."""
    found = word(changed(fake_results(), "sse", LATENCY, [21.0, 21.1, 20.9, 21.0, 21.0]), "sse", "latency: low")
    assert found.word == BETTER_THAN_CLAIMED
    worse = word(changed(fake_results(), "websocket", LATENCY, [30.0] * 4 + [30.1]), "websocket", "latency: very low")
    assert worse.word == WORSE_THAN_CLAIMED


def test_nothing_judged_has_no_tally() -> None:
    results = fake_results(blocks=1)
    lines = [
        msgspec.structs.replace(line, functional=None)
        for line in judge_all([Measured(results.plan, main_blocks(results))], None)
    ]
    assert tally_text([line for line in lines if line.points]) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"loss": 0.01}, "loss is modelled"), ({"inject_fault": {"sse": "drop"}}, "a fault was injected into a server")],
)
def test_a_run_that_is_unfit_judges_no_number(changes: dict[str, Any], reason: str) -> None:
    results = fake_results()
    plan = msgspec.structs.replace(results.plan, **changes)
    lines = judge_all([Measured(plan, main_blocks(results))], None)
    numbers = [line for line in lines if isinstance(line.claim.by, ByWord | ByOrder)]
    assert numbers and all(line.points == {"sparse": Judgement(UNJUDGED, reason)} for line in numbers)
    assert [line.claim for line in numbers] == [of for of in CLAIMS if isinstance(of.by, ByWord | ByOrder)]


@pytest.mark.parametrize(("holds", "word_"), [(True, None), (False, None), (None, OPEN)])
def test_a_capability_is_judged_with_its_evidence_and_command(holds: bool | None, word_: str | None) -> None:
    results = fake_results()
    of = Measured(results.plan, main_blocks(results))
    claims = [claim for claim in CLAIMS if isinstance(claim.by, ByCheck)]
    for claim in claims:
        assert isinstance(claim.by, ByCheck)
        command = f"python -m bench capabilities --transports {claim.transport}"
        tried = CapabilityCheck(claim.transport, claim.by.check, holds, "seen so")
        (found,) = [line.functional for line in judge_all([of], [tried]) if line.claim == claim]
        assert found is not None and (found.evidence, found.command) == ("seen so", command)
        refuted = BETTER_THAN_CLAIMED if holds != (claim.by.check in BURDENS) else WORSE_THAN_CLAIMED
        assert found.word == (word_ or (HOLDS if holds == claim.by.answer else refuted))
        (absent,) = [line.functional for line in judge_all([of], []) if line.claim == claim]
        assert absent == Judgement(UNJUDGED, "not tried in this run", command)


@pytest.mark.parametrize(
    ("sse", "expected", "ending"),
    [
        (99.0, HOLDS, "; SSE: hangs on each of 4 blocks and a permutation test does not confirm it (p = 0.12)"),
        (60.2, HOLDS, " × WebSocket"),
    ],
)
def test_an_order_says_what_hangs_on_a_block_and_the_command(sse: float, expected: str, ending: str) -> None:
    """One block of a rival is nearly as dear, or none is."""
    cpu = "server_cpu_us_per_event"
    results = changed(fake_results(), "polling", cpu, [100.0, 101.0, 99.0, 100.0, 100.5])
    for rival, values in (("long_polling", [60.0] * 4), ("sse", [60.0, 61.0, 60.5, 60.0]), ("websocket", [50.0] * 4)):
        results = changed(results, rival, cpu, [*values, sse if rival == "sse" else values[0]])
    found = word(results, "polling", "high resource use")
    assert found.word == expected
    assert found.evidence.startswith("polling 1.67") and found.evidence.endswith(ending)
    assert found.evidence.count("; ") == ending.count("; ") and "new run" not in found.evidence
    assert found.command == f"python -m bench cell polling/{cpu} --point sparse --seed {results.plan.seed + 1}"


def test_an_order_below_the_noise_is_a_difference() -> None:
    cpu = "server_cpu_us_per_event"
    results = changed(fake_results(), "polling", cpu, [900.0, 901.0, 899.0, 900.0, 900.5])
    results = changed(results, "sse", cpu, [-1.0, 2.0, 1.0, 0.5, 1.5])
    assert "more than SSE" in word(results, "polling", "high resource use").evidence


def test_a_single_number_reaches_one_word() -> None:
    assert spanned(estimate([30.0]), 20.0, LATENCY_BOUNDS) == ["low"]


def test_claims_without_numbers_have_one_judgement_and_no_points() -> None:
    results = fake_results()
    lines = judge_all([Measured(results.plan, main_blocks(results))], [])
    functional = [line for line in lines if line.functional is not None]
    assert functional and all(line.points == {} for line in functional)
    uses = [line.functional for line in lines if isinstance(line.claim.by, ByScenario)]
    said = "which solution suits which use is a question of scenarios, not of one feed"
    assert uses and all(of == Judgement(UNJUDGED, said) for of in uses)


def test_a_use_of_two_scenarios_has_both_in_its_evidence() -> None:
    results = fake_results()
    scenarios = {name: Blocks({"sse": {}}) for name in ("tokens", "ticker")}
    lines = judge_all([Measured(results.plan, main_blocks(results))], None, scenarios)
    (line,) = [of for of in lines if of.claim.words == "use: data streaming, data push"]
    assert line.functional is not None and isinstance(line.claim.by, ByScenario)
    few = "no verdict, SSE has 0 valid blocks; 5 are needed"
    assert len(line.claim.by.scenarios) == 2
    assert line.functional.evidence == "; ".join(f"{name}: {few}" for name in line.claim.by.scenarios)


def test_an_order_that_is_refuted_needs_no_new_run() -> None:
    """Though the pair with SSE is not settled."""
    cpu = "server_cpu_us_per_event"
    results = changed(fake_results(), "polling", cpu, [100.0, 101.0, 99.0, 100.0, 100.5])
    for rival, values in (("long_polling", [200.0] * 5), ("sse", [80.0, 82, 79, 81, 99]), ("websocket", [50.0] * 5)):
        results = changed(results, rival, cpu, [float(value) for value in values])
    found = word(results, "polling", "high resource use")
    assert found.word == BETTER_THAN_CLAIMED and "new run" not in found.evidence


def test_an_order_that_a_large_run_left_open_says_nothing_of_another() -> None:
    cpu = "server_cpu_us_per_event"
    results = changed(fake_results(blocks=10), "polling", cpu, [100.0] * 10)
    for rival in ("long_polling", "sse", "websocket"):
        results = changed(results, rival, cpu, [80.0, 99.0] * 5)
    found = word(results, "polling", "high resource use")
    assert found.word == OPEN and "new run" not in found.evidence and "XX" not in found.evidence
