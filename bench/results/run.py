"""The results of a run: what was planned, every trial of it, and what was measured (docs/results-format.md). Pure."""

from typing import Annotated, Final, Literal

import msgspec

from bench.results.catalogue import LATENCY_PERCENTILES
from bench.results.observed import Observed, RelayCheck
from bench.results.provenance import Provenance
from feed.networks import Network

PURPOSES: Final = ("main", "curve", "loopback", "cost", "saturation", "tls", "sensitivity", "aa", "scenario")

STATUSES: Final = ("ok", "invalid", "failed")

GENERATORS: Final = ("locust", "bare", "node", "socketiouser")

MAX_NUMBER: Final = 10**12
"""No number of a plan exceeds this: it is far beyond what can be measured, and still safe to calculate with."""

Positive = Annotated[float, msgspec.Meta(gt=0, le=MAX_NUMBER)]

NotNegative = Annotated[float, msgspec.Meta(ge=0, le=MAX_NUMBER)]

Several = Annotated[int, msgspec.Meta(ge=1, le=10**7)]

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
"""What a file may hold: checked when it is read. Ratios are taken of most of it."""


class Counts(msgspec.Struct, frozen=True):
    """Completeness over all subscribers: what was due to arrive in the measured part, and what did."""

    expected: Count
    delivered: Count
    lost: Count
    duplicate: Count
    out_of_order: Count
    gaps: Count
    reconnects: Count
    late: Count | None = None
    """Came more than ``bench.plan.timing.LATE_MS`` after the latest that protocol and network allow, the host's
    longest stall left out; ``None`` where that is not known: networks with loss or limited bandwidth, and older
    files."""


class Trial(msgspec.Struct):
    """One transport, once, in a fresh server process.

    ``purpose``: ``main`` feeds the table, ``curve`` the polling curve, ``loopback`` the smoke check without relay.
    ``status``: ``ok``; ``invalid`` (measured, but something other than the transport was the bottleneck: never
    averaged in); ``failed`` (no numbers). ``reasons`` says why. ``attempt`` counts re-runs from 1.
    ``latency_ms``: percentile (as in ``PERCENTILES``, written as text) to milliseconds; a percentile that has
    fewer than 10 independent events above it is absent.
    """

    id: str
    transport: str
    block: int
    purpose: str
    attempt: int
    seed: int
    rtt_ms: NotNegative
    poll_interval_s: Positive
    status: str
    reasons: list[str]
    started_at: str
    duration_s: NotNegative
    events: Count
    subscribers: Count
    probes: Count
    samples: str
    """File of the probe samples, relative to results.json; empty if there are none."""
    counts: Counts | None
    metrics: dict[str, float]
    latency_ms: dict[str, float]
    preflight: list[str]
    """Names of the contract checks passed before timing."""
    details: dict[str, object]
    """Ready lines, placement on cores, socket options as the kernel reports them, and other provenance."""
    variant: str = ""
    """Named variant of the server (`python -m bench cost` only); empty is the row of the table."""
    generator: str = "locust"
    tls: bool = False
    """Encrypted (`python -m bench cost --tls` only)."""
    gc: str = "default"
    """The server's garbage collector: Python's own settings, or ``tuned`` (`python -m bench cost` only)."""
    notes: list[str] = []
    """What a valid trial lacks: percentiles for which it has too few events, costs above the idle server's noise."""
    observed: Observed | None = None
    """Facts to hold against the plan; ``None`` in older files, and for a trial that failed."""

    @property
    def values(self) -> dict[str, float]:
        """Every number of the trial by name: ``metrics``, and those percentiles of latency that are metrics."""
        latency = {name: self.latency_ms[q] for name, q in LATENCY_PERCENTILES.items() if q in self.latency_ms}
        return latency | self.metrics


class IdleRepeat(msgspec.Struct, frozen=True):
    """The idle cycles of one subscriber; the fields are as those of ``Idle``."""

    cycle_bytes: NotNegative
    cycle_stream_bytes: NotNegative
    cycles: Count
    reconnections: Count = 0
    reason: str = ""
    """Why it does not count; empty if it does."""
    pace: NotNegative | None = None


