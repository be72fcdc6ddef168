"""The cost section of several runs, with the spread within and between them. Pure but for reading the files."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench.results.catalogue import METRICS
from bench.results.files import COST_FILE, ResultsError, read
from bench.results.run import Plan
from bench.results.sweep import SweepResults
from feed.transports import BASELINE
from reports.formats import NOT_MEASURED, counted, listed, number, with_interval
from reports.layout import Section, Table
from reports.sections.cost import RSS, cost_section, summarize_cost
from reports.sections.cost_trials import FLOOR_ARM, PER_EVENT, Found, Valid, arm_name
from reports.spread import LEAST_RUNS, over_runs

APART_S: Final = 3600
"""Runs that begin closer to each other than this say little about another hour."""
SPREADS: Final = {
    "main": PER_EVENT,
    "low_rate": PER_EVENT,
    "requests": "server_cpu_us_per_request",
    "memory": RSS,
    "tls": PER_EVENT,
}
"""The sections with blocks, and what each is about."""
RELATIVE: Final = ("main", "low_rate")
"""Those that have the baseline and the floor in each block."""


class Alike(NamedTuple):
    """Runs that can be averaged, the oldest first, and a sentence for each section that was left out to that end."""

    runs: list[SweepResults]
    left_out: list[str]


def read_runs(paths: Sequence[Path]) -> list[SweepResults]:
    """The runs, the oldest first. Raises ``ResultsError`` for too few, or for one given twice."""
    if len(paths) < LEAST_RUNS:
        raise ResultsError(f"{counted(len(paths), 'run')}: an interval between runs needs at least {LEAST_RUNS}")
    runs = [read(path / COST_FILE if path.is_dir() else path, SweepResults) for path in paths]
    for place, (path, run) in enumerate(zip(paths, runs, strict=True)):
        if any(run.trials == other.trials for other in runs[:place]):
            raise ResultsError(f"{path}: the same run as one before it; each counts once")
        try:
            datetime.fromisoformat(run.created_at)
        except ValueError as error:
            raise ResultsError(f"{path}: created_at {run.created_at[:40]!r} is no time") from error
    return sorted(runs, key=lambda run: run.created_at)


def alike(runs: Sequence[SweepResults]) -> Alike:
    """Keep of each run the sections whose loads are those of the newest run that has them; seeds may differ.

    ``runs``: the oldest first. Raises ``ResultsError`` if fewer than ``LEAST_RUNS`` have a section in common.
    """
    newest = {name: _unseeded(loads) for run in runs for name, loads in run.loads.items()}
    others = [[name for name, loads in run.loads.items() if _unseeded(loads) != newest[name]] for run in runs]
    for name in newest:
        measured = sum(name in run.loads and name not in other for run, other in zip(runs, others, strict=True))
        if measured < LEAST_RUNS:
            raise ResultsError(
                f"{name}: {counted(measured, 'run')} under the loads of the newest; an interval between runs needs at "
                f"least {LEAST_RUNS}"
            )
    left_out = [
        f"Run {place} measured {listed(names)} under other loads than later runs: left out."
        for place, names in enumerate(others, 1)
        if names
    ]
    return Alike([_without(run, names) for run, names in zip(runs, others, strict=True)], left_out)


def _unseeded(loads: Mapping[str, Plan]) -> dict[str, Plan]:
    return {label: msgspec.structs.replace(plan, seed=0) for label, plan in loads.items()}


def _without(run: SweepResults, sections: Sequence[str]) -> SweepResults:
    loads = {name: of for name, of in run.loads.items() if name not in sections}
    return msgspec.structs.replace(run, loads=loads, trials=[one for one in run.trials if one.section in loads])


def spread_section(of: Alike) -> Section:
    """The cost section of all runs together, after the tables of each run and of the spread."""
    section = cost_section(summarize_cost(*of.runs))
    tables = [_runs_table(of.runs), *_spread_tables(of.runs), *section.tables]
    cautions = [*_too_close(of.runs), *_versions(of.runs), *of.left_out, *section.cautions]
    return msgspec.structs.replace(section, tables=tables, cautions=cautions)


def _versions(runs: Sequence[SweepResults]) -> list[str]:
    """Programs that changed from run to run: part of the spread may be theirs."""
    of = [{"pushmark": run.pushmark_version, **run.versions} for run in runs]
    changed = sorted({name for one in of for name in one if any(other.get(name) != one[name] for other in of)})
    return [f"The runs have different versions of {listed(changed)}."] if changed else []


def _too_close(runs: Sequence[SweepResults]) -> list[str]:
    began = [datetime.fromisoformat(run.created_at) for run in runs]
    gaps_s = [(after - before).total_seconds() for before, after in pairwise(began)]
    return [
        f"Runs {place} and {place + 1} began {gap_s:,.0f} s apart: less than an hour shows little of what "
        "differs from hour to hour."
        for place, gap_s in enumerate(gaps_s, 1)
        if gap_s < APART_S
    ]


def _runs_table(runs: Sequence[SweepResults]) -> Table:
    rows = [
        [
            f"run {place}",
            run.created_at,
            run.processor,
            str(run.seed),
            listed(list(run.loads)),
            f"{sum(one.trial.status == 'ok' for one in run.trials)} of {len(run.trials)}",
        ]
        for place, run in enumerate(runs, 1)
    ]
    return Table("The runs", ["", "Began", "Processor", "Seed", "Sections", "Valid trials"], rows, [])


def _spread_tables(runs: Sequence[SweepResults]) -> list[Table]:
    """For every row its mean in each run, and both intervals; the ratios to baseline and floor behind the numbers."""
    valid = Valid(*runs)
    tables = []
    for section, metric in SPREADS.items():
        rows = [_spread(arm_name(arm), valid.values(section, arm, metric)) for arm in valid.arms(section)]
        for base, name in ((BASELINE, "baseline"), (FLOOR_ARM, "floor")) if section in RELATIVE else ():
            arms = [arm for arm in valid.arms(section) if arm != base and valid.of(section, base)]
            rows += [_spread(f"{arm_name(arm)}, × {name}", valid.ratios(section, arm, metric, base)) for arm in arms]
        measured = [place for place, run in enumerate(runs, 1) if section in run.loads]
        tables.append(_table(section, metric, rows, measured))
    return [table for table in tables if table.rows]


def _table(section: str, metric: str, rows: Sequence[list[str]], runs: Sequence[int]) -> Table:
    head = ["", *(f"run {place}" for place in runs), "mean [within runs]", "[between runs]"]
    notes = [
        "Within: the 95 % interval by the scatter of blocks around their run's mean. Between: the wider one of that "
        "and the t interval over the runs' means, with each run counted once. Tables below have the interval between."
    ]
    return Table(f"Spread of {METRICS[metric].title}: {section}", head, rows, notes)


def _spread(name: str, found: Found) -> list[str]:
    of = over_runs([list(values.values()) for values in found.values() if values]) if any(found.values()) else None
    if of is None:
        return [name, *(NOT_MEASURED for _ in found), NOT_MEASURED, NOT_MEASURED]
    means = iter(of.means)
    each = [number(next(means)) if values else NOT_MEASURED for values in found.values()]
    between = with_interval(of.between).partition(" ")[2]
    return [name, *each, with_interval(of.within), between or NOT_MEASURED]
