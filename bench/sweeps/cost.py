"""Arms, loads and trials of the cost benchmark, in their seeded order. Pure (docs/method.md, Cost)."""

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from bench.plan.presets import make_plan
from bench.plan.trials import Planned, TrialPlan
from bench.results.run import Plan
from feed.transports import BASELINE, FLOOR, POLLING


class Arm(NamedTuple):
    """One of the things compared side by side: a server with its variant, and the program that receives."""

    transport: str
    variant: str = ""
    generator: str = "locust"
    tls: bool = False
    gc: str = "default"
    """The server's garbage collector."""

    @property
    def id(self) -> str:
        """The arm's part of a trial's id: the transport, and whatever differs from the table's row."""
        tls, gc = "tls" if self.tls else "", "gc" if self.gc != "default" else ""
        words = (self.transport, tls, self.variant, gc, self.generator if self.generator != "locust" else "")
        return "-".join(filter(None, words))


RAW: Final = Arm(BASELINE)
FLOOR_ARM: Final = Arm(BASELINE, FLOOR)
WEBSOCKET, SSE, SOCKETIO = Arm("websocket"), Arm("sse"), Arm("socketio")
LONG_POLLING, POLLING_ARM = Arm("long_polling"), Arm(POLLING)
WEBSOCKET_TUNED, SSE_PLAIN = Arm("websocket", "tuned"), Arm("sse", "plain")
LONG_POLLING_TUNED, POLLING_TUNED = Arm("long_polling", "tuned"), Arm(POLLING, "tuned")
SOCKETIO_WEBSOCKET = Arm("socketio", "websocket_only")

STREAMS: Final = (RAW, WEBSOCKET, WEBSOCKET_TUNED, SSE, SSE_PLAIN)
ALL: Final = (RAW, WEBSOCKET, SSE, SOCKETIO, SOCKETIO_WEBSOCKET, LONG_POLLING, POLLING_ARM)
"""Every transport as users deploy it."""
STREAMING: Final = (RAW, WEBSOCKET, SSE, SOCKETIO)
LIGHT: Final = (FLOOR_ARM, RAW, WEBSOCKET, SSE)
"""The streams whose client takes 20,000 deliveries a second on one core, and the floor."""
COLLECTED: Final = tuple(arm._replace(gc="tuned") for arm in (WEBSOCKET, SSE, SOCKETIO))
"""The streams whose cost grows with the garbage collector's work, with its thresholds raised."""
POLLS: Final = (POLLING_ARM, POLLING_TUNED, LONG_POLLING, LONG_POLLING_TUNED)
LOW_RATE_HZ: Final = 20.0
"""Events per second to 200 subscribers. Socket.IO's client, at about 75 µs per delivery, receives them with ease."""
DELIVERIES_HZ: Final = 5000.0
"""Deliveries per second over all subscribers, for every number of subscribers."""
LEAST_EVENTS: Final = 3
"""Measured events where subscribers are so many that each has less than two a second."""
CONNECTING_HZ: Final = {"socketio": 100.0}
"""Connections per second of a ramp, for transports that cannot open 2,000: a Socket.IO handshake takes four requests
and an upgrade, and a faster ramp only causes time-outs and retries."""
SPARE_FILES: Final = 300
"""Open files that a process needs in addition to its connections."""
HEARTBEAT_S: Final = 60.0
"""Longer than a trial, so that no heartbeat falls into its measured part. Subscribers that connected together also get
their heartbeats together, and a heartbeat is no part of a delivery."""
POLLS_HZ: Final = 2500.0
"""Requests per second over all pollers: one generator core sends them without queueing."""


class Section(NamedTuple):
    """One question: its arms, its loads (label -> values of a ``Plan``), and how often each is repeated."""

    arms: tuple[Arm, ...]
    loads: dict[str, dict[str, Any]]
    repeats: int
    purpose: str = "cost"
    most: Mapping[Arm, int] = MappingProxyType({})
    """Arm -> the most subscribers with which it is measured; any number where an arm is not named."""

    def cases(self, open_files: int) -> list[tuple[str, Arm]]:
        """Load and arm of each trial of a block, of the loads for which a process may open files enough."""
        return [
            (label, arm)
            for label, values in self.loads.items()
            for arm in self.arms
            if values["subscribers"] <= min(self.most.get(arm, open_files), open_files - SPARE_FILES)
        ]


