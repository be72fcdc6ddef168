"""``python -m bench cost`` and ``python -m bench generator``: measure cost, then have the report rendered."""

import os
import sys
from pathlib import Path

import click
from rich.markup import escape

from bench.machine.host import placement
from bench.plan.presets import expected_s
from bench.results.files import COST_FILE, GENERATOR_FILE, RUN_FILES, find
from bench.results.run import Plan
from bench.run.options import among
from bench.run.progress import duration
from bench.run.runner import new_folder
from bench.run.shell import orchestrate, report
from bench.sweeps.cost import GENERATOR_PRESETS, PRESETS, TLS_PRESETS, CostTrialPlan, cost_trials
from bench.sweeps.sweep import new_cost_results, run_cost
from feed.console.command_line import INTERRUPTED
from feed.console.terminal import echo, new_console
from feed.instruments.tcp import raise_open_files

OUT_HELP = "Folder, new or of a run whose report shall have this too  [default: results/<time>]"
SECTIONS = tuple(PRESETS["default"])


@click.command()
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="smoke: everything once, quickly; its numbers conclude nothing.",
)
@click.option("--sections", callback=among(SECTIONS), help=f"Comma-separated, of {','.join(SECTIONS)}  [default: all]")
@click.option("--blocks", type=click.IntRange(1, 100), help="Trials per arm, of the sections that have 3 or more.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of schedules and of the order of trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
@click.option("--tls", is_flag=True, help="Instead: streams with and without TLS, in bytes, CPU and handshake time.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object on stdout.")
def cost(
    preset: str, sections: list[str] | None, blocks: int | None, seed: int, out: Path | None, tls: bool, as_json: bool
) -> None:
    """Server CPU and memory per delivery, request and connection, beside a bare TCP server.

    Loopback, no relay: it is the server that is measured. Ctrl-C keeps what was measured and renders it.
    """
    if tls and sections:
        raise click.UsageError("--tls is a section of its own: leave --sections out")
    wanted = (TLS_PRESETS if tls else PRESETS)[preset]
    open_files = raise_open_files()
    planned = cost_trials(wanted, seed, blocks, sections, open_files)
    left_out = len(cost_trials(wanted, seed, blocks, sections)) - len(planned)
    if left_out:
        echo(f"{left_out} trials left out: a process may have only {open_files} open files here", err=True)
    carry_out(planned, preset, seed, COST_FILE, out, as_json)


@click.command()
@click.option("--preset", type=click.Choice(list(GENERATOR_PRESETS)), default="default", show_default=True)
@click.option("--blocks", type=click.IntRange(1, 100), help="Trials per arm, of the sections that have 3 or more.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of schedules and of the order of trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def generator(preset: str, blocks: int | None, seed: int, out: Path | None) -> None:
    """What the load side costs per received event: locust, the same client without it, and Node's ws."""
    planned = cost_trials(GENERATOR_PRESETS[preset], seed, blocks)
    carry_out(planned, preset, seed, GENERATOR_FILE, out, as_json=False)


def carry_out(
    planned: list[CostTrialPlan],
    preset: str,
    seed: int,
    name: str,
    out: Path | None,
    as_json: bool,
    idle_of: Plan | None = None,
) -> None:
    """Measure what is planned into the file ``name``, show it, and end with the exit code."""
    if not planned:
        raise click.UsageError("nothing to measure: this preset has none of these sections")
    folder = folder_for(out, name)
    place = placement(sorted(os.sched_getaffinity(0)))
    results = new_cost_results(planned, preset, seed, ["python", "-m", "bench", *sys.argv[1:]], place)
    console = new_console(stderr=as_json)
    total_s = sum(expected_s(one.plan, one.trial) for one in planned)
    console.print(
        f"{len(planned)} trials, about {duration(total_s)}. Results: {folder / name}", highlight=False, markup=False
    )
    interrupted = orchestrate(
        lambda reporter: run_cost(results, name, planned, folder, place, reporter, idle_of), place, console
    )
    rendered = render(folder, as_json)
    failed = [one.trial for one in results.trials if one.trial.status == "failed"]
    for trial in failed:
        console.print(f"[red]{escape(trial.id)} has no numbers:[/] {escape('; '.join(trial.reasons))}", highlight=False)
    sys.exit(INTERRUPTED if interrupted else rendered or int(bool(failed)))


def render(folder: Path, as_json: bool = False) -> int:
    """Have the report made; the exit code."""
    return report(str(folder), *(["--json"] if as_json else []))


def folder_for(out: Path | None, name: str) -> Path:
    """A new folder, or that of a run which has no such file yet. Raises ``UsageError``."""
    try:
        return _folder(out, name)
    except OSError as error:
        raise click.UsageError(str(error)) from error


def _folder(out: Path | None, name: str) -> Path:
    if out is None or not out.is_dir() or not any(out.iterdir()):
        return new_folder(out)
    if not any(find(out, known) for known in RUN_FILES):
        raise FileExistsError(f"{out} is not empty and no run of ours: name a new folder, or that of a run")
    if find(out, name):
        raise FileExistsError(f"{out / name} exists: name a new folder, results are never mixed or overwritten")
    return out.resolve()
