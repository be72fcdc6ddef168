"""``python -m bench verify``: the meters of the benchmark against a packet capture."""

import asyncio
import os
import sys
from pathlib import Path

import click
from rich.markup import escape

from bench.capture.pcap import CaptureError
from bench.capture.tcpdump import check_capture
from bench.capture.verify import PRESETS, new_verify_results, run_verify, verify_plans
from bench.machine.host import placement
from bench.plan.presets import PlanError
from bench.results.files import VERIFY_FILE
from bench.run.folders import OUT_HELP, folder_for
from bench.run.options import PRESET_HELP, TRANSPORTS_HELP, among
from bench.run.shell import orchestrate, report, this_command
from feed.console.command_line import INTERRUPTED
from feed.console.terminal import new_console
from feed.transports import TRANSPORTS


@click.command()
@click.option("--preset", type=click.Choice(PRESETS), default="default", show_default=True, help=PRESET_HELP)
@click.option("--transports", callback=among(TRANSPORTS), help=TRANSPORTS_HELP)
@click.option("--seed", type=int, help="Seed of schedules and phases.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def verify(preset: str, transports: list[str] | None, seed: int | None, out: Path | None) -> None:
    """Check the meters against a packet capture.

    Bytes on the wire and receive times must agree, in one ordinary trial per transport at each operating point. Takes
    3 minutes, and needs tcpdump and the right to capture. Exit code 0: every check holds for every transport.
    """
    try:
        plans = verify_plans(preset, transports=transports, seed=seed)
        asyncio.run(check_capture())
    except PlanError as error:
        raise click.UsageError(str(error)) from error
    except CaptureError as error:
        raise click.ClickException(str(error)) from error
    folder = folder_for(out, VERIFY_FILE)
    place = placement(sorted(os.sched_getaffinity(0)))
    results = new_verify_results(plans, this_command(), place)
    console = new_console()
    interrupted = orchestrate(lambda progress: run_verify(results, folder, place, progress), place, console)
    rendered = report(str(folder))
    broken = [one for one in results.trials if one.broken]
    for one in broken:
        where = f"{one.trial.transport} at the {one.point} point"
        console.print(f"[red]{where} does not hold:[/] {escape('; '.join(one.broken))}", highlight=False)
    sys.exit(INTERRUPTED if interrupted else rendered or int(bool(broken)))
