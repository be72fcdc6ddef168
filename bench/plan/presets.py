"""What a run will do, decided before it begins: presets, checks, and the trials in their seeded order. Pure."""

import math
import random
from itertools import takewhile
from typing import Any, Final, NamedTuple

import msgspec

from bench.results.run import Plan
from clients.core.options import HEADER_SETS
from feed.faults import SabotageError, parse_sabotage
from feed.instruments.clock import NS_PER_S
from feed.networks import RANGES as NETWORK_RANGES
from feed.networks import Network, NetworkError, make_network
from feed.rooms import MAX_ROOMS
from feed.schedule import Schedule, dues
from feed.sources import SourceError, check_payload_bytes
from feed.transports import CONTENDERS, TRANSPORTS

ALL_PROBES_BELOW_HZ: Final = 200.0
"""Deliveries per second up to which every subscriber is a probe: one process receives these without queueing."""
PROBES: Final = 16
DRAIN_ROUND_TRIPS: Final = 2
GRACE_S: Final = 1.0
LATE_MS: Final = 100.0
"""Beyond what the protocol allows and the host stalled. No quiet host's queueing came near it (20 ms)."""
FANOUT_S: Final = 200e-6
"""For each subscriber of a room: several times what sending and receiving one delivery takes."""
BOOT_S: Final = 1.3
"""What starting and stopping the processes of a trial takes, about: for the time remaining only."""


class PlanError(ValueError):
    """A plan that cannot be carried out; the message names the option and what is allowed."""


_SMALL: Final[dict[str, Any]] = {
    "warmup_events": 20,
    "blocks": 1,
    "poll_interval_s": 0.2,
    "ramp_s": 0.2,
    "max_reruns": 1,
}

SPARSE: Final = "sparse"
BROADCAST: Final = "broadcast"

POINTS: Final[dict[str, dict[str, Any]]] = {
    # Many quiet rooms, one subscriber each: pages that wait for something to happen.
    SPARSE: {"subscribers": 200, "rooms": 200, "rate_hz": 20.0},
    # One busy room.
    BROADCAST: {"subscribers": 100, "rooms": 1, "rate_hz": 10.0},
}
"""The operating points, chosen before the first run (DESIGN section 4)."""

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    # As short as a median and a 95th percentile of the sparse point, and a median of the broadcast point, allow.
    "default": {
        SPARSE: {
            **POINTS[SPARSE],
            "duration_s": 10.0,
            "warmup_events": 10,
            # The baseline says what software costs above it, which the busy room tells far better.
            "transports": list(CONTENDERS),
        },
        BROADCAST: {**POINTS[BROADCAST], "duration_s": 2.1, "warmup_events": 10},
    },
    # 95th percentiles at both points, the baseline at both, and polling over its interval.
    "full": {
        SPARSE: {**POINTS[SPARSE], "duration_s": 10.5, "curve_repeats": 1},
        BROADCAST: {**POINTS[BROADCAST], "duration_s": 21.0},
    },
    # Everything once, to see that it works. Its numbers are too few to conclude anything.
    "smoke": {
        SPARSE: {
            **_SMALL,
            "subscribers": 20,
            "rooms": 20,
            "rate_hz": 50.0,
            "duration_s": 1.0,
            "curve_repeats": 1,
            "curve_intervals_s": [0.1, 0.4],
            "loopback_too": True,
        },
        BROADCAST: {**_SMALL, "subscribers": 20, "rooms": 1, "rate_hz": 20.0, "duration_s": 1.0},
    },
}
"""Preset -> operating point -> what it sets."""

COMMON: Final[dict[str, Any]] = {
    "transports": list(TRANSPORTS),
    "payload_bytes": 256,
    "blocks": 5,
    "warmup_events": 50,
    "ramp_s": 0.5,
    "network": "broadband",
    "poll_interval_s": 1.0,
    "curve_intervals_s": [0.2, 5.0],
    "hold_s": 25.0,
    "heartbeat_s": 15.0,
    "seed": 1,
    "headers": "browser",
    "history": 1024,
    "curve_repeats": 0,
    "loopback_too": False,
    "max_reruns": 2,
    "slo": [],
    "inject_fault": {},
}

