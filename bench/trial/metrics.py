"""Counts and metrics of a trial, from what its processes recorded (docs/method.md defines each). Pure."""

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.generators.spec import REPEAT_FIELDS, SAMPLE_FIELDS, Records
from bench.generators.window import Window
from bench.machine.load import Machine, between
from bench.results.catalogue import PERCENTILES
from bench.results.observed import Process
from bench.results.run import Counts, Idle, Plan
from bench.trial.drift import drift
from clients.core.ledger import Totals
from feed.instruments.clock import NS_PER_MS, NS_PER_S
from feed.transports import POLLING, POLLS

MIN_EVENTS_BEYOND: Final = 10
"""A percentile is printed only if at least this many independent events lie above it, and below it."""
LEAST_TICKS: Final = 10
"""Samples of the kernel (100 per second of CPU time) below which a share of them says nothing."""


class Samples(NamedTuple):
    """Deliveries of the measured part: one entry each."""

    subscriber: NDArray[np.int64]
    n: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    receive_ns: NDArray[np.int64]

    @property
    def latency_ms(self) -> NDArray[np.float64]:
        """Receive time minus due time."""
        return (self.receive_ns - self.due_ns) / NS_PER_MS

    def of(self, chosen: NDArray[np.bool_]) -> "Samples":
        """The chosen entries."""
        return Samples(*(column[chosen] for column in self))


class Reading(NamedTuple):
    """CPU times so far, at one end of the measured part."""

    server_cpu_ns: int
    relay_cpu_ns: int
    server_user_ticks: int
    server_system_ticks: int
    machine: Machine
    server: Process | None = None
    """The process that was read as the server ..."""
    relay: Process | None = None
    """... and as the relay."""


class Gauges(NamedTuple):
    """Readings around the measured part, outside the generator."""

    window_s: float
    begin: Reading
    end: Reading
    server_idle_share: float
    """CPU of the server without connections, as a share of a core."""
    rss_growth_bytes: int
    kernel_growth_bytes: int
    server_stats: dict[str, Any]
    relay_stats: dict[str, Any]
    """Empty without a relay."""
    hiccups: list[dict[str, Any]]
    """From the beginning to the end of the window."""
    drain_hiccups: list[dict[str, Any]]
    """From the end of the window until everything was received."""
    idle_pid: int | None = None
    """The process whose CPU ``server_idle_share`` is."""

    @property
    def server_cpu_ns(self) -> int:
        """CPU of the server in the window."""
        return self.end.server_cpu_ns - self.begin.server_cpu_ns

    @property
    def server_user_share(self) -> float | None:
        """Share of it in user mode; ``None`` where the kernel's samples are too few to split it."""
        user = self.end.server_user_ticks - self.begin.server_user_ticks
        system = self.end.server_system_ticks - self.begin.server_system_ticks
        return user / (user + system) if user + system >= LEAST_TICKS else None


def measured_samples(records: list[Records], part: Window, rooms: int) -> Samples:
    """All deliveries of the measured events, warm-up left out."""
    rows = _rows([record.samples for record in records], len(SAMPLE_FIELDS))
    samples = Samples(*(rows[:, column] for column in range(len(SAMPLE_FIELDS))))
    return samples.of(_measured(samples.subscriber, samples.n, part, rooms))


def _rows(parts: list[bytes], fields: int) -> NDArray[np.int64]:
    return np.frombuffer(b"".join(parts), dtype=np.int64).reshape(-1, fields)


def _measured(subscriber: NDArray[np.int64], n: NDArray[np.int64], part: Window, rooms: int) -> NDArray[np.bool_]:
    """Which deliveries, each given by subscriber and number, are of measured events."""
    first_n = np.full(rooms, np.iinfo(np.int64).max)
    last_n = np.full(rooms, -1)
    for due in part.events:
        first_n[due.room] = min(first_n[due.room], due.n)
        last_n[due.room] = max(last_n[due.room], due.n)
    room = subscriber % rooms
    return np.asarray((n >= first_n[room]) & (n <= last_n[room]))


