"""Service-level objectives: what a run was told to keep, and whether it did. Pure."""

from collections.abc import Sequence
from typing import Final

from bench.results.catalogue import METRICS
from bench.results.thresholds import COUNTS, Objective, parse_objective
from reports.blocks import Blocks
from reports.formats import NOT_MEASURED, with_interval
from reports.layout import Section, Table
from reports.statistics import OPEN, Estimate
from reports.style import LOOKS
from reports.table.run import RunFolder
from reports.table.summary import Summary

MET: Final = "met"
MISSED: Final = "missed"
RULE: Final = (
    f"{MET}: the whole 95 % interval keeps it; {MISSED}: the estimate does not; {OPEN}: the estimate does, its "
    "interval does not. A count, or a value without an interval, keeps it or not. What was not measured is missed."
)


def build(run: RunFolder) -> list[Section]:
    """One section if an operating point had objectives. Reads ``results.json`` of each point."""
    section = objective_section(run.points)
    return [section] if section else []


def objective_section(summaries: Sequence[Summary]) -> Section | None:
    """A table per operating point; ``None`` if nothing was to be kept."""
    tables = [_table(of) for of in summaries if of.results.plan.slo]
    if not tables:
        return None
    return Section("Service-level objectives", "What this run was told to keep", [], tables)


def missed(section: Section | None) -> list[str]:
    """The objectives that were not kept, a line each."""
    rows = [(table.title, row) for table in (section.tables if section else []) for row in table.rows]
    return [f"{title}: {row[0]}, {row[1]}: {row[2]}" for title, row in rows if row[3] == MISSED]


def _table(of: Summary) -> Table:
    rows = []
    for text in of.results.plan.slo:
        objective = parse_objective(text)
        names = [objective.transport] if objective.transport else list(of.blocks.trials)
        rows += [[text, LOOKS[name].name, *_outcome(objective, of.blocks, name)] for name in names]
    return Table(of.point, ["Objective", "Transport", "Measured", "Outcome"], rows, [RULE], is_main=True)


def _outcome(objective: Objective, blocks: Blocks, name: str) -> list[str]:
    if objective.metric in COUNTS:
        counts = blocks.counts(name) if name in blocks.trials else None
        value = None if counts is None else getattr(counts, objective.metric)
        if value is None:
            return [NOT_MEASURED, MISSED]
        return [f"{value:,}", MET if objective.holds(value) else MISSED]
    found = blocks.estimate(name, objective.metric) if name in blocks.trials else None
    if found is None:
        return [NOT_MEASURED, MISSED]
    return [f"{with_interval(found)} {METRICS[objective.metric].unit}".strip(), judge(objective, found)]


def judge(objective: Objective, found: Estimate) -> str:
    """Is it kept by the estimate, and by both ends of its interval?"""
    if not objective.holds(found.value):
        return MISSED
    ends = [end for end in (found.low, found.high) if end is not None]
    return MET if all(map(objective.holds, ends)) else OPEN
