"""A against A: the same transport under two names through the whole pipeline. ``python -m bench aa``.

Each experiment is a comparison like any other: blocks of two trials with the same seed, in random order. Nothing
differs, so every *differs* is false, and at the 95 % level few of them may be. With ``--planted`` the server of B burns
a known share of CPU more, which must be found. That asks for the busy load: CPU per event of a server that mostly
sleeps scatters far more than that (docs/method.md, A against A).
"""

import random
import statistics
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import msgspec

from bench.cost_cli import OUT_HELP, carry_out
from bench.cost_plan import HEARTBEAT_S, CostTrialPlan
from bench.plan import TrialPlan, make_plan
from bench.results import AA_FILE, TRANSPORTS, ResultsError, load_cost
from feed.sabotage import BURN

NAMES: Final = ("A", "B")


class Size(NamedTuple):
    """How many experiments of how many blocks, and how long a trial's measured part is, as a share of the load's."""

    experiments: int
    blocks: int
    share: float


class Load(NamedTuple):
    """``purpose`` decides what makes a trial invalid: latency's bounds (``aa``) or those of ``cost``."""

    purpose: str
    values: dict[str, Any]


PRESETS: Final[dict[str, Size]] = {
    "default": Size(12, 5, 1.0),
    # CPU per event of 10 s scatters by 8 % within a pair here: 24 blocks find the planted 20 % 998 times in 1,000.
    "power": Size(10, 24, 5.0),
    "smoke": Size(1, 3, 0.25),
}
LOADS: Final[dict[str, Load]] = {
    # One event a second and room, 200 in all: as many as a 95th percentile needs.
    "quiet": Load("aa", {"subscribers": 50, "rooms": 50, "rate_hz": 50.0, "duration_s": 4.0}),
    # As in `bench cost`.
    "busy": Load(
        "cost",
        {"subscribers": 200, "rooms": 1, "rate_hz": 100.0, "duration_s": 2.0, "warmup_events": 50, "rtt_ms": 0.0},
    ),
}
PLANTED: Final = 0.2
"""Share of a transport's CPU per event that is burned on top in the server of B."""


def burn_of(run: Path, transport: str, load: str) -> str:
    """The sabotage that burns ``PLANTED`` of what deliveries cost in the A/A run in a folder. Raises ``ResultsError``.

    It is committed when an event is published, so for all its deliveries together.
    """
    results, wanted = load_cost(run / AA_FILE), aa_trials("default", transport, 1, load)[0].plan
    loads = {(plan.subscribers, plan.rooms, plan.rate_hz) for of in results.loads.values() for plan in of.values()}
    if loads != {(wanted.subscribers, wanted.rooms, wanted.rate_hz)}:
        raise ResultsError(f"{run / AA_FILE} was measured under another load than {load}")
    costs = [
        one.trial.metrics["server_cpu_us_per_event"]
        for one in results.trials
        if one.trial.transport == transport and one.trial.status == "ok" and one.load == "A"
    ]
    if not costs:
        raise ResultsError(f"{run / AA_FILE} has no valid trial of {transport}")
    deliveries = wanted.subscribers / wanted.rooms
    return f"{BURN}:{PLANTED * statistics.geometric_mean(costs) * deliveries:.1f}"


def aa_trials(preset: str, transport: str, seed: int, load: str = "quiet", burn: str = "") -> list[CostTrialPlan]:
    """All trials, experiment by experiment, block by block. ``burn``: sabotage of B's server."""
    size, (purpose, values) = PRESETS[preset], LOADS[load]
    values = {**values, "duration_s": max(0.5, values["duration_s"] * size.share)}
    plan = make_plan("default", **values, transports=[transport], blocks=size.blocks, ramp_s=0.2, seed=seed)
    if purpose == "cost":  # one process receives, as there
        plan = msgspec.structs.replace(plan, probes=plan.subscribers, heartbeat_s=HEARTBEAT_S, idle_measure_s=0.5)
    plans = {"A": plan, "B": msgspec.structs.replace(plan, sabotage={transport: burn} if burn else {})}
    planned = []
    for experiment in range(1, size.experiments + 1):
        for block in range(1, size.blocks + 1):
            order = random.Random(f"aa-{seed}-{experiment}-{block}").sample(NAMES, len(NAMES))
            trial_seed = seed * 10_000 + experiment * 100 + block
            for name in order:
                id_ = f"e{experiment}-b{block}-{name}"
                trial = TrialPlan(id_, transport, block, purpose, trial_seed, plan.rtt_ms, plan.poll_interval_s)
                planned.append(CostTrialPlan(f"experiment {experiment}", name, plans[name], trial))
    return planned


@click.command()
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="power: 10 experiments of 24 longer blocks, which --planted needs (with the busy load nearly two hours).",
)
@click.option("--transport", type=click.Choice(TRANSPORTS), default="websocket", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of schedules and the order of trials.")
@click.option(
    "--load",
    type=click.Choice(list(LOADS)),
    default="quiet",
    show_default=True,
    help="quiet: 50 rooms with an event a second, across 40 ms. busy: 20,000 deliveries a second, for CPU.",
)
@click.option(
    "--planted",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="RUN",
    help=f"Burn {100 * PLANTED:g} % of what a delivery cost in that A/A run of the same load in the server of B.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=OUT_HELP)
def aa(preset: str, transport: str, seed: int, load: str, planted: Path | None, out: Path | None) -> None:
    """Compare a transport with itself: 12 experiments of 5 blocks, 120 trials, about a quarter of an hour.

    Whatever differs here differs by chance; the report says how often that was, and how often it may be.
    """
    try:
        burn = burn_of(planted, transport, load) if planted else ""
    except ResultsError as error:
        raise click.UsageError(str(error)) from error
    carry_out(aa_trials(preset, transport, seed, load, burn), preset, seed, AA_FILE, out, as_json=False)
