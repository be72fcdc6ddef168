"""The results of a run as data: schema, catalogue of metrics, loading and saving (docs/results-format.md).

This module is all that ``reports`` knows of ``bench``; importing it loads neither locust nor a client.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from feed.networks import Network

SCHEMA_VERSION: Final = 1
RESULTS_FILE: Final = "results.json"
COST_FILE: Final = "cost.json"
GENERATOR_FILE: Final = "generator.json"
FAULTS_FILE: Final = "faults.json"
SOAK_FILE: Final = "soak.json"
PROBES_FILE: Final = "probes.json"
SENSITIVITY_FILE: Final = "sensitivity.json"
VERIFY_FILE: Final = "verify.json"
AA_FILE: Final = "aa.json"
RUN_FILES: Final = (
    RESULTS_FILE,
    COST_FILE,
    GENERATOR_FILE,
    FAULTS_FILE,
    SOAK_FILE,
    PROBES_FILE,
    SENSITIVITY_FILE,
    VERIFY_FILE,
    AA_FILE,
)
MAX_RESULTS_BYTES: Final = 256 << 20

TRANSPORTS: Final = ("polling", "long_polling", "sse", "websocket", "socketio", "raw")
"""The rows of every table, in order; ``raw`` is the baseline and comes last."""

PURPOSES: Final = ("main", "curve", "loopback", "cost", "saturation", "tls", "sensitivity", "aa")
STATUSES: Final = ("ok", "invalid", "failed")
FAULTS: Final = ("kill", "cut", "stall")
SIEGES: Final = ("unfinished", "slow", "stalled", "torn")
GENERATORS: Final = ("locust", "bare", "node", "socketiouser")

MOST: Final = 10**12
"""Of any number in a plan: far beyond what can be measured, near enough to reckon with."""
Positive = Annotated[float, msgspec.Meta(gt=0, le=MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=MOST)]
Several = Annotated[int, msgspec.Meta(ge=1, le=10**7)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
"""What a file may hold: checked when it is read. Ratios are taken of most of it."""
PERCENTILES: Final = (1, *range(5, 100, 5), 99, 99.9)


class ResultsError(ValueError):
    """A results file that cannot be read or understood; the message names the file and the reason."""


class Metric(msgspec.Struct, frozen=True):
    """What a number of a trial is: its unit, one sentence, and whether less of it is better."""

    unit: str
    meaning: str
    margin: str = ""
    """Which of the margins of DESIGN section 4 applies when it is compared: latency, bytes, cpu or none."""


METRICS: Final[dict[str, Metric]] = {
    "latency_ms_p50": Metric("ms", "delivery latency, median: receive time minus due time, probes only", "latency"),
    "latency_ms_p95": Metric("ms", "delivery latency, 95th percentile, probes only", "latency"),
    "latency_ms_p99": Metric("ms", "delivery latency, 99th percentile, probes only", "latency"),
    "latency_ms_mean": Metric("ms", "delivery latency, mean, probes only", "latency"),
    "latency_ms_max": Metric("ms", "delivery latency, largest seen by a probe"),
    "generator_latency_ms_p50": Metric("ms", "generator view: median over all subscribers, their queueing included"),
    "generator_latency_ms_p95": Metric("ms", "generator view: 95th percentile over all subscribers"),
    "fanout_spread_ms_p50": Metric("ms", "last minus first probe of one event, median over events"),
    "fanout_spread_ms_p95": Metric("ms", "last minus first probe of one event, 95th percentile over events"),
    "wire_bytes_per_event": Metric("B", "bytes moved both ways per delivered event, all causes", "bytes"),
    "payload_bytes_per_event": Metric("B", "of these, the event's data", "bytes"),
    "framing_bytes_per_event": Metric("B", "of these, envelope, framing and HTTP headers", "bytes"),
    "tcp_ip_bytes_per_event": Metric("B", "of these, TCP and IP headers and bare acknowledgements", "bytes"),
    "heartbeat_bytes_per_event": Metric("B", "of these, heartbeats at their long-run rate (streams only)", "bytes"),
    "setup_bytes_per_connection": Metric(
        "B", "TCP and HTTP handshake up to the first answer, once per connection", "bytes"
    ),
    "closing_bytes_per_connection": Metric("B", "segments that close a connection, once per connection", "bytes"),
    "life_bytes_per_event": Metric(
        "B", "all bytes of all connections of the trial, set-up and closing included, per event", "bytes"
    ),
    "idle_bytes_per_s": Metric("B/s", "one heartbeat or empty poll cycle over its period, per subscriber", "bytes"),
    "requests_per_event": Metric("", "HTTP requests (or stream connects) per delivered event", "bytes"),
    "events_per_response": Metric("", "delivered events per HTTP response (or stream connect)"),
    "connections_per_event": Metric("", "TCP connections opened inside the window per delivered event"),
    "server_cpu_us_per_event": Metric("us", "server CPU per delivered event, idle server subtracted", "cpu"),
    "server_cpu_us_per_request": Metric("us", "server CPU per HTTP request, idle server subtracted", "cpu"),
    "server_user_share": Metric("", "share of the server's CPU spent in user mode, the rest is the kernel's"),
    "generator_cpu_us_per_event": Metric("us", "generator CPU per delivered event, all its processes", "cpu"),
    "received_events_per_s": Metric("1/s", "deliveries over all subscribers per second of the measured part"),
    "due_events_per_s": Metric("1/s", "deliveries due over all subscribers per second of the measured part"),
    "rss_bytes_per_connection": Metric("B", "growth of the server's resident memory per connection, events included"),
    "kernel_bytes_per_connection": Metric("B", "kernel socket memory of all sockets of the trial per connection"),
    "handshake_ms_p50": Metric("ms", "opening a connection, TLS included where there is any: median of fresh ones"),
    "server_cpu_us_per_handshake": Metric("us", "server CPU to accept a connection, TLS included, and to close it"),
    "generator_cpu_share": Metric("of a core", "CPU of the busiest generator process"),
    "relay_cpu_share": Metric("of a core", "CPU of the relay"),
    "server_cpu_share": Metric("of a core", "CPU of the server"),
    "publisher_lateness_us_p50": Metric("us", "publish time minus due time, median"),
    "publisher_lateness_us_p99": Metric("us", "publish time minus due time, 99th percentile"),
    "relay_lateness_us_p50": Metric("us", "how late the relay released what it delayed, median"),
    "relay_lateness_us_p99": Metric("us", "how late the relay released what it delayed, 99th percentile"),
    "server_loop_lag_us_p99": Metric("us", "lateness of a 20 Hz timer on the server's event loop, 99th percentile"),
    "probe_loop_lag_us_p99": Metric("us", "lateness of a 20 Hz timer on the probes' event loop, 99th percentile"),
    "server_gc_pause_ms_max": Metric("ms", "longest garbage collection of the server"),
    "generator_gc_pause_ms_max": Metric("ms", "longest garbage collection of the generator in the window"),
    "hiccup_ms_p99": Metric("ms", "1 ms timer on every core, 99th percentile of its lateness, worst core"),
    "steal_share": Metric("of all cores", "time that the hypervisor gave to other machines"),
    "other_load_share": Metric("of all cores", "time that processes other than the benchmark's used"),
    "drift_share": Metric("", "median latency of the second half above the first's, 0 unless it is sure"),
    "hiccup_ms_max": Metric("ms", "1 ms timer on every core, largest lateness, worst core"),
}
"""Every number a trial may carry, by name. A metric that a trial could not measure is absent, never 0."""


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
    """Came more than ``bench.plan.presets.LATE_MS`` after the latest that protocol and network allow, the host's
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
    notes: list[str] = []
    """What a valid trial lacks: percentiles for which it has too few events."""


