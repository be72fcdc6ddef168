"""Verdicts on claims: from made-up results to words."""

import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.machine.host import placement
from bench.machine.provenance import provenance
from bench.results.capabilities import CapabilityCheck, CapabilityResults
from bench.results.catalogue import METRICS
from bench.results.files import CAPABILITIES_FILE, load, save
from bench.results.run import Results
from reports.blocks import main_blocks
from reports.formats import new_run, with_interval
from reports.samples import Paired
from reports.statistics import ALPHA, EQUAL, MARGINS, OPEN, Estimate, compare_runs, estimate, new_run_blocks
from reports.table.claims import BURDENS, CLAIMS, ByCheck, ByOrder, ByWord, NotJudged
from reports.table.ratings import HIGHEST, LATENCY_BOUNDS, rate
from reports.table.summary import judge, summarize
from reports.table.verdicts import (
    BETTER_THAN_CLAIMED,
    HOLDS,
    UNJUDGED,
    WORSE_THAN_CLAIMED,
    Judgement,
    Line,
    Measured,
    judge_all,
    spanned,
    tally,
    tally_text,
)
from reports.theory.added import added_table
from tests.conftest import invoke
from tests.helpers.fake_results import fake_results, put

PURE = settings(deadline=None, derandomize=True, database=None)
YES = CapabilityCheck("sse", "passes_a_plain_proxy", True, "20 of 20 events came")
WORDS = [*(word for _, word in LATENCY_BOUNDS), HIGHEST]


def changed(results: Results, transport: str, metric: str, factors: list[float]) -> Results:
    """The same with a transport's metric set: one value a block."""
    for trial in results.trials:
        if trial.transport == transport and trial.purpose == "main" and trial.status == "ok":
            put(trial, {metric: factors[trial.block - 1]})
    return results


def judged(results: Results, transport: str, words: str, probes: list[CapabilityCheck] | None = None) -> Line:
    lines = judge_all([Measured(results.plan, main_blocks(results))], probes)
    return next(line for line in lines if (line.claim.transport, line.claim.words) == (transport, words))


def word(results: Results, transport: str, words: str) -> Judgement:
    return judged(results, transport, words).points["sparse"]


def test_every_claim_can_be_judged() -> None:
    """Each names a metric with a margin or a rating, and a reason where there is none."""
    for claim in CLAIMS:
        match claim.by:
            case ByWord(metric, words):
                assert metric in METRICS and set(words) <= set(WORDS)
            case ByOrder(metric, rivals):
                assert METRICS[metric].margin in MARGINS and claim.transport not in rivals
            case ByCheck() | NotJudged():
                pass
    assert len({(claim.transport, claim.words) for claim in CLAIMS}) == len(CLAIMS)


def test_a_word_holds_or_not_when_the_whole_interval_is_on_one_side() -> None:
    assert word(fake_results(), "polling", "latency: high").word == HOLDS
    found = word(fake_results(), "sse", "latency: low")
    assert found.word == BETTER_THAN_CLAIMED and "one-way transits: very low" in found.evidence
    assert found.command.startswith("python -m bench cell sse/latency_ms_p50 --point sparse")


def test_an_interval_across_a_bound_is_not_settled_and_says_how_many_more_blocks() -> None:
    results = changed(fake_results(), "sse", "latency_ms_p50", [24.0, 26.5, 24.2, 26.8, 25.9])
    found = word(results, "sse", "latency: low")
    assert found.word == OPEN and "very low to low" in found.evidence and "one new run of about" in found.evidence


@pytest.mark.parametrize("values", [[24.0, 26.5, 24.2, 26.8, 25.9], [25.5, 24.2, 24.7, 24.1, 24.9]])
def test_the_new_run_is_one_that_settles_on_which_side_of_the_nearest_bound_it_is(values: list[float]) -> None:
    """25 ms: one transit and a quarter."""
    assert LATENCY_BOUNDS[0][0] == 1.25
    found = word(changed(fake_results(), "sse", "latency_ms_p50", values), "sse", "latency: low")
    needed = new_run_blocks(Paired([math.log(value / 25) for value in values], 0.0), ALPHA)
    assert needed is not None and new_run(needed) in found.evidence


def test_on_a_bound_no_run_would_tell() -> None:
    values = [25 * factor for factor in (1.04, 1 / 1.04, 1.05, 1 / 1.05, 1.0)]
    found = word(changed(fake_results(), "sse", "latency_ms_p50", values), "sse", "latency: low")
    assert found.word == OPEN and "new run" not in found.evidence and "XX" not in found.evidence


