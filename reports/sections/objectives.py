"""Service-level objectives: what a run had to keep, and whether it did. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.results.catalogue import METRICS
from bench.results.thresholds import COUNTS, Objective, parse_objective
from reports.blocks import Blocks
from reports.formats import NOT_MEASURED, with_interval
from reports.layout import Case, Section, Table
from reports.statistics import OPEN, Estimate
from reports.style import LOOKS
from reports.table.run import RunFolder
from reports.table.summary import Summary

MET: Final = "met"
MISSED: Final = "missed"
RULE: Final = (
    f"{MET}: the estimate and its whole 95 % interval keep the objective; {MISSED}: the estimate does not; {OPEN}: the "
    "estimate does, its interval does not. A count, or a value without an interval, is met or missed. An objective "
    "about something that was not measured is missed."
)


class Outcome(msgspec.Struct, frozen=True):
    """One objective for one transport at one operating point."""

    summary: Summary
    objective: str
    transport: str
    measured: str
    word: str


def build(run: RunFolder) -> list[Section]:
    """One section if the run had objectives, with a table per operating point. Reads ``results.json`` of each point."""
    head = ["Objective", "Transport", "Measured", "Outcome"]
    tables = [Table(of.point, head, _rows(of), [RULE], is_main=True) for of in run.points if of.results.plan.slo]
    return [Section("Service-level objectives", "What this run had to keep", [], tables)] if tables else []


def outcomes(summaries: Sequence[Summary]) -> list[Outcome]:
    """Every objective of a run, for every transport that it is about, at every operating point."""
    return [outcome for of in summaries for text in of.results.plan.slo for outcome in _outcomes(of, text)]


def missed(summaries: Sequence[Summary]) -> list[str]:
    """The objectives that were not kept, one line each."""
    return [_line(outcome) for outcome in outcomes(summaries) if outcome.word == MISSED]


def objective_cases(summaries: Sequence[Summary]) -> list[Case]:
    """One case per outcome: *missed* fails, *not settled* is skipped."""
    return [
        Case(
            group=f"{outcome.summary.results.plan.point}.{outcome.transport}",
            name=outcome.objective,
            measured=outcome.measured,
            failure=_line(outcome) if outcome.word == MISSED else "",
            skipped=f"{OPEN}: {outcome.measured}" if outcome.word == OPEN else "",
        )
        for outcome in outcomes(summaries)
    ]


def _rows(of: Summary) -> list[list[str]]:
    return [[one.objective, LOOKS[one.transport].name, one.measured, one.word] for one in outcomes([of])]


def _line(of: Outcome) -> str:
    return f"{of.summary.point}: {of.objective}, {LOOKS[of.transport].name}: {of.measured}"


def _outcomes(of: Summary, text: str) -> list[Outcome]:
    objective = parse_objective(text)
    names = [objective.transport] if objective.transport else list(of.blocks.trials)
    return [Outcome(of, text, name, *_judged(objective, of.blocks, name)) for name in names]


def _judged(objective: Objective, blocks: Blocks, name: str) -> tuple[str, str]:
    """What was measured, and the word for it."""
    if objective.metric in COUNTS:
        counts = blocks.counts(name) if name in blocks.trials else None
        value = None if counts is None else getattr(counts, objective.metric)
        if value is None:
            return NOT_MEASURED, MISSED
        return f"{value:,}", MET if objective.holds(value) else MISSED
    found = blocks.estimate(name, objective.metric) if name in blocks.trials else None
    if found is None:
        return NOT_MEASURED, MISSED
    return f"{with_interval(found)} {METRICS[objective.metric].unit}".strip(), judge(objective, found)


def judge(objective: Objective, found: Estimate) -> str:
    """*Met*, *missed* or *not settled*: is the objective kept by the estimate, and by both ends of its interval?"""
    if not objective.holds(found.value):
        return MISSED
    ends = [end for end in (found.low, found.high) if end is not None]
    return MET if all(map(objective.holds, ends)) else OPEN
