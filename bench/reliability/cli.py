"""``python -m bench faults`` and ``python -m bench soak``: behaviour under faults, attacks and long use."""

import os
import sys
from pathlib import Path

import click

from bench.machine.host import placement
from bench.machine.provenance import provenance
from bench.reliability.planned_fault import PlannedFault
from bench.reliability.run import run_faults
from bench.reliability.soak import new_soak
from bench.reliability.soak import soak as run_soak
from bench.results.files import FAULTS_FILE, SOAK_FILE
from bench.results.reliability import ATTACKS, FAULTS, FaultResults, SoakResults, kept
from bench.results.upgrade import ATTACKS_V1
from bench.run.folders import OUT_HELP, folder_for
from bench.run.options import PRESET_HELP, TRANSPORTS_HELP, among
from bench.run.shell import orchestrate, report, this_command
from clients.core.errors import ClientError
from feed.console.command_line import INTERRUPTED
from feed.console.ranges import FiniteRange
from feed.console.terminal import new_console
from feed.instruments.tcp import raise_open_files
from feed.transports import TRANSPORTS

KINDS = (*FAULTS, *ATTACKS)
KINDS_HELP = f"Faults and attacks, comma-separated, of {','.join(KINDS)}.  [default: all]"
REPEATS = {"default": 3, "smoke": 1}
CLIENTS = {"default": 200, "smoke": 20}
WINDOW_EVENTS = {"default": 300, "smoke": 50}


def _kinds(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """Old names of attacks are understood for one release."""
    names = None if text is None else ",".join(ATTACKS_V1.get(name.strip(), name) for name in text.split(","))
    return among(KINDS)(context, parameter, names)


@click.command()
@click.option("--preset", type=click.Choice(list(REPEATS)), default="default", show_default=True, help=PRESET_HELP)
@click.option("--faults", "kinds", callback=_kinds, help=KINDS_HELP)
@click.option("--transports", callback=among(TRANSPORTS), help=TRANSPORTS_HELP)
@click.option(
    "--clients",
    type=click.IntRange(1, 5000),
    help="Number of clients connected when a fault strikes.  [default: 200; 20 with --preset smoke]",
)
@click.option("--rate-hz", default=20.0, show_default=True, type=FiniteRange(0.1, 1000), help="Events per second.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of the random waits before clients reconnect."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def faults(
    preset: str,
    kinds: list[str] | None,
    transports: list[str] | None,
    clients: int | None,
    rate_hz: float,
    seed: int,
    out: Path | None,
) -> None:
    """Kill, cut off, stall and attack servers that have clients.

    The report shows recovery time, lost events, duplicates and gaps, and what hostile clients do to the
    latency of good ones and to the server's memory. Takes 18 minutes.
    """
    planned = [
        PlannedFault(name, kind, repeat)
        for repeat in range(1, REPEATS[preset] + 1)
        for kind in kinds or KINDS
        for name in transports or TRANSPORTS
    ]
    raise_open_files()
    folder = folder_for(out, FAULTS_FILE)
    place = placement(sorted(os.sched_getaffinity(0)))
    results = FaultResults(
        **provenance(this_command(), place),
        seed=seed,
        rate_hz=rate_hz,
        window_events=WINDOW_EVENTS[preset],
        trials=[],
        hostile=[],
    )
    count, console = clients or CLIENTS[preset], new_console()
    try:
        interrupted = orchestrate(
            lambda progress: run_faults(results, planned, count, folder, place, progress), place, console
        )
    except (TimeoutError, ClientError) as error:  # before the fault: there is no trial to keep
        raise click.ClickException(f"{error}; what was measured before is kept in {folder}") from error
    if interrupted:
        sys.exit(INTERRUPTED)
    rendered = report(str(folder))
    sys.exit(rendered)


@click.command()
@click.option(
    "--duration-s",
    default=1800.0,
    show_default=True,
    type=FiniteRange(5, 604_800),
    help="Duration of the run in seconds.",
)
@click.option("--transports", callback=among(TRANSPORTS), help=TRANSPORTS_HELP)
@click.option(
    "--clients",
    default=30,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Number of clients connected at once to each server.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the clients' lifetimes and rooms.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def soak(duration_s: float, transports: list[str] | None, clients: int, seed: int, out: Path | None) -> None:
    """Let clients come and go for long, and look for leaks.

    All servers run at once; the report shows their memory over time. Exit code 1: after every client has left, a server
    has more open files or tasks than before.
    """
    raise_open_files()
    folder = folder_for(out, SOAK_FILE)
    place = placement(sorted(os.sched_getaffinity(0)))
    results = SoakResults(
        **provenance(this_command(), place),
        seed=seed,
        duration_s=duration_s,
        clients=clients,
        servers=[new_soak(name) for name in transports or TRANSPORTS],
    )
    console = new_console()
    interrupted = orchestrate(lambda progress: run_soak(results, folder, place, progress), place, console)
    rendered = report(str(folder))
    sys.exit(INTERRUPTED if interrupted else rendered or int(any(kept(one) for one in results.servers)))
