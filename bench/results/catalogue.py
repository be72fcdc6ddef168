"""The catalogue of metrics: what every number of a trial is. A metric is one row here and its formula. Pure."""

from typing import Final

import msgspec

PERCENTILES: Final = (1, *range(5, 100, 5), 99, 99.9)

LATENCY_PERCENTILES: Final = {"latency_ms_p50": "50", "latency_ms_p95": "95", "latency_ms_p99": "99"}
"""Metrics that are percentiles of delivery latency -> where ``Trial.latency_ms`` has them; they are stored once."""


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
