"""``python -m bench scenario``: the scenarios over all transports."""

import os
import sys
from pathlib import Path

import click
import msgspec
from click.core import ParameterSource

from bench.machine.host import placement
from bench.results.files import SCENARIO_FILE
from bench.run.folders import OUT_HELP
from bench.run.options import PRESET_HELP, TRANSPORTS_HELP, among
from bench.scenarios.evaluate import evaluate
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.replay import replay_over_all
from bench.scenarios.scenario import scenario_trials
from bench.scenarios.trace import TraceError, read_trace, replay
from bench.sweeps.sensitivity import idle_plan
from bench.sweeps.sweep import Sweep, run_sweep
from feed.console.terminal import new_console
from feed.transports import CONTENDERS

ALL = "all"


@click.command()
@click.argument("name", type=click.Choice([*SCENARIOS, ALL]))
@click.option(
    "--preset", type=click.Choice(["default", "smoke"]), default="default", show_default=True, help=PRESET_HELP
)
@click.option("--transports", callback=among(CONTENDERS), help=TRANSPORTS_HELP)
@click.option("--blocks", type=click.IntRange(1, 100), help="Number of blocks of the first arm.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of what is asked when, and of the order.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="collab only: replay a trace of concurrent editing in place of measuring, and check that all texts end alike.",
)
def scenario(
    name: str,
    preset: str,
    transports: list[str] | None,
    blocks: int | None,
    seed: int,
    out: Path | None,
    trace: Path | None,
) -> None:
    """Measure a scenario over all transports, or all of them.

    The first arm of each has blocks and intervals, further arms are single trials. Ctrl-C keeps what was measured and
    renders it; the same command with --out FOLDER goes on in that folder.
    """
    if trace is not None:
        _check_alone(name)
        sys.exit(_replay(trace, transports or list(CONTENDERS)))
    wanted = list(SCENARIOS.values()) if name == ALL else [SCENARIOS[name]]
    names = transports or list(CONTENDERS)
    planned = [one for each in wanted for one in scenario_trials(each, preset, names, blocks, seed)]
    # Whoever is idle here has a token and a session, which each poll carries.
    idle_of = msgspec.structs.replace(idle_plan(names, seed), users=1) if any(of.needs_idle for of in wanted) else None
    run_sweep(Sweep(SCENARIO_FILE, preset, seed, planned, idle_of, evaluate, continues=True), out)


def _check_alone(name: str) -> None:
    """Raises ``UsageError`` for what has no meaning next to ``--trace``."""
    if name != "collab":
        raise click.UsageError(f"--trace is an option of collab, not of {name}")
    context = click.get_current_context()
    for option in ("preset", "blocks", "seed", "out"):
        if context.get_parameter_source(option) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{option} has no meaning with --trace: nothing is measured")


def _replay(path: Path, transports: list[str]) -> int:
    """Replay a trace, first without a server; the exit code is 1 unless every text ends as recorded."""
    console = new_console()
    try:
        trace = read_trace(path)
    except TraceError as error:
        raise click.ClickException(str(error)) from error
    alone = replay(trace) == trace.text
    console.print(f"Without a server: {len(trace.edits):,} edits end {'as' if alone else 'NOT as'} recorded.")
    over = replay_over_all(path, trace, transports, placement(sorted(os.sched_getaffinity(0))), console)
    return 0 if alone and over else 1