class Idle(msgspec.Struct, frozen=True):
    """One heartbeat or empty poll cycle, measured on its own with a short period: its bytes both ways."""

    cycle_bytes: NotNegative
    cycle_stream_bytes: NotNegative
    """The part of it that is not TCP and IP headers."""
    cycles: Count
    period_s: Positive
    """The period that applies in the trials, over which ``idle_bytes_per_s`` spreads the cycle."""


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
    sabotage: dict[str, str] = {}
    """Transport -> the fault that its server commits on purpose (``feed.faults``)."""

    @property
    def between(self) -> Network:
        """What lies between client and server."""
        return Network(self.network, self.rtt_ms, self.jitter_ms, self.bandwidth_mbit_s, self.loss)


class Results(msgspec.Struct):
    """One run. ``finished`` is false if it was interrupted; what was measured until then is here."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    plan: Plan
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
    idle: dict[str, Idle]
    trials: list[Trial]


class CostTrial(msgspec.Struct):
    """One trial of the cost benchmark: the section it belongs to, its load by label, and the trial."""

    section: str
    load: str
    trial: Trial


class CostResults(msgspec.Struct):
    """One run of ``python -m bench cost``, ``generator`` or ``sensitivity``. ``loads``: per section and label the
    load in full."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    preset: str
    seed: int
    loads: dict[str, dict[str, Plan]]
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
    trials: list[CostTrial]
    idle: dict[str, Idle] = {}
    """Of ``sensitivity``: an idle cycle of each transport."""