def wrong_dues(samples: Samples, part: Window, rooms: int, start_ns: int) -> int:
    """Deliveries with another due instant than the schedule's. Each one is a bug."""
    expected = {(due.room, due.n): start_ns + due.offset_ns for due in part.events}
    keys = zip((samples.subscriber % rooms).tolist(), samples.n.tolist(), strict=True)
    dues = np.array([expected[key] for key in keys], dtype=np.int64)
    return int(np.count_nonzero(dues != samples.due_ns))


def count(
    samples: Samples, records: list[Records], part: Window, rooms: int, subscribers: int, late_after_ms: float | None
) -> Counts:
    """Completeness over all subscribers. A latency above ``late_after_ms`` is late (``None``: not judged)."""
    per_room = np.bincount([due.room for due in part.events], minlength=rooms)
    expected = int(per_room[np.arange(subscribers) % rooms].sum())
    delivered = len(np.unique(_places(samples)))
    repeats = _rows([record.repeats for record in records], len(REPEAT_FIELDS))
    repeated = int(np.count_nonzero(_measured(repeats[:, 0], repeats[:, 1], part, rooms)))
    totals = {name: sum(record.counts[name] for record in records) for name in records[0].counts}
    return Counts(
        expected=expected,
        delivered=delivered,
        lost=expected - delivered,
        duplicate=repeated + len(samples.n) - delivered,
        # Both find a delivery that is out of its server's order.
        out_of_order=max(totals["out_of_order"], overtaken(samples)),
        gaps=totals["gaps"],
        reconnects=totals["reconnects"],
        late=None if late_after_ms is None else int(np.count_nonzero(samples.latency_ms > late_after_ms)),
    )


def _places(samples: Samples) -> NDArray[np.int64]:
    """One number for each pair of subscriber and event, in the order of events for each subscriber."""
    span = int(samples.n.max(initial=0)) + 1
    return samples.subscriber * span + samples.n


def overtaken(samples: Samples) -> int:
    """Deliveries received after one of a later event by the same subscriber, repeats left out.

    Clients find deliveries that are out of the server's order; this also finds events that the server put out of order.
    """
    places = _places(samples)[np.argsort(samples.subscriber, kind="stable")]
    _, first = np.unique(places, return_index=True)
    places = places[np.sort(first)]
    return int(np.count_nonzero(places < np.maximum.accumulate(places)))


def percentiles_ms(latency_ms: NDArray[np.float64], independent_events: int) -> dict[str, float]:
    """Percentiles that enough independent events support, keyed by the percentile as text."""
    supported = [q for q in PERCENTILES if independent_events * min(q, 100 - q) / 100 >= MIN_EVENTS_BEYOND - 1e-9]
    if not len(latency_ms) or not supported:
        return {}
    return {f"{q:g}": float(value) for q, value in zip(supported, np.percentile(latency_ms, supported), strict=True)}


def unsupported(plan: Plan, records: list[Records], part: Window) -> list[str]:
    """Headline percentiles with too few independent events in this trial, a sentence each."""
    events = independent_events(records, part, plan.rooms)
    wanted = {"p50": 0.5, "p95": 0.95}
    needed = {name: math.ceil(MIN_EVENTS_BEYOND / (1 - q) - 1e-9) for name, q in wanted.items()}
    return [f"{name}: {events} events, {least} needed" for name, least in needed.items() if events < least]


def independent_events(records: list[Records], part: Window, rooms: int) -> int:
    """The number of measured events due to at least one probe."""
    probed_rooms = {index % rooms for record in records for index in record.probes}
    return sum(due.room in probed_rooms for due in part.events)