POINT_OPTIONS: Final = ("subscribers", "rooms", "rate_hz", "duration_s")
"""What makes an operating point: given only together with its name."""

RANGES: Final = {
    "subscribers": (1, 10_000),
    "rooms": (1, MAX_ROOMS),
    "rate_hz": (0.1, 10_000),
    "duration_s": (0.5, 3600),
    "blocks": (1, 1000),
    "poll_interval_s": (0.01, 60),
}

ODDS_OF_A_LONGER_STALL: Final = 1e-6
"""What is still missing after a trial's drain counts as lost; modelled loss shall not make anything look so."""


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
    """Of the server; empty is the row of the table."""
    generator: str = "locust"
    """What receives: one of ``bench.trial.conduct.GENERATORS``."""
    tls: bool = False
    """Encrypted, with a throw-away certificate."""


def make_plans(preset: str, point: str | None, **given: Any) -> list[Plan]:
    """The plans of a run, one per operating point, or of the named ``point`` alone. Raises ``PlanError``."""
    of_a_point = [name for name in POINT_OPTIONS if given.get(name) is not None]
    if of_a_point and point is None:
        raise PlanError(f"{of_a_point[0]} belongs to one operating point: name it, --point {' or '.join(POINTS)}")
    faults = given.pop("inject_fault", None) or {}
    plans = [make_plan(preset, name, **given) for name in ([point] if point else PRESETS[preset])]
    _check_faults(faults, list(dict.fromkeys(name for plan in plans for name in plan.transports)))
    return [
        msgspec.structs.replace(plan, inject_fault={name: faults[name] for name in plan.transports if name in faults})
        for plan in plans
    ]


def make_plan(preset: str, point: str = SPARSE, **given: Any) -> Plan:
    """A preset's plan for a point, with what was given instead (``None``: not given). Raises ``PlanError``."""
    wanted = {name: value for name, value in given.items() if value is not None}
    values = {**COMMON, **PRESETS[preset][point], **wanted}
    for name, (low, high) in RANGES.items():
        if not low <= values[name] <= high:
            raise PlanError(f"{name} {values[name]}: allowed are {low:g} to {high:g}")
    if values["headers"] not in HEADER_SETS:
        raise PlanError(f"headers {values['headers']!r}: allowed are {', '.join(HEADER_SETS)}")
    unknown = [name for name in values["transports"] if name not in TRANSPORTS]
    if unknown or not values["transports"]:
        raise PlanError(f"transports {', '.join(unknown) or 'none'}: allowed are {', '.join(TRANSPORTS)}")
    try:
        check_payload_bytes(values["payload_bytes"])
    except SourceError as error:
        raise PlanError(str(error)) from error
    deliveries_hz = values["rate_hz"] * values["subscribers"] / values["rooms"]
    between = _network(values)
    all_probes = deliveries_hz <= ALL_PROBES_BELOW_HZ
    return msgspec.convert(
        {
            **values,
            **{name: getattr(between, name) for name in NETWORK_RANGES},
            "network": between.name,
            "preset": preset,
            "point": point,
            "transports": [name for name in TRANSPORTS if name in values["transports"]],
            "probes": values["subscribers"] if all_probes else min(PROBES, values["subscribers"]),
            "measured_events": max(1, round(values["rate_hz"] * values["duration_s"])),
        },
        Plan,
    )


def _check_faults(faults: dict[str, str], transports: list[str]) -> None:
    try:
        for transport, fault in faults.items():
            if transport not in transports:
                raise PlanError(f"inject_fault {transport!r}: allowed are {', '.join(transports)}, which are measured")
            parse_sabotage(fault)
    except SabotageError as error:
        raise PlanError(str(error)) from error


def _network(values: dict[str, Any]) -> Network:
    try:
        between = make_network(values["network"], **{name: values.get(name) for name in NETWORK_RANGES})
    except NetworkError as error:
        raise PlanError(str(error)) from error
    if not between.rtt_ms and not between.is_plain:
        raise PlanError("rtt_ms 0 leaves the relay out: jitter_ms, bandwidth_mbit_s and loss need a round trip above 0")
    return between


