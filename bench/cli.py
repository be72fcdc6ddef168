"""The command line: ``python -m bench [run] ...`` measures, then has the report rendered."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench.cost_cli import cost, generator
from bench.host import placement
from bench.orchestrate import INTERRUPTED, orchestrate
from bench.plan import PRESETS, PlanError, expected_s, make_plan, trials
from bench.processes import ROOT
from bench.progress import duration
from bench.reliability_cli import faults, soak
from bench.results import TRANSPORTS, Results
from bench.runner import failed_transports, new_folder, new_results, run_plan
from bench.verify_cli import verify
from clients.options import HEADER_SETS


class DefaultToRun(click.Group):
    """A group whose first word may be left out: it is ``run`` then."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultToRun, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Measure the transports side by side. `python -m bench` alone is `python -m bench run`."""


def _transports(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@main.command()
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="default: many quiet rooms. broadcast: one busy room. smoke: everything once, quickly.",
)
@click.option("--transports", callback=_transports, help=f"Comma-separated, of {','.join(TRANSPORTS)}.")
@click.option("--subscribers", type=int, help="Subscribers in all.")
@click.option("--rooms", type=int, help="Rooms; subscribers take turns among them.")
@click.option("--rate-hz", type=float, help="Events per second over all rooms.")
@click.option("--payload-bytes", type=int, help="Size of an event's data.")
@click.option("--poll-interval-s", type=float, help="Of polling.")
@click.option("--rtt-ms", type=float, help="Round trip through the relay; 0 leaves the relay out.")
@click.option("--duration-s", type=float, help="Measured part of a trial; sets the number of measured events.")
@click.option("--blocks", type=int, help="Trials per transport. Intervals need 2, conclusions 5.")
@click.option("--seed", type=int, help="Of schedules, phases, and the order of trials.")
@click.option("--headers", type=click.Choice(HEADER_SETS), help="HTTP headers of the clients.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder  [default: results/<time>]")
def run(preset: str, out: Path | None, **given: Any) -> None:
    """Run every transport in seeded blocks and render the report.

    What an option does not set comes from the preset. Ctrl-C keeps what was measured and renders it.
    """
    try:
        plan = make_plan(preset, **given)
        folder = new_folder(out)
    except (PlanError, OSError) as error:
        raise click.UsageError(str(error)) from error
    place = placement(sorted(os.sched_getaffinity(0)))
    results = new_results(plan, ["python", "-m", "bench", *sys.argv[1:]], place)
    console = Console()
    console.print(_announcement(results, folder), highlight=False)
    interrupted = orchestrate(lambda reporter: run_plan(results, folder, place, reporter), place, console)
    rendered = subprocess.run([sys.executable, "-m", "reports", str(folder)], cwd=ROOT, check=False).returncode
    sys.exit(_exit_code(results, rendered, interrupted, console))


main.add_command(cost)
main.add_command(generator)
main.add_command(faults)
main.add_command(soak)
main.add_command(verify)


def _announcement(results: Results, folder: Path) -> str:
    plan = results.plan
    total_s = sum(expected_s(plan, trial) for trial in trials(plan))
    network = f"{plan.rtt_ms:g} ms round trip" if plan.rtt_ms else "loopback"
    return (
        f"{', '.join(plan.transports)}: {plan.subscribers} subscribers in {plan.rooms} rooms, "
        f"{plan.rate_hz:g} events/s of {plan.payload_bytes} bytes, {network}, {plan.blocks} blocks, seed {plan.seed}; "
        f"about {duration(total_s)}. Results: {folder}"
    )


def _exit_code(results: Results, rendered: int, interrupted: bool, console: Console) -> int:
    for name, reason in failed_transports(results).items():
        console.print(f"[red]{name} has no numbers:[/] {reason}", highlight=False)
    if interrupted:
        return INTERRUPTED
    return rendered or int(bool(failed_transports(results)))