def latency_metrics(samples: Samples, records: list[Records], part: Window, rooms: int) -> dict[str, float]:
    """Latency of the probes, the generator's view, and the spread of the fan-out."""
    probes = probed(samples, records)
    metrics: dict[str, float] = {}
    if not len(probes.n):
        return metrics
    independent = independent_events(records, part, rooms)
    metrics["latency_ms_mean"] = float(probes.latency_ms.mean())
    drifted = drift(probes.latency_ms, probes.due_ns)
    if drifted is not None:
        metrics["drift_share"] = abs(drifted)
    metrics["latency_ms_max"] = float(probes.latency_ms.max())
    for q, value in percentiles_ms(samples.latency_ms, independent).items():
        if q in ("50", "95"):
            metrics[f"generator_latency_ms_p{q}"] = value
    spreads = _spreads_ms(probes, rooms)
    for q, value in percentiles_ms(spreads, len(spreads)).items():
        if q in ("50", "95"):
            metrics[f"fanout_spread_ms_p{q}"] = value
    return metrics


def probe_percentiles(samples: Samples, records: list[Records], part: Window, rooms: int) -> dict[str, float]:
    """Latency percentiles of the probes."""
    return percentiles_ms(probed(samples, records).latency_ms, independent_events(records, part, rooms))


def probed(samples: Samples, records: list[Records]) -> Samples:
    """The deliveries to probes."""
    probes = [index for record in records for index in record.probes]
    return samples.of(np.isin(samples.subscriber, np.array(probes, dtype=np.int64)))


def _spreads_ms(probes: Samples, rooms: int) -> NDArray[np.float64]:
    """Last minus first probe of each event that several probes received."""
    keys = np.stack([probes.subscriber % rooms, probes.n])
    _, inverse, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    first = np.full(len(counts), np.iinfo(np.int64).max)
    last = np.zeros(len(counts), dtype=np.int64)
    np.minimum.at(first, inverse, probes.receive_ns)
    np.maximum.at(last, inverse, probes.receive_ns)
    several = counts > 1
    return np.asarray((last[several] - first[several]) / NS_PER_MS, dtype=np.float64)


def totals(records: list[Records], begin: str, end: str) -> Totals:
    """What the connections of all processes moved between two marks."""
    return _sum(
        Totals(**getattr(record, end).totals).since(Totals(**getattr(record, begin).totals)) for record in records
    )


def _sum(all_: Iterable[Totals]) -> Totals:
    return Totals(*map(sum, zip(*all_, strict=True)))


def byte_metrics(
    records: list[Records],
    transport: str,
    window_s: float,
    subscribers: int,
    idle: Idle | None,
    poll_interval_s: float,
) -> dict[str, float]:
    """Bytes per delivered event by cause, and bytes per connection.

    Bytes moved between the two marks are divided by deliveries between them. A stream's heartbeats fall into a short
    window by chance, so those in it are subtracted and heartbeats at their long-run rate added.
    """
    moved, life = totals(records, "begin", "end"), life_totals(records)
    metrics: dict[str, float] = {}
    if moved.deliveries and moved.stream_bytes:  # a generator that is not ours counts no bytes
        stream, headers = float(moved.stream_bytes), float(moved.header_bytes)
        heartbeat = 0.0
        if idle is not None and transport not in POLLS:
            stream -= moved.heartbeats * idle.cycle_stream_bytes
            headers -= moved.heartbeats * (idle.cycle_bytes - idle.cycle_stream_bytes)
            heartbeat = idle.cycle_bytes / idle.period_s * subscribers * window_s / moved.deliveries
            metrics["heartbeat_bytes_per_event"] = heartbeat
        metrics["payload_bytes_per_event"] = moved.payload_bytes / moved.deliveries
        metrics["framing_bytes_per_event"] = (stream - moved.payload_bytes) / moved.deliveries
        metrics["tcp_ip_bytes_per_event"] = headers / moved.deliveries
        metrics["wire_bytes_per_event"] = (stream + headers) / moved.deliveries + heartbeat
        metrics["segments_per_event"] = moved.segments_in / moved.deliveries
        metrics["requests_per_event"] = moved.requests / moved.deliveries
        metrics["connections_per_event"] = moved.opened / moved.deliveries
    if moved.requests and moved.deliveries:
        metrics["events_per_response"] = moved.deliveries / moved.requests
    if life.opened and life.deliveries and life.stream_bytes:
        metrics["setup_bytes_per_connection"] = life.setup_bytes / life.opened
        metrics["closing_bytes_per_connection"] = life.closing_bytes / max(1, life.closed)
        metrics["life_bytes_per_event"] = (life.stream_bytes + life.header_bytes) / life.deliveries
    if idle is not None:
        metrics["idle_bytes_per_s"] = idle.cycle_bytes / (poll_interval_s if transport == POLLING else idle.period_s)
    return metrics


