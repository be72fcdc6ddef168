"""What no honest trial shows: the impossible, and what theory does not allow. Pure (docs/method.md has the table).

Each reason makes a trial invalid. The bounds come from honest trials; decision 0013 has the data.
"""

import math
from collections.abc import Iterator
from typing import Final

from bench.plan.trials import TrialPlan
from bench.theory.latency import Conditions, poll_cycle_s, predict_latency
from bench.trial.case import JUDGED_BY_THEORY, Case, Range
from feed.transports import POLLING, TRANSPORTS

NEVER_NEGATIVE: Final = (
    "payload_bytes_per_event",
    "framing_bytes_per_event",
    "tcp_ip_bytes_per_event",
    "heartbeat_bytes_per_event",
    "wire_bytes_per_event",
    "requests_per_event",
    "setup_bytes_per_connection",
    "closing_bytes_per_connection",
    "idle_bytes_per_s",
    "server_cpu_share",
    "relay_cpu_share",
    "generator_cpu_share",
)
SHARES: Final = ("server_user_share", "steal_share", "other_load_share")

FRAMING_B: Final = Range(-3.0, 3.0)
"""Bytes per event above what theory predicts."""
SENT_B: Final = Range(-3.0, 3.0)
"""Bytes per request of a poller above its line and headers."""
STREAM_TCP_IP: Final = Range(-0.10, 0.25)
MERGED_S: Final = 0.01
"""A stream's events that come closer together than this may share a segment."""
TCP_IP: Final = {"polling": Range(-0.25, 0.25), "long_polling": Range(-0.20, 0.35)}
REQUESTS: Final = {"polling": Range(-0.20, 0.06), "long_polling": Range(-0.75, 0.15)}
"""Shares above what theory predicts, as all shares here."""
HEAD_B: Final = {"polling": Range(147, 155), "long_polling": Range(147, 155)}
"""Of an answer, with the digits of its length."""
EARLIEST_MS: Final = 3.0
"""How much later than one transit the first delivery of a stream or a held poll may be, of a trial's hundreds."""
POLLED_DEVIATIONS: Final = 4.0
POLLED_SLACK_MS: Final = 20.0
"""How far the median of polls may be from the middle of an interval: so many of its standard deviations, by chance."""
EARLY_TICKS: Final = 1.5
LATE_TICKS: Final = 1.0
LATE_MS: Final = 2.0
"""Receive times are at most 1.5 of the kernel's ticks before its own, and a tick and 2 ms after it."""
LEAST_RECORDED: Final = 0.33
PERIOD_SHARE: Final = 0.05
POLL_PERIOD_SHARE: Final = 0.03
PERIOD_SLACK_S: Final = 0.005
"""How far periods may be from the plan's: their mean, and what a busy loop does to a short one."""
KUIPER: Final = 3.0
HOLD_EARLY_S: Final = 0.2
OWN_CLOCK: Final = ("sse", "websocket", "socketio")
"""Transports that count heartbeats from the beginning of each connection; others may have one clock for all."""

REQUEST_HEADERS: Final = {
    ("browser", "GET /poll"): (12, 427),
    ("browser", "GET /long-poll"): (12, 427),
    ("browser", "GET /sse"): (15, 503),
    ("browser", "GET /ws"): (11, 391),
    ("browser", "GET /socket.io/"): (12, 427),
}
"""Header set, and method and path -> number of headers, and bytes of their lines without the server's address."""
IDLE_STREAM_B: Final = {
    ("browser", "polling"): 743,
    ("browser", "long_polling"): 760,
    ("minimal", "polling"): 321,
    ("minimal", "long_polling"): 338,
    ("", "sse"): 13,
    ("", "websocket"): 16,
    ("", "socketio"): 10,
    ("", "raw"): 4,
}
"""Header set (if a cycle has requests) and transport -> bytes of an idle cycle, TCP/IP headers left out."""
IDLE_SLACK_B: Final = 3.0
IDLE_TCP_IP_B: Final = {"polling": 260, "long_polling": 260, "sse": 104, "websocket": 156, "socketio": 156, "raw": 104}
"""TCP and IP headers of an idle cycle: two segments for a comment and its acknowledgement, one more for a pong."""
PACE: Final = Range(0.75, 1.7)
"""Of idle cycles, against the short period that was asked for. One stall in seven cycles makes 0.8 or 1.5."""
SETUP_B: Final = {
    "polling": Range(1180, 1240),
    "long_polling": Range(1200, 1260),
    "sse": Range(1425, 1485),
    "websocket": Range(1195, 1255),
    "socketio": Range(2840, 3200),
    "raw": Range(485, 545),
}
"""Bytes from a connection's SYN to its first answer, with a browser's headers."""


