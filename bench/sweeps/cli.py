"""``python -m bench cost``, ``generator``, ``sensitivity`` and ``aa``: the command lines of all sweeps."""

from pathlib import Path

import click

from bench.results.files import AA_FILE, COST_FILE, GENERATOR_FILE, SENSITIVITY_FILE
from bench.run.folders import OUT_HELP
from bench.run.options import PRESET_HELP, TRANSPORTS_HELP, among
from bench.sweeps.aa import PLANTED_PERCENT, aa_trials
from bench.sweeps.aa import PRESETS as AA_PRESETS
from bench.sweeps.cost import CONNECTING_HZ, GENERATOR_PRESETS, PRESETS, TLS_PRESETS, cost_trials
from bench.sweeps.sensitivity import PRESETS as GRIDS
from bench.sweeps.sensitivity import idle_plan, sensitivity_trials
from bench.sweeps.sweep import Sweep, run_sweep
from feed.console.terminal import echo
from feed.instruments.tcp import raise_open_files
from feed.transports import TRANSPORTS

SECTIONS = tuple(PRESETS["default"])
OLD_SECTIONS = {"fewer": "low_rate"}
"""Old name of a section -> its name now. Old names work for one release."""


def _sections(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    names = text and ",".join(OLD_SECTIONS.get(name.strip(), name) for name in text.split(","))
    return among(SECTIONS)(context, parameter, names)


@click.command()
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help=PRESET_HELP,
)
@click.option(
    "--sections",
    callback=_sections,
    help=f"Sections to measure, comma-separated, of {','.join(SECTIONS)}.  [default: all]",
)
@click.option(
    "--blocks",
    type=click.IntRange(1, 100),
    help="Number of blocks, in the sections that have 3 or more by default, or in all of --sections.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of schedules and of the order of trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
@click.option(
    "--tls", is_flag=True, help="Measure TLS instead: bytes, CPU and handshake time of streams with and without it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object on stdout.")
def cost(
    preset: str, sections: list[str] | None, blocks: int | None, seed: int, out: Path | None, tls: bool, as_json: bool
) -> None:
    """Measure server CPU and memory per delivery and connection.

    Bare TCP is the baseline. There is no relay, because it is the server that is measured. Takes about 23 minutes.
    Ctrl-C keeps what was measured and renders it.
    """
    if tls and sections:
        raise click.UsageError("--tls replaces all sections: leave --sections out")
    wanted = (TLS_PRESETS if tls else PRESETS)[preset]
    open_files = raise_open_files()
    planned = cost_trials(wanted, seed, blocks, sections, open_files)
    left_out = len(cost_trials(wanted, seed, blocks, sections)) - len(planned)
    if left_out:
        echo(f"{left_out} trials left out: a process may open only {open_files} files here", err=True)
    run_sweep(Sweep(COST_FILE, preset, seed, planned), out, as_json=as_json)


@click.command()
@click.option(
    "--preset", type=click.Choice(list(GENERATOR_PRESETS)), default="default", show_default=True, help=PRESET_HELP
)
@click.option(
    "--blocks", type=click.IntRange(1, 100), help="Number of blocks, in the sections that have 3 or more by default."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of schedules and of the order of trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def generator(preset: str, blocks: int | None, seed: int, out: Path | None) -> None:
    """Measure what each load generator costs per received event.

    Compared are locust, the same client without locust, and Node's ws. Takes 5 minutes.
    """
    planned = cost_trials(GENERATOR_PRESETS[preset], seed, blocks)
    run_sweep(Sweep(GENERATOR_FILE, preset, seed, planned), out)


@click.command()
@click.option(
    "--preset",
    type=click.Choice(list(GRIDS)),
    default="default",
    show_default=True,
    help=PRESET_HELP,
)
@click.option("--transports", callback=among(TRANSPORTS), help=TRANSPORTS_HELP)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Seed of schedules, phases and the order of trials."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def sensitivity(preset: str, transports: list[str] | None, seed: int, out: Path | None) -> None:
    """Rate the transports over a grid of networks and loads.

    The grid varies round trip, poll interval and rate of events. One trial per setting shows a trend and settles
    nothing. Takes 9 minutes. Ctrl-C keeps what was measured and renders it.
    """
    names = transports or list(TRANSPORTS)
    planned = sensitivity_trials(preset, names, seed)
    run_sweep(Sweep(SENSITIVITY_FILE, preset, seed, planned, idle_plan(names, seed)), out)


@click.command()
@click.option("--preset", type=click.Choice(AA_PRESETS), default="default", show_default=True, help=PRESET_HELP)
@click.option(
    "--transport",
    type=click.Choice(list(TRANSPORTS)),
    default="websocket",
    show_default=True,
    help="Transport to compare with itself.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of schedules and of the order of trials.")
@click.option(
    "--planted",
    is_flag=True,
    help=f"Let one server use {PLANTED_PERCENT} % more CPU, which must be found (10 experiments of 44 blocks, 70 min).",
)
@click.option("--experiments", type=click.IntRange(1, 100), help="Number of experiments.  [default: as the preset]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def aa(preset: str, transport: str, seed: int, planted: bool, experiments: int | None, out: Path | None) -> None:
    """Compare a transport with itself; only chance may differ.

    12 experiments of 5 blocks, 120 trials, take about 15 minutes. The report says how often a difference was found by
    chance, and how often that may happen.
    """
    if planted and transport in CONNECTING_HZ:
        raise click.UsageError(f"--planted cannot work with {transport}: the load would saturate its client")
    run_sweep(Sweep(AA_FILE, preset, seed, aa_trials(preset, transport, seed, planted, experiments)), out)