class FaultTrial(msgspec.Struct):
    """One fault, once: many clients, and what became of them. Times in seconds."""

    transport: str
    fault: str
    repeat: int
    clients: int
    outage_s: float
    """From the fault until the server could be reached again."""
    recover_s: list[float]
    """Per client: from then until it heard from the server again."""
    undisturbed: int
    """Clients whose connection outlived the fault."""
    never_back: int
    handshakes_per_s_peak: int
    """Most clients that came back within one second."""
    delivered: int
    silently_lost: int
    duplicates: int
    gaps: int
    """Clients that were told of a gap."""
    resumed: int
    """Clients that were told that nothing is missing."""


class SiegeTrial(msgspec.Struct):
    """Bad peers beside good clients on one server, once."""

    transport: str
    siege: str
    repeat: int
    peers: int
    """Bad ones at once; of ``cut``, new ones a second."""
    calm_ms_p99: float
    """Latency of the good ones without them, 99th percentile."""
    siege_ms_p99: float
    """With them."""
    rss_bytes_per_peer: float
    """Growth of the server's resident memory."""
    delivered: int
    expected: int


class FaultResults(msgspec.Struct):
    """One run of ``python -m bench faults``."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
    seed: int
    rate_hz: float
    siege_events: int
    """In each window, in peace and under siege."""
    trials: list[FaultTrial]
    sieges: list[SiegeTrial]


class Probe(msgspec.Struct, frozen=True):
    """One functional question to one transport: yes, no, or ``None`` where it could not be tried; and the evidence."""

    transport: str
    probe: str
    holds: bool | None
    evidence: str


class ProbeResults(msgspec.Struct):
    """One run of ``python -m bench probes``."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
    probes: list[Probe]


class SoakSample(msgspec.Struct):
    """One reading of a server while clients come and go."""

    at_s: float
    rss_bytes: int
    open_files: int
    tasks: int
    peers: int


class SoakResult(msgspec.Struct):
    """One transport's soak: before, during, and after every client has left."""

    transport: str
    before: SoakSample
    samples: list[SoakSample]
    after: SoakSample
    lives: int
    """Clients that came and went."""
    requests: int
    failures: list[str]


class SoakResults(msgspec.Struct):
    """One run of ``python -m bench soak``."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
    seed: int
    duration_s: float
    clients: int
    servers: list[SoakResult]


class LateEvent(msgspec.Struct, frozen=True):
    """One delivery, from due to application. Milliseconds after it was due."""

    room: int
    n: int
    publish_ms: float
    kernel_ms: float
    """The kernel's stamp of the packet that completed it at the client."""
    receive_ms: float


class Verification(msgspec.Struct):
    """One trial under packet capture. ``broken`` names the checks that did not hold; empty if all did."""

    trial: Trial
    captured_bytes: int = 0
    counted_bytes: int = 0
    """What the clients' ledger says the same connections moved, set-up and closing included."""
    captured_packets: int = 0
    deliveries: int = 0
    matched: int = 0
    """Deliveries whose message was found in the capture."""
    user_minus_kernel_ms_p50: float | None = None
    user_minus_kernel_ms_p95: float | None = None
    """Absent with too few events."""
    clock_drift_us: float = 0.0
    """How far CLOCK_REALTIME moved against CLOCK_MONOTONIC during the capture."""
    slowest: list[LateEvent] = []
    broken: list[str] = []


