"""A against A: the same transport under two names through the whole pipeline. ``python -m bench aa``.

Each experiment is a comparison like any other: blocks of two trials with the same seed, in random order. Nothing
differs, so every *differs* is false, and at the 95 % level few of them may be.
"""

import random
from pathlib import Path
from typing import Final, NamedTuple

import click

from bench.cost_cli import OUT_HELP, carry_out
from bench.cost_plan import CostTrialPlan
from bench.plan import TrialPlan, make_plan
from bench.results import AA_FILE, TRANSPORTS

NAMES: Final = ("A", "B")
PURPOSE: Final = "aa"


class Size(NamedTuple):
    """How many experiments of how many blocks, and how long a trial's measured part is."""

    experiments: int
    blocks: int
    duration_s: float


PRESETS: Final[dict[str, Size]] = {"default": Size(12, 5, 4.0), "smoke": Size(1, 3, 0.5)}
SUBSCRIBERS: Final = 50
RATE_HZ: Final = 50.0
"""One event a second and room: 200 of them in four seconds, as many as a 95th percentile needs."""


def aa_trials(preset: str, transport: str, seed: int) -> list[CostTrialPlan]:
    """All trials, experiment by experiment, block by block."""
    size = PRESETS[preset]
    plan = make_plan(
        "default",
        transports=[transport],
        subscribers=SUBSCRIBERS,
        rooms=SUBSCRIBERS,
        rate_hz=RATE_HZ,
        duration_s=size.duration_s,
        blocks=size.blocks,
        ramp_s=0.2,
        seed=seed,
    )
    planned = []
    for experiment in range(1, size.experiments + 1):
        for block in range(1, size.blocks + 1):
            order = random.Random(f"aa-{seed}-{experiment}-{block}").sample(NAMES, len(NAMES))
            trial_seed = seed * 10_000 + experiment * 100 + block
            for name in order:
                id_ = f"e{experiment}-b{block}-{name}"
                trial = TrialPlan(id_, transport, block, PURPOSE, trial_seed, plan.rtt_ms, plan.poll_interval_s)
                planned.append(CostTrialPlan(f"experiment {experiment}", name, plan, trial))
    return planned


@click.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), default="default", show_default=True)
@click.option("--transport", type=click.Choice(TRANSPORTS), default="websocket", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of schedules and the order of trials.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def aa(preset: str, transport: str, seed: int, out: Path | None) -> None:
    """Compare a transport with itself: 12 experiments of 5 blocks, 120 trials, about a quarter of an hour.

    Whatever differs here differs by chance; the report says how often that was, and how often it may be.
    """
    carry_out(aa_trials(preset, transport, seed), preset, seed, AA_FILE, out, as_json=False)
