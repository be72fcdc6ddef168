"""``python -m bench capabilities``: what transports can and cannot do, tried out."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from bench.capabilities.checks import run_checks
from bench.machine.host import Placement, placement
from bench.machine.provenance import provenance
from bench.results.capabilities import CapabilityCheck, CapabilityResults
from bench.results.files import CAPABILITIES_FILE, save
from bench.run.folders import OUT_HELP, folder_for, remove_if_empty
from bench.run.options import among
from bench.run.progress import Progress
from bench.run.shell import orchestrate, report, this_command
from feed.console.command_line import INTERRUPTED
from feed.console.terminal import new_console
from feed.transports import CONTENDERS

EXPECTED_S: Final = 15.0


@click.command()
@click.option(
    "--transports",
    callback=among(CONTENDERS),
    help=f"Transports to check, comma-separated, of {','.join(CONTENDERS)}.  [default: all]",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def capabilities(transports: list[str] | None, out: Path | None) -> None:
    """Check what each transport can and cannot do.

    Tried on real servers: messages in both directions, plain proxies, reconnection in a browser, connections per event.
    Each answer is yes or no, with its evidence. Takes 15 s; every run does this as well.
    """
    folder = folder_for(out, CAPABILITIES_FILE)
    place = placement(sorted(os.sched_getaffinity(0)))

    async def measure(progress: Progress) -> None:
        progress.begin(EXPECTED_S, 1)
        found = await check_all(transports or list(CONTENDERS), this_command(), place, folder, progress)
        progress.finished("capability checks", f"{len(found)} tried", 0.0)

    console = new_console()
    interrupted = orchestrate(measure, place, console)
    if interrupted:
        sys.exit(INTERRUPTED)
    rendered = report(str(folder))
    sys.exit(rendered)


async def check_all(
    names: list[str], command: list[str], place: Placement, folder: Path, progress: Progress
) -> list[CapabilityCheck]:
    """Run the checks of these transports and save what they found in ``folder``."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    progress.starting("capability checks", EXPECTED_S)
    found = await run_checks(names, place.server, logs)
    remove_if_empty(logs)
    save(CapabilityResults(**provenance(command, place) | {"finished": True}, checks=found), folder, CAPABILITIES_FILE)
    return found
