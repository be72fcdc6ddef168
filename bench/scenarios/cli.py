"""``python -m bench scenario``: the scenarios over all transports."""

from pathlib import Path

import click

from bench.results.files import SCENARIO_FILE
from bench.run.folders import OUT_HELP
from bench.run.options import PRESET_HELP, TRANSPORTS_HELP, among
from bench.scenarios.evaluate import evaluate
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.scenario import scenario_trials
from bench.sweeps.sensitivity import idle_plan
from bench.sweeps.sweep import Sweep, run_sweep
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
def scenario(
    name: str, preset: str, transports: list[str] | None, blocks: int | None, seed: int, out: Path | None
) -> None:
    """Measure a scenario over all transports, or all of them.

    The first arm of each has blocks and intervals, further arms are single trials. Ctrl-C keeps what was measured and
    renders it; the same command with --out FOLDER goes on in that folder.
    """
    wanted = list(SCENARIOS.values()) if name == ALL else [SCENARIOS[name]]
    names = transports or list(CONTENDERS)
    planned = [one for each in wanted for one in scenario_trials(each, preset, names, blocks, seed)]
    idle_of = idle_plan(names, seed) if any(each.needs_idle for each in wanted) else None
    run_sweep(Sweep(SCENARIO_FILE, preset, seed, planned, idle_of, evaluate, continues=True), out)
