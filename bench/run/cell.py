"""``python -m bench cell sse/latency_p50``: measure one cell of a published table again."""

import os
import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from bench.machine.host import placement
from bench.machine.processes import ROOT
from bench.plan.presets import SPARE_BLOCKS
from bench.results.catalogue import METRICS
from bench.results.files import ResultsError, load, point_files
from bench.results.run import Plan, Results, Trial
from bench.results.thresholds import ThresholdError, parse_cell
from bench.run.folders import NEW_OUT_HELP, new_folder
from bench.run.progress import Progress
from bench.run.runner import run_batches, table_batch
from bench.run.shell import orchestrate, report, this_command
from feed.console.command_line import INTERRUPTED
from feed.console.terminal import new_console

PUBLISHED: Final = (ROOT / "results" / "latest", ROOT / "docs" / "runs" / "table")
"""Folders that are searched for a published run, in this order."""
BLOCKS: Final = 5
"""Fewer give no verdict (docs/method.md, Statistics)."""
NOT_SETTLED: Final = 3
"""Exit code; ``python -m reports agree`` uses the same."""


@click.command()
@click.argument("cell", metavar="TRANSPORT/METRIC")
@click.option(
    "--point", default="sparse", show_default=True, help="Operating point of the published run: sparse or broadcast."
)
@click.option(
    "--of",
    "published",
    type=click.Path(path_type=Path),
    help="Folder of the published run.  [default: results/latest or docs/runs/table]",
)
@click.option("--seed", type=int, help="Seed of the new schedules.  [default: another than the published one]")
@click.option(
    "--blocks",
    type=click.IntRange(2, 1000),
    default=BLOCKS,
    show_default=True,
    help="Number of blocks, of one trial each.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=NEW_OUT_HELP)
def cell(cell: str, point: str, published: Path | None, seed: int | None, blocks: int, out: Path | None) -> None:
    """Measure one cell of a published table again.

    Exit code 0: the new value agrees with the published one; 1: it is better or worse; 3: not settled, as by fewer
    than 5 valid blocks. The new run decides by itself: trials of two runs are never added up. results/latest is left
    as it is.
    """
    try:
        transport, metric = parse_cell(cell)
        folder_of = point_folder(published or _published(), point)
        source = load(folder_of)
        plan = plan_again(source, transport, blocks, seed)
        check_published(source, transport, metric)
        folder = new_folder(out)
    except (ResultsError, ThresholdError, OSError) as error:
        raise click.UsageError(str(error)) from error
    place = placement(sorted(os.sched_getaffinity(0)))
    batch, console = table_batch(plan, this_command(), place, folder), new_console()

    async def measure(progress: Progress) -> None:
        progress.begin(batch.expected_s, blocks)
        await run_batches([batch], place, progress, plan)

    if orchestrate(measure, place, console):
        sys.exit(INTERRUPTED)
    fresh = load(batch.folder)
    if not has_valid(fresh, transport, metric):
        console.print(f"{transport}/{metric}: not settled. {why_none(fresh)}", highlight=False, markup=False)
        sys.exit(NOT_SETTLED)
    sys.exit(report("agree", str(folder_of), str(batch.folder), f"{transport}/{metric}"))


def point_folder(run: Path, point: str) -> Path:
    """The folder of an operating point. Raises ``ResultsError``, which names the run's points."""
    folders = {load(path).plan.point: path.parent for path in point_files(run)}
    if point not in folders:
        raise ResultsError(f"{run} has no operating point {point!r}: there are {', '.join(folders)}")
    return folders[point]


def plan_again(published: Results, transport: str, blocks: int, seed: int | None) -> Plan:
    """The published plan for one transport alone, with another seed. Raises ``ResultsError`` if the published run lacks
    the transport or had injected faults."""
    if transport not in published.plan.transports:
        raise ResultsError(f"the published run has no {transport}: it has {', '.join(published.plan.transports)}")
    if published.plan.inject_fault:
        raise ResultsError("the published run had faults injected into its servers: name another with --of")
    other = published.plan.seed + 1 if seed is None else seed
    return msgspec.structs.replace(
        published.plan,
        transports=[transport],
        blocks=blocks,
        spare_blocks=SPARE_BLOCKS,
        seed=other,
        curve_repeats=0,
        loopback_too=False,
        slo=[],
    )


def check_published(published: Results, transport: str, metric: str) -> None:
    """Raise ``ResultsError`` for a cell that cannot be judged, whatever the new trials measure."""
    if not METRICS[metric].margin:
        judged = ", ".join(name for name, of in METRICS.items() if of.margin)
        raise ResultsError(f"{metric} has no margin to be judged by: allowed are {judged}")
    if not has_valid(published, transport, metric):
        found = {name for trial in published.trials if _counts(trial, transport) for name in trial.values}
        there = ", ".join(name for name, of in METRICS.items() if of.margin and name in found)
        raise ResultsError(
            f"the published run has no valid {transport}/{metric}: of {transport} it has {there or 'none'}"
        )


def has_valid(results: Results, transport: str, metric: str) -> bool:
    """Has any valid trial of the transport measured the metric?"""
    return any(_counts(trial, transport) and metric in trial.values for trial in results.trials)


def _counts(trial: Trial, transport: str) -> bool:
    return trial.transport == transport and trial.purpose == "main" and trial.status == "ok"


def why_none(fresh: Results) -> str:
    """The reason why each trial lacks the number, as one line of text."""
    said = {trial.id: "; ".join(trial.reasons or trial.notes) or "it was not measured" for trial in fresh.trials}
    return " ".join(f"{id_}: {why}." for id_, why in said.items()) or "Nothing was measured."


def _published() -> Path:
    found = next((path for path in PUBLISHED if point_files(path)), None)
    if found is None:
        raise ResultsError("there is no published run: name one with --of, or measure one with `make bench`")
    return found