def trials(plan: Plan) -> list[TrialPlan]:
    """All trials in order: blocks of one trial per transport with the same seed, shuffled by the run's seed."""
    planned: list[TrialPlan] = []
    for block in range(1, plan.blocks + 1):
        seed = plan.seed * 10_000 + block
        members = [
            TrialPlan(f"b{block}-{name}", name, block, "main", seed, plan.rtt_ms, plan.poll_interval_s)
            for name in plan.transports
        ]
        if block <= plan.curve_repeats and "polling" in plan.transports:
            members += [
                TrialPlan(f"b{block}-polling-{s:g}s", "polling", block, "curve", seed, plan.rtt_ms, s)
                for s in plan.curve_intervals_s
            ]
        if plan.loopback_too and plan.rtt_ms:
            members += [
                TrialPlan(f"b{block}-{name}-loopback", name, block, "loopback", seed, 0.0, plan.poll_interval_s)
                for name in plan.transports
            ]
        random.Random(f"order-{plan.seed}-{block}").shuffle(members)
        planned += members
    return planned


def schedule_of(plan: Plan, trial: TrialPlan) -> Schedule:
    """The schedule of a trial: warm-up and measured events in one piece, the same for all main trials of a block."""
    limit = warmup_of(plan, trial) + plan.measured_events
    return msgspec.structs.replace(_unending(plan, trial), limit=limit)


def _unending(plan: Plan, trial: TrialPlan) -> Schedule:
    return Schedule("poisson", plan.rate_hz, plan.rooms, trial.seed)


def warmup_of(plan: Plan, trial: TrialPlan) -> int:
    """Warm-up events of a trial: at least until a poll interval and two round trips after the first instant.

    Counted in its own schedule: as many events as are expected in that time may come in half of it.
    """
    least_ns = (trial.poll_interval_s + 2 * trial.rtt_ms / 1000) * NS_PER_S
    early = takewhile(lambda due: due.offset_ns < least_ns, dues(_unending(plan, trial)))
    return max(plan.warmup_events, sum(1 for _ in early) + 1)


def settle_s(plan: Plan, trial: TrialPlan) -> float:
    """After the last event: two round trips and a fan-out, in which a quiet machine delivers all but to pollers."""
    fanout_s = plan.subscribers / plan.rooms * FANOUT_S
    round_trip_s = (trial.rtt_ms + 2 * plan.jitter_ms) / 1000
    return DRAIN_ROUND_TRIPS * round_trip_s + fanout_s + 0.02


def drain_s(plan: Plan, trial: TrialPlan) -> float:
    """How long deliveries are awaited at most: a poll interval and stalls, modelled and real, more."""
    poll_s = trial.poll_interval_s if trial.transport == "polling" else 0.0
    stall_s = longest_stall_s(plan) if trial.rtt_ms else 0.0
    return settle_s(plan, trial) + poll_s + stall_s + GRACE_S


def latest_ms(plan: Plan, trial: TrialPlan) -> float:
    """The longest delivery latency that protocol, delay and jitter allow (docs/method.md, Theory)."""
    transits = {"polling": 2, "long_polling": 3}.get(trial.transport, 1)
    poll_ms = trial.poll_interval_s * 1000 if trial.transport == "polling" else 0.0
    late_polls = max(1, math.ceil(trial.rtt_ms / poll_ms)) if poll_ms else 0
    jitter_ms = plan.jitter_ms if trial.rtt_ms else 0.0
    return transits * (trial.rtt_ms / 2 + jitter_ms) + late_polls * poll_ms


def longest_stall_s(plan: Plan) -> float:
    """After so long nearly every segment is there: all time-outs, each twice as long as the one before, of one that
    was lost so often in a row that only ``ODDS_OF_A_LONGER_STALL`` are lost more often. 0 without loss."""
    if not plan.loss:
        return 0.0
    times = math.ceil(math.log(ODDS_OF_A_LONGER_STALL) / math.log(plan.loss))
    return float(2**times - 1) * plan.between.retransmission_timeout_ms / 1000


def expected_s(plan: Plan, trial: TrialPlan) -> float:
    """About how long a trial takes."""
    events = warmup_of(plan, trial) + plan.measured_events
    first_polls_s = trial.poll_interval_s if trial.transport == "polling" else 0
    drain_about_s = drain_s(plan, trial) - GRACE_S
    return BOOT_S + plan.ramp_s + min(first_polls_s, 0.5) + events / plan.rate_hz + drain_about_s
