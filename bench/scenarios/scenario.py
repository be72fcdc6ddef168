"""A scenario: who does what, how long and how many, and what is calculated from what was recorded. Pure."""

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.plan.presets import make_plan
from bench.plan.trials import Planned, TrialPlan
from bench.results.run import Idle, Plan
from clients.core.ledger import Totals

PURPOSE: Final = "scenario"
PERCENTILES: Final = (50, 95, 99)
TRANSITS: Final = {
    "ack_ms": 2,
    "seen_by_all_ms": 2,
    "typing_ms": 2,
    "visible_ms": 2,
    "key_ack_ms": 2,
    "input_to_snapshot_ms": 2,
    "snapshot_ms": 1,
    "notification_ms": 2,
    "token_latency_ms": 1,
}
"""Latency -> how often it crosses the network at least, one way: a trial with a shorter one is invalid."""
RERUNS_PER_BLOCK: Final = 2
"""Invalid trials that a run measures again in all, for each block of a scenario: 10 by default, of up to 200."""
LEAST_BEYOND: Final = 10
"""A percentile is given only with as many values above it."""

Column = NDArray[np.int64]


class Size(NamedTuple):
    """How large a preset makes the first arm; further arms have one block."""

    blocks: int
    plan: Mapping[str, Any]
    """Values of ``Plan``."""
    options: Mapping[str, Any]
    """Options of the script, in place of the scenario's own."""
    with_arms: bool
    """Are further arms measured?"""


class Arm(NamedTuple):
    """What an arm changes."""

    options: Mapping[str, Any] = {}
    """Options of the script."""
    plan: Mapping[str, Any] = {}
    """Values of ``Plan``."""
    transports: tuple[str, ...] = ()
    """Empty: all."""
    variant: str = ""
    """Of the servers, if they are of a variant that no row of a table has."""


class Recorded(NamedTuple):
    """What a trial's processes recorded."""

    plan: Plan
    start_ns: int
    rows: Mapping[str, Mapping[str, Column]]
    """Kind -> field -> a value for each row."""
    moved: Totals
    """By all connections in the measured part."""
    server_busy_us: float
    """CPU of the server in the measured part, that of the idle server subtracted."""
    poll_interval_s: float = 0.0
    """0 for what does not poll at an interval."""
    idle: Idle | None = None
    """The transport's idle cycle."""
    seed: int = 1
    """Of the server's services, where they have one."""
    left_out: int = 0
    """What came again, and clients did not hand on."""

    @property
    def window_s(self) -> float:
        """The measured part, which is an interval longer for polls: it has the one that brings the last of it."""
        return self.plan.duration_s - self.plan.scenario_begin_s + self.poll_interval_s

    def option(self, name: str) -> Any:
        """An option of the script."""
        return self.plan.scenario_options[name]


class Scenario(NamedTuple):
    """One scenario, by the name of its script and of its section."""

    name: str
    options: Mapping[str, Any]
    """Options of the script."""
    arms: Mapping[str, Arm]
    """By name; the first changes nothing, and has blocks."""
    sizes: Mapping[str, Size]
    """Preset -> its size."""
    duration_s: Callable[[Mapping[str, Any]], float]
    """When the measured part ends, for such options."""
    metrics: Callable[[Recorded], dict[str, float]]
    store: bool = False
    """Does the server need one?"""
    service_options: Callable[[Mapping[str, Any]], dict[str, str]] = lambda options: {}
    """Options of the server's services, for such options of the script; ``TRIAL_SEED`` stands for its own."""
    begin_s: float = 0.0
    """When the measured part begins."""
    users: int = 0
    """Those beyond the subscribers who have tokens; 0: nobody needs one."""
    needs_idle: bool = False
    """Are idle cycles measured before the trials?"""
    poll_interval_s: Callable[[Mapping[str, Any]], float] | None = None
    """The interval of polls, for such options; ``None``: the plan's."""


def scenario_trials(
    scenario: Scenario, preset: str, transports: list[str], blocks: int | None, seed: int
) -> list[Planned]:
    """All trials: the first arm in blocks of all transports, then each further arm once."""
    size = scenario.sizes[preset]
    size = size._replace(blocks=blocks or size.blocks)
    first, *others = scenario.arms
    arms = [(first, block) for block in range(1, size.blocks + 1)]
    arms += [(arm, 1) for arm in others if size.with_arms]
    return [one for arm, block in arms for one in _block(scenario, size, arm, transports, block, seed)]


def _block(scenario: Scenario, size: Size, arm: str, transports: list[str], block: int, seed: int) -> list[Planned]:
    changed = scenario.arms[arm]
    options = {**scenario.options, **size.options, **changed.options}
    transports = [name for name in transports if name in (changed.transports or transports)]
    if not transports:
        return []
    values = {**size.plan, "transports": transports, "rooms": 1, "blocks": size.blocks, "seed": seed, **changed.plan}
    if scenario.poll_interval_s is not None:
        values["poll_interval_s"] = scenario.poll_interval_s(options)
    plan = msgspec.structs.replace(
        make_plan("default", **values, duration_s=scenario.duration_s(options)),
        point=scenario.name,
        scenario=scenario.name,
        scenario_options=options,
        store=scenario.store,
        service_options=scenario.service_options(options),
        probes=values["subscribers"],
        scenario_begin_s=scenario.begin_s,
        users=scenario.users and scenario.users + values["subscribers"],
        max_reruns=RERUNS_PER_BLOCK * size.blocks,
    )
    place = list(scenario.arms).index(arm) + 1
    trial_seed = seed * 10_000 + block
    order = random.Random(f"{scenario.name}-{arm}-{trial_seed}").sample(transports, len(transports))
    return [
        Planned(
            scenario.name,
            arm,
            plan,
            TrialPlan(
                f"{scenario.name}-{place}-b{block}-{name}",
                name,
                block,
                PURPOSE,
                trial_seed,
                plan.rtt_ms,
                plan.poll_interval_s,
                changed.variant,
            ),
        )
        for name in order
    ]


def impossible(found: Mapping[str, float], rtt_ms: float) -> list[str]:
    """The medians that are shorter than the network allows, a sentence each."""
    least_ms = {f"{name}_p50": transits * rtt_ms / 2 for name, transits in TRANSITS.items()}
    return [
        f"{name} is {found[name]:.1f}, and the network alone takes {least:g} ms"
        for name, least in least_ms.items()
        if name in found and found[name] < least
    ]


def percentiles(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Those percentiles of the values that have ``LEAST_BEYOND`` above them, as metrics ``NAME_p50`` and so on."""
    enough = [q for q in PERCENTILES if len(values) * (100 - q) / 100 >= LEAST_BEYOND]
    return {f"{name}_p{q}": float(np.percentile(values, q)) for q in enough}