def test_an_order_of_several_needs_the_largest_of_the_runs_that_settle_its_pairs() -> None:
    cpu, rivals = "server_cpu_us_per_event", ("long_polling", "sse", "websocket")
    results = changed(fake_results(), "polling", cpu, [100.0] * 5)
    for rival, spread in zip(rivals, (1.2, 1.3, 1.4), strict=True):
        results = changed(results, rival, cpu, [100 * spread**step for step in (-1.2, 0.9, -1.1, 0.8, 0.1)])
    of = main_blocks(results)
    known = compare_runs(
        {name: (of.values("polling", cpu), of.values(name, cpu)) for name in rivals}, MARGINS["cpu"], paired=True
    )
    needed = [found.verdict.new_run_blocks or 0 for found in known.values()]
    found = word(results, "polling", "high resource use")
    assert found.word == OPEN and len(set(needed)) > 1
    assert new_run(max(needed)) in found.evidence and "XX" not in found.evidence


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("claim", ["latency: high", "high resource use"])
def test_fewer_than_five_valid_blocks_give_no_verdict(blocks: int, claim: str) -> None:
    found = word(fake_results(blocks=blocks), "polling", claim)
    assert found.word == UNJUDGED and "no verdict: fewer than 5 valid blocks" in found.evidence


def test_without_network_delay_no_latency_word_is_judged() -> None:
    assert word(fake_results(rtt_ms=0.0), "polling", "latency: high").word == UNJUDGED


def test_no_claim_is_judged_on_modelled_loss() -> None:
    results = fake_results()
    results.plan = msgspec.structs.replace(results.plan, loss=0.01)
    lines = judge_all([Measured(results.plan, main_blocks(results))], [YES])
    measured = [line for line in lines if line.points]
    assert measured and all(of.word == UNJUDGED for line in measured for of in line.points.values())
    assert added_table(results, main_blocks(results)) is None, "the formulas know no loss either"


@pytest.mark.parametrize(
    ("long_polling", "expected"),
    [
        ([1.0, 1.01, 0.99, 1.0, 1.02], HOLDS),
        ([20.0, 20.1, 19.9, 20.0, 20.2], WORSE_THAN_CLAIMED),
        ([10.0, 10.001, 9.999, 10.0, 10.0], EQUAL),
        ([5.0, 15.0, 8.0, 14.0, 9.0], OPEN),
    ],
)
def test_fewer_is_judged_by_pairs(long_polling: list[float], expected: str) -> None:
    results = fake_results()
    results = changed(results, "polling", "requests_per_event", [10.0, 10.0, 10.0, 10.0, 10.0])
    results = changed(results, "long_polling", "requests_per_event", long_polling)
    assert word(results, "long_polling", "fewer requests than polling").word == expected


def test_more_than_each_needs_every_pair() -> None:
    cpu = "server_cpu_us_per_event"
    assert word(fake_results(), "polling", "high resource use").word == HOLDS
    results = changed(fake_results(), "websocket", cpu, [5000.0] * 5)
    found = word(results, "polling", "high resource use")
    assert found.word == BETTER_THAN_CLAIMED and "new run" not in found.evidence, (
        "settled, whatever the other pairs say"
    )


def test_one_rival_with_as_much_refutes_more_than_each() -> None:
    cpu = "server_cpu_us_per_event"
    results = changed(fake_results(), "polling", cpu, [100.0, 101.0, 99.0, 100.0, 100.0])
    results = changed(results, "websocket", cpu, [100.0, 101.0, 99.0, 100.0, 100.0])
    results = changed(results, "sse", cpu, [50.0, 150.0, 80.0, 140.0, 90.0])
    results = changed(results, "long_polling", cpu, [50.0] * 5)
    assert word(results, "polling", "high resource use").word == EQUAL


def test_the_intervals_of_an_order_are_corrected_for_its_own_pairs_only() -> None:
    """One pair: the plain 95 % t interval, whatever else was measured."""
    results = changed(fake_results(), "polling", "requests_per_event", [10.0, 10.4, 9.8, 10.1, 10.2])
    results = changed(results, "long_polling", "requests_per_event", [1.0] * 5)
    asked, held = (main_blocks(results).values(name, "requests_per_event") for name in ("polling", "long_polling"))
    plain = estimate([asked[block] / held[block] for block in asked.keys() & held.keys()])
    shown = word(results, "long_polling", "fewer requests than polling").evidence
    assert shown == f"polling {with_interval(plain)} × long polling"


def test_a_word_that_bare_tcp_misses_too_says_so() -> None:
    results = changed(fake_results(), "websocket", "wire_bytes_per_event", [500.0, 501.0, 499.0, 500.0, 500.0])
    for level, told in ((420.0, True), (300.0, False)):
        results = changed(results, "raw", "wire_bytes_per_event", [level] * 5)
        found = word(results, "websocket", "bandwidth: very low")
        assert found.word == WORSE_THAN_CLAIMED
        assert ("bare TCP as well: 1.64 × payload" in found.evidence) is told


def test_the_tally_says_how_many_are_better_and_worse_than_claimed() -> None:
    claim = CLAIMS[0]
    words = (WORSE_THAN_CLAIMED, BETTER_THAN_CLAIMED, HOLDS, OPEN, UNJUDGED, HOLDS)
    lines = [Line(claim, {str(place): Judgement(word, "") for place, word in enumerate(words)})]
    assert tally_text(lines) == (
        "5 verdicts on the article's claims: holds 2, better than claimed 1, worse than claimed 1, not settled 1."
    )
    only_yes_or_no = [Line(claim, {"sparse": Judgement(UNJUDGED, "")}), Line(claim, {}, Judgement(HOLDS, ""))]
    assert tally_text(only_yes_or_no) == (
        "None of the article's claims about numbers could be judged. 1 claim with a yes or no: holds 1."
    )


