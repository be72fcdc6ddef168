"""The catalogue of metrics: what every number of a trial is. Pure (docs/add-a-metric.md).

A metric is one row here and its formula. The row alone brings it into the details of a report, its CSV, thresholds and,
where it is marked, into comparisons of runs.
"""

from typing import Final

import msgspec

PERCENTILES: Final = (1, *range(5, 100, 5), 99, 99.9)

LATENCY_PERCENTILES: Final = {"latency_ms_p50": "50", "latency_ms_p95": "95", "latency_ms_p99": "99"}
"""Metrics that are percentiles of delivery latency -> where ``Trial.latency_ms`` has them; they are stored once."""

LATENCY: Final = "Latency"
BYTES: Final = "Bytes on the wire"
REQUESTS: Final = "Requests and connections"
COST: Final = "Cost on the server"
SCENARIO: Final = "Scenarios"
QUALITY: Final = "How well it was measured"


BELOW_NOISE: Final = "below the noise of the idle server"


class Metric(msgspec.Struct, frozen=True):
    """What a number of a trial is, and how it is shown."""

    unit: str
    label: str
    """A few words for the head of a column or the start of a line; they stand alone, without the group."""
    group: str
    """The heading under which a report's details show it."""
    meaning: str
    """One sentence, for the reader to whom the label does not say enough."""
    margin: str = ""
    """Which margin of ``reports.statistics`` applies when it is compared: latency, bytes or cpu; empty is none."""
    decimals: int = 1
    """Digits after the point where a trial's number is shown as it is measured."""
    compared: bool = False
    """``python -m reports compare`` has a line for it."""
    less_idle: bool = False
    """What the idle server uses was subtracted. A value of 0 or below is below the noise of that: it is kept, so that
    averages and differences are not censored at one end, shown as such, and no ratio is formed from it."""

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float) -> str:
        """A number with its unit."""
        if self.is_below_noise(value):
            return BELOW_NOISE
        return f"{value:,.{self.decimals}f} {self.unit}".rstrip()

    def is_below_noise(self, value: float) -> bool:
        """Is nothing left of the value but the noise of the idle server?"""
        return self.less_idle and value <= 0


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
    "first_token_ms_mean": Metric(
        "ms", "first token", SCENARIO, "from the request to the first token of its answer, mean over readers"
    ),
    "inter_token_ms_p50": Metric(
        "ms", "between tokens, median", SCENARIO, "time between two tokens at a reader, median"
    ),
    "inter_token_ms_p95": Metric("ms", "between tokens, p95", SCENARIO, "the same, 95th percentile"),
    "inter_token_ms_p99": Metric("ms", "between tokens, p99", SCENARIO, "the same, 99th percentile"),
    "token_latency_ms_p50": Metric(
        "ms", "token latency, median", SCENARIO, "from the instant a token is there to its reader, median", "latency"
    ),
    "token_latency_ms_p95": Metric("ms", "token latency, p95", SCENARIO, "the same, 95th percentile", margin="latency"),
    "token_latency_ms_p99": Metric("ms", "token latency, p99", SCENARIO, "the same, 99th percentile"),
    "tokens_per_read": Metric(
        "", "tokens per read", SCENARIO, "tokens that came in one read of the socket, mean", decimals=2
    ),
    "wire_bytes_per_token": Metric(
        "B", "bytes per token", SCENARIO, "bytes moved both ways per token that was delivered", "bytes", 0
    ),
    "server_cpu_us_per_token": Metric(
        "µs", "server CPU per token", SCENARIO, "server CPU per token that was delivered", "cpu", less_idle=True
    ),
    "ack_ms_p50": Metric(
        "ms", "send to ack, median", SCENARIO, "from the instant a message is due to its acknowledgement"
    ),
    "ack_ms_p95": Metric("ms", "send to ack, p95", SCENARIO, "the same, 95th percentile"),
    "ack_ms_p99": Metric("ms", "send to ack, p99", SCENARIO, "the same, 99th percentile"),
    "seen_by_all_ms_p50": Metric(
        "ms",
        "seen by the last member, median",
        SCENARIO,
        "from the instant a message is due until its last member has it",
    ),
    "seen_by_all_ms_p95": Metric("ms", "seen by the last member, p95", SCENARIO, "the same, 95th percentile"),
    "seen_by_all_ms_p99": Metric("ms", "seen by the last member, p99", SCENARIO, "the same, 99th percentile"),
    "typing_ms_p50": Metric("ms", "typing lag, median", SCENARIO, "from the start of typing until others are told"),
    "typing_ms_p95": Metric("ms", "typing lag, p95", SCENARIO, "the same, 95th percentile"),
    "typing_ms_p99": Metric("ms", "typing lag, p99", SCENARIO, "the same, 99th percentile"),
    "wire_bytes_per_message": Metric(
        "B", "bytes per message received", SCENARIO, "bytes moved both ways per message and member", "bytes", 0
    ),
    "server_cpu_us_per_message": Metric(
        "µs",
        "server CPU per message received",
        SCENARIO,
        "server CPU, the store's included, per message and member",
        "cpu",
        less_idle=True,
    ),
    "messages_unacknowledged": Metric("", "not acknowledged", SCENARIO, "messages without an answer", decimals=0),
    "messages_lost": Metric("", "messages lost", SCENARIO, "acknowledged messages that a member never got", decimals=0),
    "messages_repeated": Metric("", "messages repeated", SCENARIO, "messages that a member got again", decimals=0),
    "messages_out_of_order": Metric(
        "", "out of order", SCENARIO, "messages that a member got after a later one", decimals=0
    ),
    "input_to_snapshot_ms_p50": Metric(
        "ms",
        "input to snapshot, median",
        SCENARIO,
        "from the instant an input is due to the first snapshot in which it is applied",
    ),
    "input_to_snapshot_ms_p95": Metric("ms", "input to snapshot, p95", SCENARIO, "the same, 95th percentile"),
    "input_to_snapshot_ms_p99": Metric("ms", "input to snapshot, p99", SCENARIO, "the same, 99th percentile"),
    "snapshot_ms_p50": Metric("ms", "tick to player, median", SCENARIO, "from the instant a tick is due to its player"),
    "snapshot_ms_p95": Metric("ms", "tick to player, p95", SCENARIO, "the same, 95th percentile"),
    "snapshot_ms_p99": Metric("ms", "tick to player, p99", SCENARIO, "the same, 99th percentile"),
    "late_frame_share": Metric(
        "",
        "late frames",
        SCENARIO,
        "share of snapshots that came over 2 ticks later than the player's fastest, or never",
        decimals=3,
    ),
    "jitter_ms_p50": Metric(
        "ms", "jitter, median", SCENARIO, "how far the time between two snapshots is from a tick, median"
    ),
    "jitter_ms_p95": Metric("ms", "jitter, p95", SCENARIO, "the same, 95th percentile"),
    "jitter_ms_p99": Metric("ms", "jitter, p99", SCENARIO, "the same, 99th percentile"),
    "sent_bytes_per_s": Metric(
        "B/s", "bytes up per player", SCENARIO, "TCP payload that a player sent per second", "bytes", 0
    ),
    "server_cpu_us_per_snapshot": Metric(
        "µs", "server CPU per snapshot", SCENARIO, "server CPU per snapshot and player", "cpu", less_idle=True
    ),
    "inputs_unanswered": Metric("", "inputs refused", SCENARIO, "inputs that were refused or not answered", decimals=0),
    "snapshots_lost": Metric("", "snapshots lost", SCENARIO, "ticks that a player never saw", decimals=0),
    "staleness_ms_mean": Metric(
        "ms", "staleness, mean", SCENARIO, "time since what is shown is not the newest, mean over instruments and time"
    ),
    "staleness_ms_p95": Metric("ms", "staleness, p95", SCENARIO, "the same, not exceeded for 95 % of the time"),
    "stale_share": Metric(
        "", "share of time behind", SCENARIO, "share of time in which not the newest is shown", decimals=3
    ),
    "quotes_per_s": Metric("1/s", "quotes per reader", SCENARIO, "quotes that a reader got per second"),
    "wire_bytes_per_s": Metric(
        "B/s", "bytes per reader", SCENARIO, "bytes moved both ways per reader and second", "bytes", 0
    ),
    "tokens_lost": Metric("", "tokens lost", SCENARIO, "tokens that a reader never got", decimals=0),
    "tokens_repeated": Metric("", "tokens repeated", SCENARIO, "tokens that a reader got again", decimals=0),
    "drift_share": Metric(
        "",
        "drift of latency",
        QUALITY,
        "median latency of the second half above the first's, 0 unless it is sure",
        decimals=2,
    ),
}
"""Every number a trial may carry, by name. A metric that a trial could not measure is absent, never 0."""