def _fanout(subscribers: int) -> dict[str, Any]:
    """With a constant schedule: of the few events of a Poisson process that 10,000 subscribers get, each may come
    before all have the one before it, which saturates server and client."""
    rate_hz = DELIVERIES_HZ / subscribers
    return {
        "subscribers": subscribers,
        "rate_hz": rate_hz,
        "duration_s": max(2.0, LEAST_EVENTS / rate_hz),
        "warmup_events": 2,
        "schedule": "constant",
    }


def _load(**values: Any) -> dict[str, Any]:
    return {"subscribers": 200, "rate_hz": 100.0, "duration_s": 2.0, "warmup_events": 50, **values}


def _small(**values: Any) -> dict[str, Any]:
    return _load(**{"subscribers": 20, "duration_s": 0.5, "warmup_events": 5, "poll_interval_s": 0.2, **values})


PER_REQUEST: Final = _load(rate_hz=POLLS_HZ / 200, poll_interval_s=200 / POLLS_HZ, warmup_events=3)

Sections = dict[str, Section]

PRESETS: Final[dict[str, Sections]] = {
    "default": {
        "main": Section(
            (FLOOR_ARM, *STREAMS, LONG_POLLING, POLLING_ARM), {"200 subscribers, 100 events/s": _load()}, 5
        ),
        "low_rate": Section(
            (FLOOR_ARM, *ALL), {"200 subscribers, 20 events/s": _load(rate_hz=LOW_RATE_HZ, warmup_events=10)}, 5
        ),
        "requests": Section(POLLS, {f"{POLLS_HZ:,.0f} requests/s": PER_REQUEST}, 5),
        "memory": Section(
            (*STREAMS, SOCKETIO, SOCKETIO_WEBSOCKET, LONG_POLLING, LONG_POLLING_TUNED),
            {"1,000 connections": _load(subscribers=1000, rate_hz=1.0, warmup_events=1)},
            2,
        ),
        "subscribers": Section(
            (FLOOR_ARM, *STREAMING, *COLLECTED),
            {f"{n:,}": _fanout(n) for n in (10, 100, 1000, 5000, 10_000)},
            1,
            most={COLLECTED[-1]: 5000},  # its ramp to 10,000 takes two minutes
        ),
        "rate": Section(LIGHT, {f"{hz:g}": _load(rate_hz=hz) for hz in (10.0, 50.0)}, 1),
        "payload": Section(
            STREAMING, {f"{size:,}": _load(payload_bytes=size, rate_hz=LOW_RATE_HZ) for size in (96, 16384)}, 1
        ),
    },
    # Everything once and small, to see that it works. Its numbers are too few to settle anything.
    "smoke": {
        "main": Section((FLOOR_ARM, *STREAMS, LONG_POLLING, POLLING_ARM), {"20 subscribers": _small()}, 1),
        "low_rate": Section((RAW, SOCKETIO, SOCKETIO_WEBSOCKET), {"20 subscribers": _small(rate_hz=20.0)}, 1),
        "requests": Section(
            (POLLING_TUNED, LONG_POLLING_TUNED), {"250 requests/s": _small(rate_hz=12.5, poll_interval_s=0.08)}, 1
        ),
        "memory": Section((WEBSOCKET,), {"50 connections": _small(subscribers=50)}, 1),
        "subscribers": Section(
            (WEBSOCKET, WEBSOCKET._replace(gc="tuned")), {f"{n}": _small(subscribers=n) for n in (5, 50)}, 1
        ),
    },
}


TLS_SECTION: Final = "tls"
_BOTH: Final = tuple(arm._replace(tls=tls) for arm in STREAMING for tls in (False, True))

TLS_PRESETS: Final[dict[str, Sections]] = {
    "default": {TLS_SECTION: Section(_BOTH, {"200 subscribers, 20 events/s": _load(rate_hz=LOW_RATE_HZ)}, 5, "tls")},
    "smoke": {TLS_SECTION: Section((WEBSOCKET, WEBSOCKET._replace(tls=True)), {"20 subscribers": _small()}, 1, "tls")},
}
"""The same load with and without TLS, side by side in each block."""