def test_functional_claims_are_what_the_probe_saw() -> None:
    words = "plain HTTP: works through a proxy that forwards no Upgrade"
    line = judged(fake_results(), "sse", words, [YES])
    assert line.functional is not None and (line.functional.word, line.functional.evidence) == (HOLDS, YES.evidence)
    no = CapabilityCheck(YES.transport, YES.check, False, "0 of 20")
    unknown = CapabilityCheck(YES.transport, YES.check, None, "no browser")
    for probes, expected in (([no], WORSE_THAN_CLAIMED), ([unknown], OPEN), (None, UNJUDGED), ([], UNJUDGED)):
        found = judged(fake_results(), "sse", words, probes).functional
        assert found is not None and found.word == expected


@pytest.mark.parametrize(
    ("transport", "check", "words", "seen", "expected"),
    [
        ("long_polling", "opens_connections", "frequent connection open and close", False, BETTER_THAN_CLAIMED),
        ("polling", "asks_on_a_clock", "timed requests", False, BETTER_THAN_CLAIMED),
        ("sse", "sends_where_it_receives", "one-way", True, BETTER_THAN_CLAIMED),
        ("websocket", "sends_where_it_receives", "full duplex", False, WORSE_THAN_CLAIMED),
        ("long_polling", "waits_for_data", "held until data is ready", False, WORSE_THAN_CLAIMED),
    ],
)
def test_a_refuted_capability_says_whether_users_are_better_off(
    transport: str, check: str, words: str, seen: bool, expected: str
) -> None:
    found = judged(fake_results(), transport, words, [CapabilityCheck(transport, check, seen, "seen")]).functional
    assert found is not None and found.word == expected


def test_every_burden_is_a_capability_that_is_claimed() -> None:
    assert {claim.by.check for claim in CLAIMS if isinstance(claim.by, ByCheck)} >= BURDENS


@PURE
@given(st.floats(0.01, 100), st.floats(1, 3))
def test_the_words_an_interval_spans_are_those_of_its_ends_and_between(low: float, factor: float) -> None:
    found = spanned(Estimate(low, low, low * factor, 5), 1.0, LATENCY_BOUNDS)
    assert found[0] == rate(low, LATENCY_BOUNDS) and found[-1] == rate(low * factor, LATENCY_BOUNDS)
    assert found == [name for name in WORDS if name in found]


def test_the_tally_counts_judgements() -> None:
    found = tally(judge([summarize(fake_results())], None))
    assert found[HOLDS] >= 3 and found[BETTER_THAN_CLAIMED] >= 2 and UNJUDGED not in found


def run_folder(folder: Path) -> Path:
    """A run of two operating points with probes."""
    busy = fake_results(seed=11)
    busy.plan = msgspec.structs.replace(busy.plan, point="broadcast")
    (folder / "broadcast").mkdir(parents=True)
    save(fake_results(), folder)
    save(busy, folder / "broadcast")
    about = provenance(["python", "-m", "bench"], placement([0, 1])) | {"finished": True}
    save(CapabilityResults(**about, checks=[YES]), folder, CAPABILITIES_FILE)
    return folder


@pytest.mark.slow
def test_the_report_of_a_run_answers_for_both_points(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    done = invoke("reports", str(folder))
    assert done.returncode == 0, done.stderr
    page, text = (folder / "index.html").read_text(), (folder / "report.md").read_text()
    for said in (page, text, done.stdout):
        assert "Many quiet rooms" in said and "One busy room" in said and "verdicts on the article" in said
    for said in (page, text):
        assert "python -m bench cell polling/latency_ms_p50 --point broadcast" in said
        assert "python -m bench capabilities --transports sse" in said and YES.evidence in said
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"pairs.png", "broadcast_pairs.png", "broadcast_latency_percentiles.svg"} <= names


@pytest.mark.parametrize("content", ["", "{", json.dumps({"schema_version": 99}), json.dumps({"schema_version": 1})])
def test_a_bad_file_of_probes_is_one_clear_line(tmp_path: Path, content: str) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / CAPABILITIES_FILE).write_text(content)
    done = invoke("reports", str(folder))
    assert done.returncode == 2 and CAPABILITIES_FILE in done.stderr and "Traceback" not in done.stderr


def test_a_plan_written_before_there_were_points_is_the_sparse_one(tmp_path: Path) -> None:
    save(fake_results(), tmp_path)
    path = tmp_path / "results.json"
    found = json.loads(path.read_text())
    del found["plan"]["point"]
    path.write_text(json.dumps(found))
    assert load(tmp_path).plan.point == "sparse"
