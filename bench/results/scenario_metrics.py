"""The metrics of the scenarios (``bench.scenarios``), by scenario. Pure."""

from typing import Final

from bench.results.metric import SCENARIO, Metric


def _count(label: str, meaning: str) -> Metric:
    return Metric("", label, SCENARIO, meaning, decimals=0)


def _cpu(label: str, meaning: str) -> Metric:
    return Metric("µs", label, SCENARIO, meaning, "cpu", less_idle=True)


def _bytes(unit: str, label: str, meaning: str) -> Metric:
    return Metric(unit, label, SCENARIO, meaning, "bytes", 0)


def _percentiles(name: str, label: str, meaning: str, margin: str = "") -> dict[str, Metric]:
    """Median, 95th and 99th percentile, as ``bench.scenarios.scenario.percentiles`` calculates them."""
    return {
        f"{name}_p50": Metric("ms", f"{label}, median", SCENARIO, f"{meaning}, median", margin),
        f"{name}_p95": Metric("ms", f"{label}, p95", SCENARIO, "the same, 95th percentile", margin),
        f"{name}_p99": Metric("ms", f"{label}, p99", SCENARIO, "the same, 99th percentile"),
    }


_CHAT: Final = {
    **_percentiles("ack_ms", "send to ack", "from the instant a message is due to its acknowledgement"),
    **_percentiles(
        "seen_by_all_ms",
        "seen by the last member",
        "from the instant a message is due until its last member has it",
        "latency",
    ),
    **_percentiles("typing_ms", "typing lag", "from the start of typing until others are told"),
    "wire_bytes_per_message": _bytes("B", "bytes per message received", "bytes moved both ways per message and member"),
    "server_cpu_us_per_message": _cpu(
        "server CPU per message received", "server CPU, the store's included, per message and member"
    ),
    "messages_unacknowledged": _count("not acknowledged", "messages without an answer"),
    "messages_lost": _count("messages lost", "acknowledged messages that a member never got"),
    "messages_repeated": _count("messages repeated", "messages that a member got again"),
    "messages_out_of_order": _count("messages out of order", "messages that a member got after a later one"),
}
_COLLAB: Final = {
    **_percentiles(
        "visible_ms", "key to others", "from the instant a key is due until another writer has it", "latency"
    ),
    **_percentiles("key_ack_ms", "key to ack", "from the instant a key is due to its acknowledgement"),
    "wire_bytes_per_key": _bytes("B", "bytes per key", "bytes moved both ways by all writers per key"),
    "server_cpu_us_per_key": _cpu("server CPU per key", "server CPU, the store's included, per key"),
    "keys_unacknowledged": _count("keys refused", "keys that were refused or not answered"),
    "keys_lost": _count("keys lost", "acknowledged keys that another writer never got"),
    "keys_repeated": _count("keys repeated", "keys that a writer got again"),
    "documents_apart": _count("documents apart", "documents whose writers ended with different texts, or with none"),
    "characters_apart": _count("characters apart", "characters lost or displaced between writers' texts"),
}
_GAME: Final = {
    **_percentiles(
        "input_to_snapshot_ms",
        "input to snapshot",
        "from the instant an input is due to the first snapshot in which it is applied",
        "latency",
    ),
    **_percentiles("snapshot_ms", "tick to player", "from the instant a tick is due to its player"),
    **_percentiles("jitter_ms", "jitter", "how far the time between two snapshots is from a tick"),
    "late_frame_share": Metric(
        "",
        "late frames",
        SCENARIO,
        "share of snapshots that came over 2 ticks later than the player's fastest, or never",
        decimals=3,
    ),
    "sent_bytes_per_s": _bytes("B/s", "bytes up per player", "TCP payload that a player sent per second"),
    "server_cpu_us_per_snapshot": _cpu("server CPU per snapshot", "server CPU per snapshot and player"),
    "inputs_unanswered": _count("inputs refused", "inputs that were refused or not answered"),
    "inputs_unshown": _count("inputs not shown", "inputs that no snapshot of their player shows within a second"),
    "snapshots_lost": _count("snapshots lost", "ticks that a player never saw"),
    "snapshots_repeated": _count("snapshots repeated", "snapshots that came again"),
}
_NOTIFICATIONS: Final = {
    **_percentiles("notification_ms", "notified", "from the instant a notification is due to its user", "latency"),
    "idle_bytes_per_user_hour": _bytes("B/h", "bytes per idle user-hour", "bytes moved both ways by an idle user"),
    "idle_cpu_us_per_user_hour": Metric(
        "µs/h", "server CPU per idle user-hour", SCENARIO, "server CPU for an idle user", "cpu", 0, less_idle=True
    ),
    "notifications_unacknowledged": _count("notifications refused", "notifications that were refused or not answered"),
    "notifications_lost": _count("notifications lost", "stored notifications that a connected user never got"),
    "notifications_repeated": _count("notifications repeated", "notifications that a user got again"),
    "notifications_missed": _count("missed by the absent", "notifications that a user who was away did not find"),
}
_TICKER: Final = {
    "staleness_ms_mean": Metric(
        "ms",
        "staleness, mean",
        SCENARIO,
        "time since what is shown is not the newest, mean over instruments and time",
        "staleness",
    ),
    "staleness_ms_p95": Metric("ms", "staleness, p95", SCENARIO, "the same, not exceeded for 95 % of the time"),
    "stale_share": Metric(
        "", "share of time behind", SCENARIO, "share of time in which not the newest is shown", decimals=3
    ),
    "server_cpu_us_per_quote": _cpu("server CPU per quote", "server CPU per quote and reader"),
    "quotes_per_s": Metric("1/s", "quotes per reader", SCENARIO, "quotes that a reader got per second"),
    "wire_bytes_per_s": _bytes("B/s", "bytes per client", "bytes moved both ways per client and second"),
}
_TOKENS: Final = {
    "first_token_ms_mean": Metric(
        "ms", "first token", SCENARIO, "from the request to the first token of its answer, mean over readers"
    ),
    **_percentiles("inter_token_ms", "between tokens", "time between two tokens at a reader"),
    **_percentiles("token_latency_ms", "token latency", "from the instant a token is there to its reader", "latency"),
    "tokens_per_read": Metric(
        "", "tokens per read", SCENARIO, "tokens that came in one read of the socket, mean", decimals=2
    ),
    "wire_bytes_per_token": _bytes("B", "bytes per token", "bytes moved both ways per token that was delivered"),
    "wire_bytes_per_silent_minute": _bytes(
        "B", "bytes in a silent minute", "bytes moved both ways by a reader in a minute without a token"
    ),
    "server_cpu_us_per_token": _cpu("server CPU per token", "server CPU per token that was delivered"),
    "tokens_lost": _count("tokens lost", "tokens that a reader never got"),
    "tokens_repeated": _count("tokens repeated", "tokens that a reader got again"),
}
_ALL: Final = {
    "connections_broken": _count("connections broken", "connections that broke, and were made again"),
}
SCENARIO_METRICS: Final = {**_CHAT, **_COLLAB, **_GAME, **_NOTIFICATIONS, **_TICKER, **_TOKENS, **_ALL}
"""By name, in the order of the scenarios."""
