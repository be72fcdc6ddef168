"""Plans of a run: presets, and the checks of values that replace theirs. Pure."""

from typing import Any, Final

import msgspec

from bench.results.run import Plan
from clients.core.options import HEADER_SETS
from feed.faults import FaultError, parse_fault
from feed.networks import RANGES as NETWORK_RANGES
from feed.networks import Network, NetworkError, make_network
from feed.rooms import MAX_ROOMS
from feed.sources import SourceError, check_payload_bytes
from feed.transports import CONTENDERS, TRANSPORTS

ALL_PROBES_BELOW_HZ: Final = 200.0
"""Every subscriber is a probe up to this many deliveries per second: one process receives them without queueing."""
PROBES: Final = 16
"""Probes above that rate."""


SPARE_BLOCKS: Final = 2
"""A run with too few complete blocks may add so many."""


class PlanError(ValueError):
    """A plan that cannot be carried out. The message names the option and the allowed values."""


_SMALL: Final[dict[str, Any]] = {
    "warmup_events": 20,
    "blocks": 1,
    "poll_interval_s": 0.2,
    "ramp_s": 0.2,
    "max_reruns": 1,
    "spare_blocks": 0,
}

SPARSE: Final = "sparse"
BROADCAST: Final = "broadcast"

POINTS: Final[dict[str, dict[str, Any]]] = {
    # Many quiet rooms with one subscriber each, like pages that wait for a notification.
    SPARSE: {"subscribers": 200, "rooms": 200, "rate_hz": 20.0},
    # One busy room.
    BROADCAST: {"subscribers": 100, "rooms": 1, "rate_hz": 10.0},
}
"""The operating points, chosen before the first run (DESIGN section 4)."""

PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    # The shortest run that gives a median and a 95th percentile at the sparse point, and a median at broadcast.
    "default": {
        SPARSE: {
            **POINTS[SPARSE],
            "duration_s": 10.0,
            "warmup_events": 10,
            # Without the baseline: the busy room shows far better what software costs above it.
            "transports": list(CONTENDERS),
        },
        BROADCAST: {**POINTS[BROADCAST], "duration_s": 2.1, "warmup_events": 10},
    },
    # 95th percentiles and the baseline at both points, and polling at several intervals.
    "full": {
        SPARSE: {**POINTS[SPARSE], "duration_s": 10.5, "curve_repeats": 1},
        BROADCAST: {**POINTS[BROADCAST], "duration_s": 21.0},
    },
    # Everything once, to see that it works. Its numbers are too few to settle anything.
    "smoke": {
        SPARSE: {
            **_SMALL,
            "subscribers": 20,
            "rooms": 20,
            "rate_hz": 50.0,
            "duration_s": 1.0,
            "curve_repeats": 1,
            "curve_intervals_s": [0.1, 0.4],
        },
        BROADCAST: {**_SMALL, "subscribers": 20, "rooms": 1, "rate_hz": 20.0, "duration_s": 1.0},
    },
}
"""Preset -> operating point -> the values of a ``Plan`` that it sets."""

COMMON: Final[dict[str, Any]] = {
    "transports": list(TRANSPORTS),
    "payload_bytes": 256,
    "schedule": "poisson",
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
    "spare_blocks": SPARE_BLOCKS,
    "slo": [],
    "inject_fault": {},
}

POINT_OPTIONS: Final = ("subscribers", "rooms", "rate_hz", "duration_s")
"""The options that make an operating point. They must come with ``--point``."""

RANGES: Final = {
    "subscribers": (1, 10_000),
    "rooms": (1, MAX_ROOMS),
    "rate_hz": (0.1, 10_000),
    "duration_s": (0.5, 3600),
    "blocks": (1, 1000),
    "poll_interval_s": (0.01, 60),
}


def make_plans(preset: str, point: str | None, **given: Any) -> list[Plan]:
    """The plans of a run: one per operating point, or only that of ``point``. Raises ``PlanError``."""
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
    """A preset's plan for a point; given values replace the preset's (``None``: not given). Raises ``PlanError``."""
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
            parse_fault(fault)
    except FaultError as error:
        raise PlanError(str(error)) from error


def _network(values: dict[str, Any]) -> Network:
    try:
        between = make_network(values["network"], **{name: values.get(name) for name in NETWORK_RANGES})
    except NetworkError as error:
        raise PlanError(str(error)) from error
    if not between.rtt_ms and not between.is_plain:
        raise PlanError("rtt_ms 0 leaves the relay out: jitter_ms, bandwidth_mbit_s and loss need a round trip above 0")
    return between
