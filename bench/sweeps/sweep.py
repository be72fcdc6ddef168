"""A sweep: many loads in one run and one results file, measured by ``bench.run.runner`` and then rendered."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
from rich.markup import escape

from bench.machine.host import Placement, placement
from bench.machine.provenance import provenance
from bench.plan.trials import Planned
from bench.results.run import Plan
from bench.results.sweep import SweepResults
from bench.run.folders import folder_for
from bench.run.progress import Progress, duration
from bench.run.runner import Batch, run_batches
from bench.run.shell import orchestrate, report, this_command
from bench.sweeps.resume import continued, interrupted_run
from feed.console.command_line import INTERRUPTED
from feed.console.terminal import new_console


class Sweep(NamedTuple):
    """Trials whose records go into one results file."""

    name: str
    """Name of the results file."""
    preset: str
    seed: int
    planned: list[Planned]
    idle_of: Plan | None = None
    """The plan by which idle cycles are measured before the trials; ``None``: they are not."""
    evaluate: Callable[..., None] | None = None
    """Fills the trials' records, as in ``bench.trial.context.RunContext``."""
    continues: bool = False
    """Does it go on in the folder of an interrupted run, with the trials that are missing there?"""


def new_sweep(sweep: Sweep, command: list[str], placement: Placement) -> SweepResults:
    """The results of a sweep before anything is measured."""
    loads: dict[str, dict[str, Plan]] = {}
    for one in sweep.planned:
        loads.setdefault(one.section, {})[f"{one.load} ({one.trial.transport})"] = one.plan
    return SweepResults(**provenance(command, placement), preset=sweep.preset, seed=sweep.seed, loads=loads, trials=[])


def run_sweep(sweep: Sweep, out: Path | None, *, as_json: bool = False) -> None:
    """Measure a sweep, render it, and exit the process. Ctrl-C keeps what was measured and renders it.

    Exit code: that of the report, ``INTERRUPTED``, or 1 if a trial failed. Raises ``UsageError`` without a trial.
    """
    if not sweep.planned:
        raise click.UsageError("nothing to measure: this preset has none of these sections")
    place = placement(sorted(os.sched_getaffinity(0)))
    results, planned = new_sweep(sweep, this_command(), place), sweep.planned
    earlier = interrupted_run(out, sweep.name) if sweep.continues else None
    if earlier is None or out is None:
        folder = folder_for(out, sweep.name)
    else:
        folder, (results, planned) = out.resolve(), continued(earlier, results, planned)
    batch = Batch(results, planned, folder, sweep.name)
    console = new_console(stderr=as_json)
    said = f"{len(batch.planned)} trials, about {duration(batch.expected_s)}. Results: {folder / sweep.name}"
    console.print(said, highlight=False, markup=False)

    async def measure(progress: Progress) -> None:
        progress.begin(batch.expected_s, len(batch.planned))
        await run_batches([batch], place, progress, sweep.idle_of, sweep.evaluate)

    interrupted = orchestrate(measure, place, console)
    rendered = report(str(folder), *(["--json"] if as_json else []))
    failed = [one.trial for one in results.trials if one.trial.status == "failed"]
    for trial in failed:
        console.print(f"[red]{escape(trial.id)} has no numbers:[/] {escape('; '.join(trial.reasons))}", highlight=False)
    sys.exit(INTERRUPTED if interrupted else rendered or int(bool(failed)))
