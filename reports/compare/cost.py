"""The cost section of several runs, with the spread within and between them. Pure but for reading the files."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

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


def read_runs(paths: Sequence[Path]) -> list[SweepResults]:
    """The runs, the oldest first. Raises ``ResultsError`` for too few, for one given twice, or for unlike ones."""
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
        unlike = _unlike(runs[0], run)
        if unlike:
            raise ResultsError(f"{path}: measured something else than {paths[0]}: {unlike}")
    return sorted(runs, key=lambda run: run.created_at)


def _unlike(a: SweepResults, b: SweepResults) -> str:
    """The first load that is not the same in both, its seed left out; empty if all are."""
    in_a, in_b = _loads(a), _loads(b)
    return next((place for place in [*in_a, *in_b] if in_a.get(place) != in_b.get(place)), "")


def _loads(run: SweepResults) -> dict[str, Plan]:
    return {
        f"{section}, {label}": msgspec.structs.replace(plan, seed=0)
        for section, loads in run.loads.items()
        for label, plan in loads.items()
    }


def spread_section(runs: Sequence[SweepResults]) -> Section:
    """The cost section of all runs together, after the tables of each run and of the spread."""
    section = cost_section(summarize_cost(*runs))
    tables = [_runs_table(runs), *_spread_tables(runs), *section.tables]
    cautions = [*_too_close(runs), *_versions(runs), *section.cautions]
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
            f"{sum(one.trial.status == 'ok' for one in run.trials)} of {len(run.trials)}",
        ]
        for place, run in enumerate(runs, 1)
    ]
    return Table("The runs", ["", "Began", "Processor", "Seed", "Valid trials"], rows, [])


def _spread_tables(runs: Sequence[SweepResults]) -> list[Table]:
    """For every row its mean in each run, and both intervals; the ratios to baseline and floor behind the numbers."""
    valid = Valid(*(run.trials for run in runs))
    tables = []
    for section, metric in SPREADS.items():
        rows = [_spread(arm_name(arm), valid.values(section, arm, metric)) for arm in valid.arms(section)]
        for base, name in ((BASELINE, "baseline"), (FLOOR_ARM, "floor")) if section in RELATIVE else ():
            arms = [arm for arm in valid.arms(section) if arm != base and valid.of(section, base)]
            rows += [_spread(f"{arm_name(arm)}, × {name}", valid.ratios(section, arm, metric, base)) for arm in arms]
        tables.append(_table(section, metric, rows, len(runs)))
    return [table for table in tables if table.rows]


def _table(section: str, metric: str, rows: Sequence[list[str]], runs: int) -> Table:
    head = ["", *(f"run {place}" for place in range(1, runs + 1)), "mean [within runs]", "[between runs]"]
    notes = [
        "Within: the 95 % interval by the scatter of blocks around their run's mean. Between: the wider one of that "
        "and the t interval over the runs' means, with each run counted once. Tables below have the interval between."
    ]
    return Table(f"Spread of {METRICS[metric].title}: {section}", head, rows, notes)


def _spread(name: str, found: Found) -> list[str]:
    of = over_runs([list(values.values()) for values in found if values]) if any(found) else None
    if of is None:
        return [name, *(NOT_MEASURED for _ in found), NOT_MEASURED, NOT_MEASURED]
    means = iter(of.means)
    each = [number(next(means)) if values else NOT_MEASURED for values in found]
    between = with_interval(of.between).partition(" ")[2]
    return [name, *each, with_interval(of.within), between or NOT_MEASURED]
