"""The command line: ``python -m bench [run] ...`` measures, then has the report rendered."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from bench.capabilities.cli import EXPECTED_S as CHECKS_EXPECTED_S
from bench.capabilities.cli import capabilities, check_all
from bench.capture.cli import verify
from bench.machine.host import placement
from bench.plan.presets import POINTS, PRESETS, PlanError, make_plans
from bench.reliability.cli import faults, soak
from bench.results.run import Results
from bench.results.thresholds import ThresholdError, parse_objective
from bench.run.cell import cell
from bench.run.folders import NEW_OUT_HELP, holds_results, new_folder, point_latest_at
from bench.run.options import RenamedOption, among
from bench.run.progress import Progress, duration
from bench.run.runner import Batch, failed_transports, run_batches, table_batch
from bench.run.shell import orchestrate, report, this_command
from bench.scenarios.cli import scenario
from bench.sweeps.cli import aa, cost, generator, sensitivity
from clients.core.options import HEADER_SETS
from feed.console.command_line import INTERRUPTED
from feed.console.terminal import PrintableGroup, new_console
from feed.faults import ALLOWED, BURN, EVERY
from feed.networks import PRESETS as NETWORKS
from feed.transports import CONTENDERS, TRANSPORTS

OLD_COMMANDS: Final = {"probes": "capabilities"}
"""Commands by the name they had before, which still works for one release."""


class DefaultToRun(PrintableGroup):
    """A group whose first word may be left out: it is ``run`` then."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in OLD_COMMANDS:
            args = [OLD_COMMANDS[args[0]], *args[1:]]
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Whatever Ctrl-C meets, the exit code is the same; click's own would be that of a failure."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@click.group(cls=DefaultToRun, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Measure the transports next to each other. `python -m bench` alone is `python -m bench run`."""