def life_totals(records: list[Records]) -> Totals:
    """What the connections of all processes moved from their first segment to their last."""
    return _sum(Totals(**record.final.totals) for record in records)


def _received_hz(record: Records) -> float:
    deliveries = record.end.totals["deliveries"] - record.begin.totals["deliveries"]
    return deliveries * NS_PER_S / (record.end.at_ns - record.begin.at_ns)


def worst_hiccup_ms(hiccups: list[dict[str, Any]]) -> float:
    """The longest stall of the host, over all its cores."""
    return float(max((hiccup["us_max"] for hiccup in hiccups), default=0.0)) / 1000


def cost_metrics(records: list[Records], gauges: Gauges, subscribers: int) -> dict[str, float]:
    """CPU, memory, and lateness of everything that keeps time."""
    moved = totals(records, "begin", "end")
    window_ns = gauges.window_s * NS_PER_S
    busy_us = (gauges.server_cpu_ns - gauges.server_idle_share * window_ns) / 1000
    generator_ns = [record.end.cpu_ns - record.begin.cpu_ns for record in records]
    shares = [(r.end.cpu_ns - r.begin.cpu_ns) / (r.end.at_ns - r.begin.at_ns) for r in records]
    metrics = {
        "server_cpu_share": gauges.server_cpu_ns / window_ns,
        "generator_cpu_share": max(shares),
        "rss_bytes_per_connection": gauges.rss_growth_bytes / subscribers,
        "kernel_bytes_per_connection": gauges.kernel_growth_bytes / subscribers,
        "publisher_lateness_us_p50": gauges.server_stats["publisher_lateness"]["us_p50"],
        "publisher_lateness_us_p99": gauges.server_stats["publisher_lateness"]["us_p99"],
        "server_loop_lag_us_p99": gauges.server_stats["loop_lag"]["us_p99"],
        "server_gc_pause_ms_max": gauges.server_stats["gc_pauses"]["max_ms"],
        "hiccup_ms_p99": max((hiccup["us_p99"] for hiccup in gauges.hiccups), default=0.0) / 1000,
        "hiccup_ms_max": worst_hiccup_ms(gauges.hiccups),
    }
    metrics |= between(gauges.begin.machine, gauges.end.machine)._asdict()
    lags = [record.loop_lag["us_p99"] for record in records if record.probes and record.loop_lag]
    pauses = [record.gc_pauses["max_ms"] for record in records if record.gc_pauses]
    if lags:  # our own generators measure these
        metrics["probe_loop_lag_us_p99"] = max(lags)
    if pauses:
        metrics["generator_gc_pause_ms_max"] = max(pauses)
    if gauges.server_user_share is not None:
        metrics["server_user_share"] = gauges.server_user_share
    if moved.deliveries:
        metrics["generator_cpu_us_per_event"] = sum(generator_ns) / 1000 / moved.deliveries
        metrics["received_events_per_s"] = sum(map(_received_hz, records))
        metrics["server_cpu_us_per_event"] = busy_us / moved.deliveries
    if moved.requests:
        metrics["server_cpu_us_per_request"] = busy_us / moved.requests
    if gauges.relay_stats:
        metrics["relay_cpu_share"] = (gauges.end.relay_cpu_ns - gauges.begin.relay_cpu_ns) / window_ns
        metrics["relay_lateness_us_p50"] = gauges.relay_stats["release_lateness"]["us_p50"]
        metrics["relay_lateness_us_p99"] = gauges.relay_stats["release_lateness"]["us_p99"]
    return metrics
