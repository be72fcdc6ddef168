"""Everything else that was measured, one column per transport. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.results.catalogue import METRICS
from bench.results.run import Counts
from feed.transports import BASELINE
from reports.blocks import Blocks, find
from reports.formats import NOT_MEASURED, joined, with_interval
from reports.statistics import Comparison

CPU: Final = "server_cpu_us_per_event"

GROUPS: Final[dict[str, dict[str, str]]] = {
    "Latency": {
        "latency_ms_p50": "median",
        "latency_ms_p95": "95th percentile",
        "latency_ms_p99": "99th percentile",
        "latency_ms_mean": "mean",
        "latency_ms_max": "largest",
        "fanout_spread_ms_p50": "fan-out spread, median",
        "fanout_spread_ms_p95": "fan-out spread, 95th percentile",
        "generator_latency_ms_p50": "generator view, median",
        "generator_latency_ms_p95": "generator view, 95th percentile",
    },
    "Bytes on the wire": {
        "wire_bytes_per_event": "per event, all causes",
        "payload_bytes_per_event": "payload",
        "framing_bytes_per_event": "framing and HTTP headers",
        "tcp_ip_bytes_per_event": "TCP/IP",
        "heartbeat_bytes_per_event": "heartbeats",
        "life_bytes_per_event": "per event over the whole life",
        "setup_bytes_per_connection": "set-up, per connection",
        "closing_bytes_per_connection": "closing, per connection",
        "idle_bytes_per_s": "idle, per subscriber",
    },
    "Requests and connections": {
        "requests_per_event": "requests per event",
        "events_per_response": "events per response",
        "connections_per_event": "connections opened per event",
    },
    "Cost on the server": {
        CPU: "CPU per event",
        "server_cpu_us_per_request": "CPU per request",
        "server_user_share": "of it in user mode",
        "rss_bytes_per_connection": "resident memory per connection",
        "kernel_bytes_per_connection": "kernel memory per connection",
    },
    "How well it was measured": {
        "publisher_lateness_us_p50": "publisher late, median",
        "publisher_lateness_us_p99": "publisher late, 99th percentile",
        "relay_lateness_us_p50": "relay late, median",
        "relay_lateness_us_p99": "relay late, 99th percentile",
        "server_loop_lag_us_p99": "server's loop lag, 99th percentile",
        "probe_loop_lag_us_p99": "probes' loop lag, 99th percentile",
        "server_cpu_share": "server busy",
        "generator_cpu_share": "busiest generator process",
        "generator_cpu_us_per_event": "generator CPU per event",
        "received_events_per_s": "received per second",
        "due_events_per_s": "due per second",
        "handshake_ms_p50": "opening a connection, median",
        "server_cpu_us_per_handshake": "server CPU per connection opened and closed",
        "relay_cpu_share": "relay busy",
        "server_gc_pause_ms_max": "server's longest GC pause",
        "generator_gc_pause_ms_max": "generator's longest GC pause",
        "hiccup_ms_p99": "host hiccups, 99th percentile",
        "hiccup_ms_max": "host hiccups, largest",
        "steal_share": "stolen by the hypervisor",
        "other_load_share": "used by others",
        "drift_share": "drift of latency",
    },
}
"""Every metric of the catalogue once: what was measured is shown."""

COUNTS: Final[dict[str, str]] = {
    "expected": "deliveries expected",
    "delivered": "delivered",
    "lost": "lost",
    "duplicate": "duplicate",
    "out_of_order": "out of order",
    "late": "over 100 ms later than the protocol allows",
    "gaps": "gaps told of",
    "reconnects": "reconnections",
}


class Line(msgspec.Struct, frozen=True):
    """One line: what it is, in words and unit, its full meaning, and a text per transport."""

    label: str
    unit: str
    meaning: str
    cells: list[str]


class Group(msgspec.Struct, frozen=True):
    """Lines under one heading."""

    title: str
    lines: list[Line]


def groups(blocks: Blocks, cpu: Sequence[Comparison]) -> list[Group]:
    """All lines in which at least one transport has a number; completeness first after latency.

    ``cpu``: the comparisons of server CPU per event, from which the ratios to the baseline are taken.
    """
    found = [Group(title, _lines(blocks, labels)) for title, labels in GROUPS.items()]
    by_title = {group.title: group for group in found}
    by_title["Cost on the server"].lines[1:1] = _ratios(blocks, cpu)
    found.insert(1, Group("Completeness, all subscribers and blocks", _completeness(blocks)))
    return [group for group in found if group.lines]


def _lines(blocks: Blocks, labels: dict[str, str]) -> list[Line]:
    lines = []
    for metric, label in labels.items():
        cells = [with_interval(blocks.estimate(name, metric)) for name in blocks.trials]
        if any(cell != NOT_MEASURED for cell in cells):
            lines.append(Line(label, METRICS[metric].unit, METRICS[metric].meaning, cells))
    return lines


def _ratios(blocks: Blocks, cpu: Sequence[Comparison]) -> list[Line]:
    found = [find(cpu, name, BASELINE) for name in blocks.trials]
    if not any(found):
        return []
    cells = [NOT_MEASURED if of is None or not of.is_ratio else joined(of.factor, of.low, of.high) for of in found]
    meaning = "server CPU per event as a multiple of the baseline's, paired by block, Holm-corrected"
    return [Line("ratio to the baseline", "×", meaning, cells)]


def _completeness(blocks: Blocks) -> list[Line]:
    counts = [blocks.counts(name) for name in blocks.trials]
    if not any(counts):
        return []
    meaning = Counts.__doc__ or ""
    return [
        Line(label, "", meaning, [_count(None if of is None else getattr(of, field)) for of in counts])
        for field, label in COUNTS.items()
    ]


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,}"
