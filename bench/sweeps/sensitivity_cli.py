"""``python -m bench sensitivity``: how the article's words would change with the setting."""

from pathlib import Path

import click

from bench.results.files import SENSITIVITY_FILE
from bench.run.options import among
from bench.sweeps.cli import OUT_HELP, carry_out
from bench.sweeps.sensitivity import PRESETS, idle_plan, sensitivity_trials
from feed.transports import TRANSPORTS


@click.command()
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="default: some ten minutes. smoke: everything once, quickly; its numbers conclude nothing.",
)
@click.option(
    "--transports", callback=among(TRANSPORTS), help=f"Comma-separated, of {','.join(TRANSPORTS)}  [default: all]"
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of schedules, phases and the order of trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def sensitivity(preset: str, transports: list[str] | None, seed: int, out: Path | None) -> None:
    """A grid of round trip, poll interval and rate of events: which word each transport would earn in each setting.

    One trial per setting shows a shape and settles nothing. Ctrl-C keeps what was measured and renders it.
    """
    names = transports or list(TRANSPORTS)
    planned = sensitivity_trials(preset, names, seed)
    carry_out(planned, preset, seed, SENSITIVITY_FILE, out, as_json=False, idle_of=idle_plan(names, seed))