class Idle(msgspec.Struct, frozen=True):
    """One heartbeat or empty poll cycle, measured on its own with a short period: its bytes both ways."""

    cycle_bytes: NotNegative
    cycle_stream_bytes: NotNegative
    """The part of it that is not TCP and IP headers."""
    cycles: Count
    period_s: Positive
    """The period that applies in the trials, over which ``idle_bytes_per_s`` spreads the cycle."""
    pace: NotNegative | None = None
    """The period at which the cycles came, divided by the short one that was asked for; ``None`` in older files."""
    repeats: list[IdleRepeat] = []
    """Every subscriber that was measured. The numbers above are means over those that count; older files have one."""
    reason: str = ""
    """Why too few count; the transport's trials then fail."""

    @property
    def counting(self) -> list[IdleRepeat]:
        """The repeats that count."""
        return [one for one in self.repeats if not one.reason]

    def of_block(self, block: int) -> "Idle":
        """The cycle that this block is evaluated with, another subscriber's for each, so that their scatter becomes
        scatter between blocks."""
        if not self.counting:
            return self
        one = self.counting[(block - 1) % len(self.counting)]
        return msgspec.structs.replace(self, cycle_bytes=one.cycle_bytes, cycle_stream_bytes=one.cycle_stream_bytes)


class Plan(msgspec.Struct, frozen=True):
    """Everything that was decided before the run."""

    preset: str
    transports: list[str]
    subscribers: Several
    probes: Count
    rooms: Several
    rate_hz: Positive
    payload_bytes: Several
    poll_interval_s: Positive
    hold_s: Positive
    heartbeat_s: Positive
    rtt_ms: NotNegative
    duration_s: NotNegative
    warmup_events: Count
    measured_events: Count
    ramp_s: NotNegative
    blocks: Count
    seed: int
    headers: str
    history: Several
    curve_intervals_s: list[Positive]
    curve_repeats: Count
    loopback_too: bool
    max_reruns: Count
    slo: list[str] = []
    """Objectives that every transport is to keep (``bench.results.thresholds``)."""
    point: str = "sparse"
    """The operating point, by the name of its folder when a run has several."""
    idle_measure_s: NotNegative = 0.3
    """How long the server's CPU with nobody connected is measured before each trial."""
    network: str = ""
    """A preset of ``feed.networks``, or ``custom``; empty in results from before there were any. Its numbers:
    ``rtt_ms`` and these, per direction of each connection."""
    jitter_ms: NotNegative = 0.0
    bandwidth_mbit_s: NotNegative = 0.0
    loss: NotNegative = 0.0
    spare_blocks: Count = 0
    """Blocks that may follow the planned ones, with the numbers after theirs, one at a time and only while fewer blocks
    than planned have a valid trial of every transport."""
    inject_fault: dict[str, str] = {}
    """Transport -> the fault injected into its server (``feed.faults``)."""
    schedule: Literal["poisson", "constant"] = "poisson"
    """When events are due (``feed.schedule``)."""
    scenario: str = ""
    """What subscribers do in place of receiving a feed (``bench.generators.scripts``); empty: they receive a feed."""
    scenario_options: dict[str, bool | int | float | str] = {}
    """Options of that script."""
    scenario_begin_s: NotNegative = 0.0
    """When its measured part begins; it ends ``duration_s`` after the start."""
    service_options: dict[str, str] = {}
    """Options of the server's services (``--service-option``)."""
    store: bool = False
    """Does the server keep things in a file?"""
    users: Count = 0
    """Users who have tokens, without which the server lets nobody in; 0: it asks for none."""
    server_options: dict[str, str] = {}
    """Other options of the server, by name with underscores."""

    @property
    def between(self) -> Network:
        """What lies between client and server."""
        return Network(self.network, self.rtt_ms, self.jitter_ms, self.bandwidth_mbit_s, self.loss)


class Results(Provenance):
    """One run of ``python -m bench run``."""

    plan: Plan
    idle: dict[str, Idle]
    trials: list[Trial]
    relay_checks: list[RelayCheck] = msgspec.field(default_factory=list)
    """Pings through a relay before the first trial and after the last; empty in older files, and on the loopback."""
