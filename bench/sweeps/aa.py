"""What ``python -m bench aa`` does: the same transport under two names through the whole pipeline. Pure.

Each experiment is a comparison like any other: blocks of two trials with the same seed, in random order. Nothing
differs, so every *differs* is false, and at the 95 % level few of them may be. With ``--planted`` the server of B uses
a known share of CPU more, which must be found each time. That asks for a busy server, whose CPU per event scatters far
less than that of one that mostly sleeps, and for enough blocks (docs/method.md, A against A).
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
"""Of the CPU that B's server would use without."""


class Size(NamedTuple):
    """How many experiments of how many blocks, and how long a trial's measured part is."""

    experiments: int
    blocks: int
    duration_s: float


class Question(NamedTuple):
    """``purpose`` decides what makes a trial invalid: latency's bounds (``aa``) or those of ``cost``."""

    purpose: str
    load: dict[str, Any]
    sizes: dict[str, Size]


SAME: Final = Question(
    "aa",
    # One event a second and room, 200 in all: as many as a 95th percentile needs.
    {"subscribers": 50, "rooms": 50, "rate_hz": 50.0},
    {"default": Size(12, 5, 4.0), "smoke": Size(1, 2, 1.0)},
)
PLANTED: Final = Question(
    "cost",
    # As in `bench cost`.
    {"subscribers": 200, "rooms": 1, "rate_hz": 100.0, "warmup_events": 50, "rtt_ms": 0.0},
    # CPU per event scatters by 8 to 14 % within a pair: 44 blocks find the 20 % 999 times in 1,000 at 10 %, 98 in 100
    # at 14 % (docs/method.md, A against A).
    {"default": Size(10, 44, 2.0), "smoke": Size(1, 2, 1.0)},
)
PRESETS: Final = tuple(SAME.sizes)


def aa_trials(preset: str, transport: str, seed: int, planted: bool = False) -> list[Planned]:
    """All trials, experiment by experiment, block by block."""
    question = PLANTED if planted else SAME
    size = question.sizes[preset]
    plans = {"A": _plan(question, size, transport, seed)}
    burns = {transport: f"{BURN}:{PLANTED_PERCENT}"} if planted else {}
    plans["B"] = msgspec.structs.replace(plans["A"], inject_fault=burns)
    planned = []
    for experiment in range(1, size.experiments + 1):
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
        ramp_s=0.2,
        seed=seed,
    )
    if question is SAME:
        return plan
    # One process receives, as there.
    return msgspec.structs.replace(plan, probes=plan.subscribers, heartbeat_s=HEARTBEAT_S, idle_measure_s=0.5)
