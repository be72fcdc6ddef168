"""Decision 0011: the words of its run's verdicts, before and after, are what the code says."""

import math

from bench.results.capabilities import CapabilityResults
from bench.results.files import load, read
from reports.blocks import main_blocks
from reports.formats import new_run
from reports.samples import Paired
from reports.statistics import ALPHA, EQUAL, OPEN, new_run_blocks
from reports.style import LOOKS
from reports.table.rows import POINT_NAMES
from reports.table.verdicts import (
    BETTER_THAN_CLAIMED,
    HOLDS,
    UNJUDGED,
    WORDS,
    WORSE_THAN_CLAIMED,
    Line,
    Measured,
    judge_all,
    judgements,
    tally,
)
from tests.conftest import ROOT, VERSION_1
from tests.helpers.fake_results import fake_results, put

DECISION = ROOT / "docs" / "decisions" / "0011-verdict-words.md"
BEFORE = {
    HOLDS: "holds",
    BETTER_THAN_CLAIMED: "does not hold",
    WORSE_THAN_CLAIMED: "does not hold",
    EQUAL: "no practical difference",
    OPEN: "not settled",
}
EVERYWHERE = "every point"


def judged() -> list[Line]:
    runs = [load(VERSION_1), load(VERSION_1 / "broadcast")]
    measured = [Measured(results.plan, main_blocks(results)) for results in runs]
    return judge_all(measured, read(VERSION_1 / "probes.json", CapabilityResults).checks)


def table(lines: list[Line]) -> str:
    """Every judged claim as a Markdown table, one row per verdict."""
    rows = [("", "Technology", "The article says", "Where", "Before", "Now"), ("---",) * 6]
    for line in lines:
        where = [EVERYWHERE] if line.functional else [POINT_NAMES[point] for point in line.points]
        for place, judgement in zip(where, judgements(line), strict=True):
            if judgement.word != UNJUDGED:
                number, name = str(len(rows) - 1), LOOKS[line.claim.transport].name
                rows.append((number, name, line.claim.words, place.lower(), BEFORE[judgement.word], judgement.word))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def test_the_decision_has_every_verdict_of_its_run_before_and_after() -> None:
    lines = judged()
    expected = table(lines)
    assert expected in DECISION.read_text(), f"the table of {DECISION.name} is to be:\n{expected}"
    assert sum(tally(lines).values()) == 30


def test_every_word_has_one_before_and_the_decision_explains_it() -> None:
    assert tuple(BEFORE) == WORDS
    assert all(f"*{word}*" in DECISION.read_text() for word in WORDS)


def test_a_word_that_is_not_settled_says_how_large_a_run_would_tell() -> None:
    """SSE's median around 25 ms, the bound of *very low*; the bound of *low*, 40 ms, is far away."""
    results = fake_results()
    values = [24.0, 26.5, 24.5, 26.0, 25.5]
    for trial in results.trials:
        if trial.transport == "sse":
            put(trial, {"latency_ms_p50": values[trial.block - 1]})
    lines = judge_all([Measured(results.plan, main_blocks(results))], None)
    found = next(
        line.points["sparse"] for line in lines if line.claim.words == "latency: low" and line.claim.transport == "sse"
    )
    needed = new_run_blocks(Paired([math.log(value / 25) for value in values], 0.0), ALPHA)
    assert found.word == OPEN and needed
    assert found.evidence.endswith(f": very low to low; {new_run(needed)}"), found.evidence
