"""``python -m bench verify``: the measurement itself, held against a packet capture."""

import os
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from bench.capture import CannotCaptureError
from bench.cost_cli import OUT_HELP, folder_for, render
from bench.host import placement
from bench.orchestrate import INTERRUPTED, orchestrate
from bench.plan import SPARSE, make_plan
from bench.provenance import provenance
from bench.results import VERIFY_FILE, VerifyResults
from bench.verify import run_verify

VERIFY_PRESETS: Final = ("default", "smoke")


@click.command()
@click.option("--preset", type=click.Choice(VERIFY_PRESETS), default="default", show_default=True)
@click.option("--seed", type=int, help="Of the schedule.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def verify(preset: str, seed: int | None, out: Path | None) -> None:
    """Hold the measurement against the truth: one trial per transport at the sparse point, under packet capture.

    Wire bytes against the capture's, receive times against the kernel's stamps; exit code 0 only if all checks hold.
    Needs tcpdump and the right to capture; about two minutes.
    """
    plan = make_plan(preset, SPARSE, seed=seed, blocks=1, curve_repeats=0)
    folder = folder_for(out, VERIFY_FILE)
    place = placement(sorted(os.sched_getaffinity(0)))
    command = ["python", "-m", "bench", *sys.argv[1:]]
    results = VerifyResults(**provenance(command, place), plan=plan, trials=[])
    console = Console()
    try:
        interrupted = orchestrate(lambda reporter: run_verify(results, folder, place, reporter), place, console)
    except CannotCaptureError as error:
        raise click.ClickException(str(error)) from error
    rendered = render(folder)
    failures = [f"{of.trial.transport}: {text}" for of in results.trials for text in of.failures]
    for failure in failures:
        console.print(f"[red]{failure}[/]", highlight=False)
    sys.exit(INTERRUPTED if interrupted else rendered or int(bool(failures)))
