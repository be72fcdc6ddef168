"""The catalogue of metrics: what every number of a trial is. Pure (docs/add-a-metric.md).

A metric is one row here and its formula. The row alone brings it into the details of a report, its CSV, thresholds and,
where it is marked, into comparisons of runs.
"""

from typing import Final

from bench.results.metric import BYTES, COST, LATENCY, QUALITY, REQUESTS, Metric
from bench.results.scenario_metrics import SCENARIO_METRICS

PERCENTILES: Final = (1, *range(5, 100, 5), 99, 99.9)

LATENCY_PERCENTILES: Final = {"latency_ms_p50": "50", "latency_ms_p95": "95", "latency_ms_p99": "99"}
"""Metrics that are percentiles of delivery latency -> where ``Trial.latency_ms`` has them; they are stored once."""

METRICS: Final[dict[str, Metric]] = {
    "latency_ms_p50": Metric(
        "ms",
        "latency, median",
        LATENCY,
        "delivery latency, median: receive time minus due time, probes only",
        margin="latency",
        compared=True,
    ),
    "latency_ms_p95": Metric(
        "ms", "latency, p95", LATENCY, "delivery latency, 95th percentile, probes only", margin="latency", compared=True
    ),
    "latency_ms_p99": Metric(
        "ms", "latency, p99", LATENCY, "delivery latency, 99th percentile, probes only", margin="latency"
    ),
    "latency_ms_mean": Metric("ms", "latency, mean", LATENCY, "delivery latency, mean, probes only", margin="latency"),
    "latency_ms_max": Metric("ms", "latency, largest", LATENCY, "delivery latency, largest seen by a probe"),
    "fanout_spread_ms_p50": Metric(
        "ms", "fan-out spread, median", LATENCY, "last minus first probe of one event, median over events"
    ),
    "fanout_spread_ms_p95": Metric(
        "ms", "fan-out spread, p95", LATENCY, "last minus first probe of one event, 95th percentile over events"
    ),
    "generator_latency_ms_p50": Metric(
        "ms", "generator view, median", LATENCY, "generator view: median over all subscribers, their queueing included"
    ),
    "generator_latency_ms_p95": Metric(
        "ms", "generator view, p95", LATENCY, "generator view: 95th percentile over all subscribers"
    ),
    "wire_bytes_per_event": Metric(
        "B",
        "wire bytes per event",
        BYTES,
        "bytes moved both ways per delivered event, all causes",
        margin="bytes",
        decimals=0,
        compared=True,
    ),
    "payload_bytes_per_event": Metric(
        "B", "payload", BYTES, "the event's data, part of the wire bytes per event", margin="bytes", decimals=0
    ),
    "framing_bytes_per_event": Metric(
        "B",
        "framing and HTTP headers",
        BYTES,
        "envelope, framing and HTTP headers, part of the wire bytes per event",
        margin="bytes",
        decimals=0,
    ),
    "tcp_ip_bytes_per_event": Metric(
        "B",
        "TCP/IP",
        BYTES,
        "TCP and IP headers and bare acknowledgements, part of the wire bytes per event",
        margin="bytes",
        decimals=0,
    ),
    "heartbeat_bytes_per_event": Metric(
        "B",
        "heartbeats",
        BYTES,
        "heartbeats at their long-run rate (streams only), part of the wire bytes per event",
        margin="bytes",
        decimals=0,
    ),
    "life_bytes_per_event": Metric(
        "B",
        "wire bytes per event, whole life",
        BYTES,
        "all bytes of all connections of the trial, set-up and closing included, per event",
        margin="bytes",
        decimals=0,
    ),
    "setup_bytes_per_connection": Metric(
        "B",
        "set-up bytes per connection",
        BYTES,
        "TCP and HTTP handshake up to the first answer, once per connection",
        margin="bytes",
        decimals=0,
        compared=True,
    ),
    "closing_bytes_per_connection": Metric(
        "B",
        "closing bytes per connection",
        BYTES,
        "segments that close a connection, once per connection",
        margin="bytes",
        decimals=0,
    ),
    "idle_bytes_per_s": Metric(
        "B/s",
        "idle bytes per subscriber",
        BYTES,
        "one heartbeat or empty poll cycle over its period, per subscriber",
        margin="bytes",
        decimals=0,
    ),
    "segments_per_event": Metric(
        "",
        "segments per event",
        BYTES,
        "TCP segments that a client received per delivered event: below 1 where events share a segment",
        decimals=2,
    ),
    "requests_per_event": Metric(
        "",
        "requests per event",
        REQUESTS,
        "HTTP requests (or stream connects) per delivered event",
        margin="bytes",
        decimals=2,
        compared=True,
    ),
    "events_per_response": Metric(
        "", "events per response", REQUESTS, "delivered events per HTTP response (or stream connect)", decimals=2
    ),
    "connections_per_event": Metric(
        "",
        "connections opened per event",
        REQUESTS,
        "TCP connections opened inside the window per delivered event",
        decimals=2,
    ),
    "server_cpu_us_per_event": Metric(
        "µs",
        "server CPU per event",
        COST,
        "server CPU per delivered event, idle server subtracted",
        margin="cpu",
        compared=True,
        less_idle=True,
    ),
    "server_cpu_us_per_request": Metric(
        "µs",
        "server CPU per request",
        COST,
        "server CPU per HTTP request, idle server subtracted",
        margin="cpu",
        less_idle=True,
    ),
    "server_user_share": Metric(
        "",
        "server CPU in user mode",
        COST,
        "share of the server's CPU spent in user mode, the rest is the kernel's",
        decimals=2,
    ),
    "rss_bytes_per_connection": Metric(
        "B",
        "resident memory per connection",
        COST,
        "growth of the server's resident memory per connection, events included",
        decimals=0,
    ),
    "kernel_bytes_per_connection": Metric(
        "B",
        "kernel memory per connection",
        COST,
        "kernel socket memory of all sockets of the trial per connection",
        decimals=0,
    ),
    "publisher_lateness_us_p50": Metric("µs", "publisher late, median", QUALITY, "publish time minus due time, median"),
    "publisher_lateness_us_p99": Metric(
        "µs", "publisher late, p99", QUALITY, "publish time minus due time, 99th percentile"
    ),
    "relay_lateness_us_p50": Metric(
        "µs", "relay late, median", QUALITY, "how late the relay released what it delayed, median"
    ),
    "relay_lateness_us_p99": Metric(
        "µs", "relay late, p99", QUALITY, "how late the relay released what it delayed, 99th percentile"
    ),
    "server_loop_lag_us_p99": Metric(
        "µs", "server's loop lag, p99", QUALITY, "lateness of a 20 Hz timer on the server's event loop, 99th percentile"
    ),
    "probe_loop_lag_us_p99": Metric(
        "µs", "probes' loop lag, p99", QUALITY, "lateness of a 20 Hz timer on the probes' event loop, 99th percentile"
    ),
    "server_cpu_share": Metric("of a core", "server busy", QUALITY, "CPU of the server", decimals=2),
    "generator_cpu_share": Metric(
        "of a core", "busiest generator process", QUALITY, "CPU of the busiest generator process", decimals=2
    ),
    "generator_cpu_us_per_event": Metric(
        "µs", "generator CPU per event", QUALITY, "generator CPU per delivered event, all its processes", margin="cpu"
    ),
    "received_events_per_s": Metric(
        "1/s",
        "received per second",
        QUALITY,
        "deliveries over all subscribers per second of the measured part",
        decimals=0,
    ),
    "due_events_per_s": Metric(
        "1/s",
        "due per second",
        QUALITY,
        "deliveries due over all subscribers per second of the measured part",
        decimals=0,
    ),
    "handshake_ms_p50": Metric(
        "ms",
        "handshake, median",
        QUALITY,
        "opening a connection, TLS included where there is any: median of fresh ones",
    ),
    "server_cpu_us_per_handshake": Metric(
        "µs", "server CPU per handshake", QUALITY, "server CPU to accept a connection, TLS included, and to close it"
    ),
    "relay_cpu_share": Metric("of a core", "relay busy", QUALITY, "CPU of the relay", decimals=2),
    "server_gc_pause_ms_max": Metric(
        "ms", "server's longest GC pause", QUALITY, "longest garbage collection of the server"
    ),
    "generator_gc_pause_ms_max": Metric(
        "ms", "generator's longest GC pause", QUALITY, "longest garbage collection of the generator in the window"
    ),
    "hiccup_ms_p99": Metric(
        "ms", "host hiccups, p99", QUALITY, "1 ms timer on every core, 99th percentile of its lateness, worst core"
    ),
    "hiccup_ms_max": Metric(
        "ms", "host hiccups, largest", QUALITY, "1 ms timer on every core, largest lateness, worst core"
    ),
    "steal_share": Metric(
        "of all cores",
        "stolen by the hypervisor",
        QUALITY,
        "time that the hypervisor gave to other machines",
        decimals=2,
    ),
    "other_load_share": Metric(
        "of all cores", "used by others", QUALITY, "time that processes other than the benchmark's used", decimals=2
    ),
    "drift_share": Metric(
        "",
        "drift of latency",
        QUALITY,
        "median latency of the second half above the first's, 0 unless it is sure",
        decimals=2,
    ),
    **SCENARIO_METRICS,
}
"""Every number a trial may carry, by name. A metric that a trial could not measure is absent, never 0."""
