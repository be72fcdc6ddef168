"""Trials of ``python -m bench aa``: the same transport under two names, A and B, through the whole pipeline. Pure.

Each experiment is a comparison like any other: blocks of two trials with the same seed, in random order. Nothing
differs, so every *differs* is false, and at the 95 % level few experiments may say so. With ``--planted`` B's server
uses a known share of CPU more, which must be found each time. The planted load keeps the server busy, because the CPU
per event of a server that mostly sleeps scatters far more, and it has enough blocks (docs/method.md, A against A).
"""

import random
from typing import Any, Final, NamedTuple

import msgspec

from bench.plan.presets import make_plan
from bench.plan.trials import Planned, TrialPlan
from bench.results.run import Plan
from bench.sweeps.cost import HEARTBEAT_S
from feed.faults import BURN

NAMES: Final = ("A", "B")
PLANTED_PERCENT: Final = 20
"""CPU that B's server uses in addition, in percent of what it would use otherwise."""


class Size(NamedTuple):
    """Number of experiments, blocks in each, seconds of a trial's measured part, and subscribers."""

    experiments: int
    blocks: int
    duration_s: float
    subscribers: int


class Question(NamedTuple):
    """A kind of experiment. ``purpose`` selects the rules that make a trial invalid: those of latency (``aa``) or
    those of ``cost``."""

    purpose: str
    load: dict[str, Any]
    sizes: dict[str, Size]


SAME: Final = Question(
    "aa",
    # One event per second and room, 200 in all: a 95th percentile needs as many.
    {"rooms": 50, "rate_hz": 50.0},
    {"default": Size(12, 5, 4.0, 50), "smoke": Size(1, 3, 1.0, 50)},
)
PLANTED: Final = Question(
    "cost",
    # The main load of `bench cost`.
    {"rooms": 1, "rate_hz": 100.0, "warmup_events": 50, "rtt_ms": 0.0},
    # CPU per event scatters by 8 to 14 % within a pair: 44 blocks find the 20 % 999 times in 1,000 at 10 %, 98 in 100
    # at 14 % (docs/method.md, A against A).
    # Nothing is concluded from the smoke size, and beside other work 200 subscribers would be more than it can serve.
    {"default": Size(10, 44, 2.0, 200), "smoke": Size(1, 3, 1.0, 20)},
)
PRESETS: Final = tuple(SAME.sizes)


def aa_trials(
    preset: str, transport: str, seed: int, planted: bool = False, experiments: int | None = None
) -> list[Planned]:
    """All trials, experiment by experiment, block by block. ``experiments`` replaces the preset's number."""
    question = PLANTED if planted else SAME
    size = question.sizes[preset]
    plans = {"A": _plan(question, size, transport, seed)}
    burns = {transport: f"{BURN}:{PLANTED_PERCENT}"} if planted else {}
    plans["B"] = msgspec.structs.replace(plans["A"], inject_fault=burns)
    planned = []
    for experiment in range(1, (experiments or size.experiments) + 1):
        for block in range(1, size.blocks + 1):
            order = random.Random(f"aa-{seed}-{experiment}-{block}").sample(NAMES, len(NAMES))
            trial_seed = seed * 10_000 + experiment * 100 + block
            for name in order:
                id_, plan = f"e{experiment}-b{block}-{name}", plans[name]
                trial = TrialPlan(
                    id_, transport, block, question.purpose, trial_seed, plan.rtt_ms, plan.poll_interval_s
                )
                planned.append(Planned(f"experiment {experiment}", name, plan, trial))
    return planned


def _plan(question: Question, size: Size, transport: str, seed: int) -> Plan:
    plan = make_plan(
        "default",
        **question.load,
        transports=[transport],
        blocks=size.blocks,
        duration_s=size.duration_s,
        subscribers=size.subscribers,
        ramp_s=0.2,
        seed=seed,
    )
    if question is SAME:
        return plan
    # One process receives, as in `bench cost`.
    return msgspec.structs.replace(plan, probes=plan.subscribers, heartbeat_s=HEARTBEAT_S, idle_measure_s=0.5)