def _objectives(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> list[str] | None:
    try:
        for text in texts:
            parse_objective(text)
    except ThresholdError as error:
        raise click.BadParameter(str(error)) from error
    return list(texts) or None


def _faults(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        transport, _, fault = text.partition("=")
        if not fault or transport in found:
            raise click.BadParameter(f"{text!r}: expected TRANSPORT=FAULT, one for each transport")
        found[transport] = fault
    return found


@main.command()
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Size of the run: default, what the table and its verdicts need; full, twice as long; smoke, everything once, "
    "quickly.",
)
@click.option(
    "--point",
    type=click.Choice(list(POINTS)),
    help="Operating point: sparse, many quiet rooms; broadcast, one busy room.  [default: both]",
)
@click.option(
    "--transports",
    callback=among(TRANSPORTS),
    help=f"Transports to measure, comma-separated, of {','.join(TRANSPORTS)}.  [default: those of the preset]",
)
@click.option("--subscribers", type=int, help="Number of subscribers in all rooms together (with --point).")
@click.option("--rooms", type=int, help="Number of rooms; subscribers are spread evenly over them (with --point).")
@click.option("--rate-hz", type=float, help="Events per second over all rooms (with --point).")
@click.option("--payload-bytes", type=int, help="Size of an event's data in bytes.")
@click.option("--poll-interval-s", type=float, help="Seconds between two polls (polling only).")
@click.option(
    "--network",
    type=click.Choice(list(NETWORKS)),
    default="broadband",
    show_default=True,
    help="Network that the relay models (docs/method.md, Network); each of the next four options replaces one of its "
    "numbers.",
)
@click.option("--rtt-ms", type=float, help="Round trip through the relay in milliseconds; 0 leaves the relay out.")
@click.option(
    "--jitter-ms", type=float, help="Largest random delay added to a segment in milliseconds, in each direction."
)
@click.option(
    "--bandwidth-mbit-s", type=float, help="Bandwidth of each connection and direction in Mbit/s; 0 is no limit."
)
@click.option(
    "--loss", type=float, help="Share of segments that the relay's model loses, 0 to 0.1; no claim is judged then."
)
@click.option("--duration-s", type=float, help="Seconds that are measured in each trial (with --point).")
@click.option("--blocks", type=int, help="Number of blocks: trials per transport. Intervals need 2, verdicts 5.")
@click.option("--seed", type=int, help="Seed of schedules, phases and the order of trials.")
@click.option("--headers", type=click.Choice(HEADER_SETS), help="HTTP headers that the clients send.")
@click.option(
    "--slo",
    callback=_objectives,
    multiple=True,
    metavar="'METRIC < X'",
    help="Objective, such as 'latency_p95_ms < 100' or 'sse/lost == 0' (repeatable); exit code 1 if one is missed.",
)
@click.option(
    "--inject-fault",
    cls=RenamedOption,
    old_name="--sabotage",
    callback=_faults,
    multiple=True,
    metavar="TRANSPORT=FAULT",
    help=f"Fault to inject into a server, to see it found: {ALLOWED}. All but {BURN} change one event in {EVERY}. "
    "No claim is judged then.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=NEW_OUT_HELP)
@click.option(
    "--details", is_flag=True, help="Print every section of the report in full, not only what fits on one screen."
)
def run(preset: str, point: str | None, out: Path | None, details: bool, **given: Any) -> None:
    """Measure all transports and render the report.

    Every transport runs at both operating points, in seeded blocks. An option left out has the preset's
    value. Ctrl-C keeps what was measured and renders it.
    """
    try:
        plans = make_plans(preset, point, **given)
        folder = new_folder(out)
    except (PlanError, OSError) as error:
        raise click.UsageError(str(error)) from error
    place = placement(sorted(os.sched_getaffinity(0)))
    batches = [table_batch(plan, this_command(), place, folder) for plan in plans]
    console = new_console()
    _announce(batches, folder, console)
    names = list(dict.fromkeys(name for plan in plans for name in plan.transports))
    idle_of = msgspec.structs.replace(plans[0], transports=names)
    contenders = [name for name in plans[0].transports if name in CONTENDERS]

    async def measure(progress: Progress) -> None:
        expected_s = CHECKS_EXPECTED_S + sum(batch.expected_s for batch in batches)
        progress.begin(expected_s, sum(len(batch.planned) for batch in batches))
        await check_all(contenders, this_command(), place, folder, progress)
        await run_batches(batches, place, progress, idle_of)

    interrupted = orchestrate(measure, place, console)
    if not holds_results(folder):
        sys.exit(INTERRUPTED)  # before anything was measured
    if out is None and any(batch.results.trials for batch in batches):
        point_latest_at(folder)
    rendered = report(str(folder), *(["--details"] if details else []))
    sys.exit(_exit_code(batches, rendered, interrupted, console))


main.add_command(cost)
main.add_command(generator)
main.add_command(faults)
main.add_command(soak)
main.add_command(capabilities)
main.add_command(cell)
main.add_command(sensitivity)
main.add_command(aa)
main.add_command(scenario)
main.add_command(verify)


def _announce(batches: Sequence[Batch], folder: Path, console: Console) -> None:
    for batch in batches:
        console.print(_announcement(batch), highlight=False, markup=False)
    console.print(f"Results: {folder}", highlight=False, markup=False)


def _announcement(batch: Batch) -> str:
    plan = batch.planned[0].plan
    return (
        f"{plan.point}: {', '.join(plan.transports)}; {plan.subscribers} subscribers in {plan.rooms} rooms, "
        f"{plan.rate_hz:g} events/s of {plan.payload_bytes} bytes, {plan.between.words}, {plan.blocks} blocks, "
        f"seed {plan.seed}; about {duration(batch.expected_s)}"
    )


def _exit_code(batches: Sequence[Batch], rendered: int, interrupted: bool, console: Console) -> int:
    points = [batch.results for batch in batches if isinstance(batch.results, Results)]
    failed = {of.plan.point: found for of in points if (found := failed_transports(of))}
    for point, names in failed.items():
        console.print(
            f"[red]No numbers at the {escape(point)} point:[/] {', '.join(names)}. The reasons stand above, by trial.",
            highlight=False,
        )
    if interrupted:
        return INTERRUPTED
    return rendered or int(bool(failed))
