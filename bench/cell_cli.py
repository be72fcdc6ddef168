"""``python -m bench cell sse/latency_p50``: measure one cell of a published table again."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console

from bench.host import placement
from bench.orchestrate import INTERRUPTED, orchestrate
from bench.processes import ROOT
from bench.progress import Reporter
from bench.results import RESULTS_FILE, Plan, Results, ResultsError, load
from bench.runner import expected_of, new_folder, new_results, run_points
from bench.thresholds import ThresholdError, parse_cell

PUBLISHED: Final = (ROOT / "results" / "latest", ROOT / "docs" / "example")
"""Where a published run is looked for, in this order."""
BLOCKS: Final = 3


@click.command()
@click.argument("cell", metavar="TRANSPORT/METRIC")
@click.option("--point", default="sparse", show_default=True, help="Operating point of the published run.")
@click.option(
    "--of",
    "published",
    type=click.Path(path_type=Path),
    help="Published run  [default: results/latest or docs/example]",
)
@click.option("--seed", type=int, help="Of the new schedules  [default: another than the published one]")
@click.option("--blocks", type=click.IntRange(2, 1000), default=BLOCKS, show_default=True, help="Trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder  [default: results/<time>]")
def cell(cell: str, point: str, published: Path | None, seed: int | None, blocks: int, out: Path | None) -> None:
    """Measure one cell of a published table again, and say whether it agrees.

    Exit code 0: agrees; 1: differs from published; 3: not settled, more blocks are needed.
    """
    try:
        transport, metric = parse_cell(cell)
        folder_of = point_folder(published or _published(), point)
        source = load(folder_of)
        plan = plan_again(source, transport, blocks, seed)
        folder = new_folder(out)
    except (ResultsError, ThresholdError, OSError) as error:
        raise click.UsageError(str(error)) from error
    place = placement(sorted(os.sched_getaffinity(0)))
    points = {folder: new_results(plan, ["python", "-m", "bench", *sys.argv[1:]], place)}
    console = Console()

    async def measure(reporter: Reporter) -> None:
        reporter.begin(expected_of(points), blocks)
        await run_points(points, place, reporter)

    if orchestrate(measure, place, console):
        sys.exit(INTERRUPTED)
    judge = [sys.executable, "-m", "reports", "agree", str(folder_of), str(folder), f"{transport}/{metric}"]
    sys.exit(subprocess.run(judge, cwd=ROOT, check=False).returncode)


def point_folder(run: Path, point: str) -> Path:
    """Where a run has an operating point. Raises ``ResultsError`` naming those it has."""
    places = [run, *(path.parent for path in run.glob(f"*/{RESULTS_FILE}"))]
    folders = {load(place).plan.point: place for place in places}
    if point not in folders:
        raise ResultsError(f"{run} has no operating point {point!r}: there are {', '.join(folders)}")
    return folders[point]


def plan_again(published: Results, transport: str, blocks: int, seed: int | None) -> Plan:
    """What was planned, for one transport alone. Raises ``ResultsError`` if it was not measured, or sabotaged."""
    if transport not in published.plan.transports:
        raise ResultsError(f"the published run has no {transport}: it has {', '.join(published.plan.transports)}")
    if published.plan.sabotage:
        raise ResultsError("the published run had servers that committed faults on purpose: name another with --of")
    other = published.plan.seed + 1 if seed is None else seed
    return msgspec.structs.replace(
        published.plan,
        transports=[transport],
        blocks=blocks,
        seed=other,
        curve_repeats=0,
        loopback_too=False,
        slo=[],
    )


def _published() -> Path:
    found = next((path for path in PUBLISHED if (path / RESULTS_FILE).is_file()), None)
    if found is None:
        raise ResultsError("there is no published run: name one with --of, or measure one with `make bench`")
    return found
