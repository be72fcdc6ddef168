"""The trials of a plan in their seeded order, and the schedule of each. Pure."""

import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple

import msgspec

from bench.results.run import Plan, Trial
from feed.instruments.clock import NS_PER_S
from feed.schedule import Schedule, dues
from feed.transports import POLLING

TRIAL_SEED: Final = "the trial's seed"
"""Value of a service's option that stands for ``service_seed``: each block has its own."""


class TrialPlan(NamedTuple):
    """One trial to come. ``rtt_ms`` 0 means without the relay."""

    id: str
    transport: str
    block: int
    purpose: str
    seed: int
    rtt_ms: float
    poll_interval_s: float
    variant: str = ""
    """The server's variant; empty for the table's row."""
    generator: str = "locust"
    """The receiving program: one of ``bench.trial.conduct.GENERATORS``."""
    tls: bool = False
    """With TLS and a throw-away certificate."""
    gc: str = "default"
    """The server's garbage collector: ``default`` or ``tuned``."""


def service_seed(seed: int) -> int:
    """A trial's seed as services take it, which is not negative."""
    return seed % 2**32


class Planned(NamedTuple):
    """One trial to come, and the place of its record: the section, and the load by its label and in full."""

    section: str
    load: str
    plan: Plan
    trial: TrialPlan


def trials(plan: Plan) -> list[TrialPlan]:
    """All trials in order. A block has one trial per transport, all with one seed, shuffled by the run's seed."""
    planned: list[TrialPlan] = []
    for block in range(1, plan.blocks + 1):
        seed = _seed(plan, block)
        members = _main(plan, block, plan.transports)
        if block <= plan.curve_repeats and POLLING in plan.transports:
            members += [
                TrialPlan(f"b{block}-{POLLING}-{s:g}s", POLLING, block, "curve", seed, plan.rtt_ms, s)
                for s in plan.curve_intervals_s
            ]
        if plan.loopback_too and plan.rtt_ms:
            members += [
                TrialPlan(f"b{block}-{name}-loopback", name, block, "loopback", seed, 0.0, plan.poll_interval_s)
                for name in plan.transports
            ]
        planned += _shuffled(plan, block, members)
    return planned


def spare_block(plan: Plan, measured: Sequence[Trial]) -> list[TrialPlan]:
    """The main trials of the next spare block; none if enough blocks are complete or no spare is left.

    A block is complete if it has a valid main trial of every transport. A transport without any valid trial yet is
    left out: what never worked will not work in a spare block.
    """
    main = [trial for trial in measured if trial.purpose == "main"]
    valid = {(trial.block, trial.transport) for trial in main if trial.status == "ok"}
    names = [name for name in plan.transports if any(name == of for _, of in valid)]
    last = max((trial.block for trial in main), default=0)
    complete = sum(all((block, name) in valid for name in names) for block in range(1, last + 1))
    if not names or complete >= plan.blocks or last >= plan.blocks + plan.spare_blocks:
        return []
    return _shuffled(plan, last + 1, _main(plan, last + 1, names))


def _seed(plan: Plan, block: int) -> int:
    return plan.seed * 10_000 + block


def _main(plan: Plan, block: int, names: Sequence[str]) -> list[TrialPlan]:
    return [
        TrialPlan(f"b{block}-{name}", name, block, "main", _seed(plan, block), plan.rtt_ms, plan.poll_interval_s)
        for name in names
    ]


def _shuffled(plan: Plan, block: int, members: list[TrialPlan]) -> list[TrialPlan]:
    random.Random(f"order-{plan.seed}-{block}").shuffle(members)
    return members


def schedule_of(plan: Plan, trial: TrialPlan) -> Schedule:
    """The schedule of a trial: warm-up and measured events in one piece, the same for all main trials of a block."""
    limit = warmup_of(plan, trial) + plan.measured_events
    return msgspec.structs.replace(_unending(plan, trial), limit=limit)


def _unending(plan: Plan, trial: TrialPlan) -> Schedule:
    return Schedule(plan.schedule, plan.rate_hz, plan.rooms, trial.seed)


def warmup_of(plan: Plan, trial: TrialPlan) -> int:
    """Number of warm-up events of a trial: its warm-up lasts at least a poll interval and two round trips.

    The events are counted in the trial's own schedule, because the expected number may come in half of that time.
    """
    least_ns = (trial.poll_interval_s + 2 * trial.rtt_ms / 1000) * NS_PER_S
    return max(plan.warmup_events, _events_before(least_ns, _unending(plan, trial)) + 1)


@lru_cache(maxsize=64)  # the trials of a block share one schedule, and each is asked for several times
def _events_before(offset_ns: float, schedule: Schedule) -> int:
    return sum(1 for _ in takewhile(lambda due: due.offset_ns < offset_ns, dues(schedule)))