def implausible(case: Case) -> list[str]:
    """Why nothing honest measures this; empty if it is plausible."""
    rules = (
        _impossible,
        _late,
        _stamps,
        _unpredicted,
        _wire,
        _setup,
        _heartbeats,
        _polls,
    )
    return [reason for rule in rules for reason in rule(case)]


def _impossible(case: Case) -> Iterator[str]:
    seen, metrics = case.observed, case.metrics
    if seen.impossible:
        yield (
            f"{seen.impossible} deliveries came sooner than possible: the fastest took {seen.earliest_ms:.3f} ms, one "
            f"transit takes {case.trial.rtt_ms / 2:g} ms"
        )
    for name in NEVER_NEGATIVE:
        if metrics.get(name, 0.0) < 0:
            yield f"{name} is {metrics[name]:.1f}, and cannot be negative"
    for name in SHARES:
        if metrics.get(name, 0.0) not in Range(0, 1):
            yield f"{name} is {metrics[name]:.2f}, and a share is 0 to 1"
    payload = metrics.get("payload_bytes_per_event", case.plan.payload_bytes)
    if payload != case.plan.payload_bytes:
        yield f"events had {payload:.2f} B of payload; planned are {case.plan.payload_bytes}"


def _late(case: Case) -> Iterator[str]:
    """Latency, from above. Under a load that takes the server to its limit, all are late."""
    plan, trial, seen = case.plan, case.trial, case.observed
    if not _is_quiet(case):
        return
    if trial.transport != POLLING:
        latest_ms = trial.rtt_ms / 2 + EARLIEST_MS
        if seen.earliest_ms is not None and seen.earliest_ms > latest_ms:
            yield f"the fastest of all deliveries took {seen.earliest_ms:.1f} ms; allowed are {latest_ms:g}"
        return
    of = Conditions(trial.rtt_ms, 1.0, trial.poll_interval_s, plan.hold_s)
    found, middle_ms = case.metrics.get("latency_ms_p50"), float(predict_latency(POLLING, of).quantile_ms(0.5))
    # The median of n values that are uniform over the interval deviates by the interval over twice the root of n.
    by_chance_ms = 1000 * poll_cycle_s(of) / 2 / math.sqrt(max(1, plan.measured_events))
    allowed = POLLED_DEVIATIONS * by_chance_ms + POLLED_SLACK_MS
    if found is not None and abs(found - middle_ms) > allowed:
        yield f"the median latency of polls is {found:.0f} ms; by theory {middle_ms:.0f}, give or take {allowed:.0f}"


def _is_quiet(case: Case) -> bool:
    """Is the load so low, and the network so plain, that theory holds to the millisecond?"""
    plan, trial = case.plan, case.trial
    plain = not (plan.jitter_ms or plan.bandwidth_mbit_s or plan.loss)
    return trial.purpose in JUDGED_BY_THEORY and plain and (trial.transport != POLLING or _fits(trial))