class VerifyResults(msgspec.Struct):
    """One run of ``python -m bench verify``."""

    schema_version: int
    pushmark_version: str
    created_at: str
    finished: bool
    command: list[str]
    plan: Plan
    host: dict[str, object]
    versions: dict[str, str]
    options: dict[str, object]
    trials: list[Verification]


Run = Results | CostResults | FaultResults | SoakResults | ProbeResults | VerifyResults
"""Whatever a results file holds."""


def save(results: Run, folder: Path, name: str = RESULTS_FILE) -> Path:
    """Write ``results.json``, or another file, so that a reader never sees half of it."""
    path = folder / name
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    part.replace(path)
    return path


def load(folder: Path) -> Results:
    """Read a run's results. Raises ``ResultsError`` naming the file and what is wrong with it."""
    path = folder / RESULTS_FILE if folder.is_dir() else folder
    results = _decoded(path, Results)
    _check_names(path, results.trials, [*results.plan.transports, *results.plan.sabotage, *results.idle])
    return results


def load_cost(path: Path) -> CostResults:
    """Read a ``cost.json``, ``generator.json`` or ``sensitivity.json``.

    Raises ``ResultsError`` naming the file and what is wrong with it.
    """
    results = _decoded(path, CostResults)
    _check_names(path, [one.trial for one in results.trials])
    return results


def load_faults(path: Path) -> FaultResults:
    """Read a ``faults.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, FaultResults)
    _check_known(path, "transports", (of.transport for of in results.trials), TRANSPORTS)
    _check_known(path, "transports", (of.transport for of in results.sieges), TRANSPORTS)
    _check_known(path, "faults", (of.fault for of in results.trials), FAULTS)
    _check_known(path, "sieges", (of.siege for of in results.sieges), SIEGES)
    return results


def load_probes(path: Path) -> ProbeResults:
    """Read a ``probes.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, ProbeResults)
    _check_known(path, "transports", (of.transport for of in results.probes), TRANSPORTS)
    return results


def load_soak(path: Path) -> SoakResults:
    """Read a ``soak.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, SoakResults)
    _check_known(path, "transports", (of.transport for of in results.servers), TRANSPORTS)
    return results


def load_verify(path: Path) -> VerifyResults:
    """Read a ``verify.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, VerifyResults)
    _check_names(path, [one.trial for one in results.trials], results.plan.transports)
    return results


R = TypeVar("R")


def _decoded(path: Path, type_: type[R]) -> R:
    try:
        if path.exists() and not path.is_file():
            raise ResultsError(f"{path}: not a file of results")  # reading a pipe or a device may never end
        with path.open("rb") as file:
            text = file.read(MAX_RESULTS_BYTES + 1)
        if len(text) > MAX_RESULTS_BYTES:
            raise ResultsError(f"{path}: over the bound of {MAX_RESULTS_BYTES} bytes")
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    try:
        version = msgspec.json.decode(text, type=_Versioned).schema_version
        if version != SCHEMA_VERSION:
            raise ResultsError(f"{path}: schema version {version}; this pushmark reads version {SCHEMA_VERSION}")
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultsError(f"{path}: {error}") from error


def _check_names(path: Path, trials: list[Trial], transports: Iterable[str] = ()) -> None:
    """Raise ``ResultsError`` for names that this pushmark does not know."""
    _check_known(path, "metrics", (name for trial in trials for name in trial.metrics), METRICS)
    _check_known(
        path, "percentiles", (name for trial in trials for name in trial.latency_ms), map("{:g}".format, PERCENTILES)
    )
    _check_known(path, "transports", (*transports, *(trial.transport for trial in trials)), TRANSPORTS)
    _check_known(path, "purposes", (trial.purpose for trial in trials), PURPOSES)
    _check_known(path, "statuses", (trial.status for trial in trials), STATUSES)
    _check_known(path, "generators", (trial.generator for trial in trials), GENERATORS)


def _check_known(path: Path, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    allowed = list(known)
    unknown = sorted(set(names) - set(allowed))
    if unknown:
        raise ResultsError(f"{path}: unknown {kind} {', '.join(unknown)[:200]}: allowed are {', '.join(allowed)}")


class _Versioned(msgspec.Struct):
    schema_version: int