RECEIVERS: Final = (RAW, WEBSOCKET_TUNED, SSE_PLAIN)
"""The cheapest arms to serve, so that the receiving side limits what is measured."""
_PAIRS: Final = tuple(arm._replace(generator=name) for arm in RECEIVERS for name in ("locust", "bare"))
_NODE: Final = WEBSOCKET_TUNED._replace(generator="node")
_SOCKETIO_USER: Final = SOCKETIO_WEBSOCKET._replace(generator="socketiouser")

GENERATOR_PRESETS: Final[dict[str, Sections]] = {
    "default": {
        "receive": Section((*_PAIRS, _NODE), {"20,000 deliveries/s": _load()}, 5),
        "socketio": Section(
            (SOCKETIO_WEBSOCKET, _SOCKETIO_USER),
            {"2,000 deliveries/s": _load(rate_hz=10.0, warmup_events=10)},
            3,
        ),
        "sustain": Section(RECEIVERS, {"40,000 deliveries/s": _load(rate_hz=200.0)}, 3),
        # Without SSE: it fills the server's core before the generator's.
        "saturate": Section(RECEIVERS[:2], {"140,000 deliveries/s": _load(rate_hz=700.0)}, 3, "saturation"),
    },
    "smoke": {
        "receive": Section(
            (RAW, RAW._replace(generator="bare"), _NODE),
            {"2,000 deliveries/s": _load(subscribers=20, duration_s=0.5)},
            1,
        ),
        "socketio": Section(
            (_SOCKETIO_USER,),
            {"200 deliveries/s": _load(subscribers=20, rate_hz=10.0, duration_s=0.5, warmup_events=3)},
            1,
        ),
    },
}


def cost_trials(
    wanted: Sections,
    seed: int,
    blocks: int | None = None,
    names: list[str] | None = None,
    open_files: int = 1 << 20,
) -> list[Planned]:
    """All trials of the sections, or of those in ``names``: blocks with each arm once, shuffled by the seed.

    ``blocks`` replaces the repeats of the sections in ``names``, without those of sections that have more than 2.
    ``open_files``: the most that a process may
    have here; loads with more subscribers than that allows are left out.
    """
    planned: list[Planned] = []
    for name, section in wanted.items():
        if names is not None and name not in names:
            continue
        repeats = blocks if blocks and (names or section.repeats > 2) else section.repeats
        for block in range(1, repeats + 1):
            members = [_trial(name, section, *case, block, seed) for case in section.cases(open_files)]
            random.Random(f"cost-{seed}-{name}-{block}").shuffle(members)
            planned += members
    return planned


def _trial(name: str, section: Section, label: str, arm: Arm, block: int, seed: int) -> Planned:
    plan = _plan(arm.transport, section.loads[label], seed)
    trial = TrialPlan(
        id=f"{name}-{label.split()[0].replace(',', '')}-b{block}-{arm.id}",
        transport=arm.transport,
        block=block,
        purpose=section.purpose,
        seed=seed * 10_000 + block,
        rtt_ms=0.0,
        poll_interval_s=plan.poll_interval_s,
        variant=arm.variant,
        generator=arm.generator,
        tls=arm.tls,
        gc=arm.gc,
    )
    return Planned(name, label, plan, trial)


def _plan(transport: str, values: dict[str, Any], seed: int) -> Plan:
    poll_interval_s = values.get("poll_interval_s", 1.0) if transport == POLLING else 0.2
    ramp_s = max(0.2, values["subscribers"] / CONNECTING_HZ.get(transport, 2000.0))
    plan = make_plan(
        "full",
        **{
            **values,
            "transports": [transport],
            "rooms": 1,
            "rtt_ms": 0.0,
            "blocks": 1,
            "heartbeat_s": HEARTBEAT_S,
            "ramp_s": ramp_s,
            "poll_interval_s": poll_interval_s,
            "seed": seed,
        },
    )
    # One process receives, so that one number says what receiving costs and whether it was the bottleneck.
    return msgspec.structs.replace(plan, probes=plan.subscribers, idle_measure_s=0.5, max_reruns=0)