def _stamps(case: Case) -> Iterator[str]:
    """Receive times, against the kernel's. Under a load that takes the generator to its limit, they are late."""
    after_ms, recorded = case.observed.stamp_after_kernel_ms, case.observed.stamps_recorded
    tick_ms = case.observed.tick_ms or 0.0
    light = case.trial.purpose in JUDGED_BY_THEORY
    allowed = Range(-EARLY_TICKS * tick_ms, LATE_TICKS * tick_ms + LATE_MS if light else math.inf)
    if after_ms is not None and after_ms not in allowed:
        yield (
            f"receive times are {after_ms:.1f} ms after the kernel's (median); allowed are {allowed.low:g} to "
            f"{allowed.high:g}"
        )
    if light and recorded is not None and recorded < LEAST_RECORDED and not TRANSPORTS[case.trial.transport].is_poll:
        yield (
            f"recorded receive times are not those of the connections: {recorded:.0%} agree, allowed is "
            f"{LEAST_RECORDED:.0%}"
        )


def _unpredicted(case: Case) -> Iterator[str]:
    """Bytes and requests, against theory."""
    plan, name, beyond = case.plan, case.trial.transport, case.observed.excess
    if beyond.framing_bytes_per_event is not None and beyond.framing_bytes_per_event not in FRAMING_B:
        yield _off("framing", beyond.framing_bytes_per_event, "B per event", FRAMING_B)
    if beyond.sent_bytes_per_request is not None and beyond.sent_bytes_per_request not in SENT_B:
        yield _off("what pollers sent", beyond.sent_bytes_per_request, "B per request", SENT_B)
    head, allowed_head = beyond.head_bytes_per_answer, HEAD_B.get(name)
    if head is not None and allowed_head is not None and head not in allowed_head:
        yield f"answers have a head of {head:.1f} B; allowed are {allowed_head.low:g} to {allowed_head.high:g}"
    if not _is_quiet(case):
        return
    chance, fewest = beyond.requests_chance, -MERGED_S * plan.rate_hz / plan.rooms
    for what, share, allowed in (
        ("TCP/IP bytes", beyond.tcp_ip_share, TCP_IP.get(name, Range(STREAM_TCP_IP.low + fewest, STREAM_TCP_IP.high))),
        ("requests", beyond.requests_share, _wider(REQUESTS.get(name), chance)),
    ):
        if share is not None and allowed is not None and share not in allowed:
            yield _off(what, 100 * share, "%", Range(100 * allowed.low, 100 * allowed.high))


def _wider(allowed: Range | None, by: float) -> Range | None:
    return Range(allowed.low - by, allowed.high + by) if allowed else None


def _fits(trial: TrialPlan) -> bool:
    """Is a poll answered well before the next one is due? Else ticks are missed as the host has it."""
    return trial.poll_interval_s * 1000 >= 1.25 * trial.rtt_ms


def _off(what: str, value: float, unit: str, allowed: Range) -> str:
    return f"{what}: {value:+.1f} {unit} from what is predicted, allowed are {allowed.low:+.3g} to {allowed.high:+.3g}"


def _wire(case: Case) -> Iterator[str]:
    """Compression, headers, and the bytes of an idle cycle."""
    plan, trial, seen = case.plan, case.trial, case.observed
    if seen.codings:
        yield f"answers were compressed ({', '.join(seen.codings)}); planned is no compression"
    for request, sent in seen.requests.items():
        count, size = REQUEST_HEADERS.get((plan.headers, request), (len(sent.names), sent.header_bytes))
        if (count, size) != (len(sent.names), sent.header_bytes) and not (trial.tls or trial.variant):
            yield (
                f"{request} was sent with {len(sent.names)} headers of {sent.header_bytes} B "
                f"({', '.join(sent.names)}); planned are {count} of {size} B"
            )
    headers = plan.headers if TRANSPORTS[trial.transport].is_poll else ""
    planned = IDLE_STREAM_B.get((headers, trial.transport))
    if case.idle is not None and planned and abs(case.idle.cycle_stream_bytes - planned) > IDLE_SLACK_B:
        yield f"an idle cycle has {case.idle.cycle_stream_bytes:.1f} B without TCP/IP; it has {planned} by its format"
    usual_b = IDLE_TCP_IP_B.get(trial.transport)
    if case.idle is not None and usual_b is not None:
        headers_b = case.idle.cycle_bytes - case.idle.cycle_stream_bytes
        if abs(headers_b - usual_b) > IDLE_SLACK_B:
            yield f"an idle cycle has {headers_b:.1f} B of TCP/IP; it has {usual_b} by its segments"
    if case.idle is not None and case.idle.pace is not None and case.idle.pace not in PACE:
        yield (
            f"idle cycles came at {case.idle.pace:.2f} times the period asked for; allowed are {PACE.low:g} to "
            f"{PACE.high:g}"
        )


def _setup(case: Case) -> Iterator[str]:
    """What opening a connection moves, headers of the answer included."""
    plan, trial, allowed = case.plan, case.trial, SETUP_B.get(case.trial.transport)
    plain = not (trial.variant or trial.tls or trial.transport in plan.inject_fault) and plan.headers == "browser"
    found = case.metrics.get("setup_bytes_per_connection")
    if allowed is None or found is None or not plain or trial.purpose not in JUDGED_BY_THEORY:
        return
    if found not in allowed:
        yield f"opening a connection took {found:.0f} B; allowed are {allowed.low:g} to {allowed.high:g}"


def _heartbeats(case: Case) -> Iterator[str]:
    """How often streams had one."""
    seen, planned_s = case.observed, case.plan.heartbeat_s
    if seen.life_s is None or seen.heartbeats_most is None or seen.heartbeats_least is None:
        return
    own_clock = case.trial.transport in OWN_CLOCK and not case.trial.variant
    most = math.floor(seen.life_s / planned_s) + (not own_clock)
    least = math.floor(max(0.0, seen.life_s - case.plan.ramp_s - 1) / planned_s) - 1
    if seen.heartbeats_most > most or seen.heartbeats_least < least:
        yield (
            f"streams had {seen.heartbeats_least} to {seen.heartbeats_most} heartbeats in {seen.life_s:.1f} s; "
            f"one every {planned_s:g} s makes {max(0, least)} to {most}"
        )
    if seen.heartbeat_period_s is not None and not _near(seen.heartbeat_period_s, planned_s):
        yield f"heartbeats came every {seen.heartbeat_period_s:.3g} s; planned is every {planned_s:g} s"


def _near(period_s: float, planned_s: float, share: float = PERIOD_SHARE) -> bool:
    return abs(period_s - planned_s) <= share * planned_s + PERIOD_SLACK_S


def _polls(case: Case) -> Iterator[str]:
    """Periods, phases and holds."""
    plan, trial, seen = case.plan, case.trial, case.observed
    light = trial.purpose in JUDGED_BY_THEORY
    if trial.transport == POLLING and seen.poll_period_s is not None:
        planned_s = poll_cycle_s(Conditions(trial.rtt_ms, 1.0, trial.poll_interval_s, plan.hold_s))
        too_seldom = seen.poll_period_s > planned_s and light and _fits(trial)
        if not _near(seen.poll_period_s, planned_s, POLL_PERIOD_SHARE) and (
            too_seldom or seen.poll_period_s < planned_s
        ):
            yield f"polls came every {seen.poll_period_s:.3g} s; planned is every {planned_s:g} s"
    if light and seen.poll_kuiper is not None and seen.poll_kuiper > KUIPER:
        yield f"pollers are in step: Kuiper's statistic of their phases is {seen.poll_kuiper:.1f}, allowed {KUIPER:g}"
    if any(hold_s != plan.hold_s for hold_s in seen.holds_s):
        asked = ", ".join(f"{hold_s:g}" for hold_s in seen.holds_s)
        yield f"long polls asked to be held for {asked} s; planned is {plan.hold_s:g} s"
    if seen.empty_early_s is not None and seen.empty_early_s > HOLD_EARLY_S:
        yield f"a hold ended {seen.empty_early_s:.1f} s sooner than asked, allowed {HOLD_EARLY_S:g}"
