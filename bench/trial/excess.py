"""Bytes and requests of a trial, measured minus predicted, where no edge of a window cuts a delivery. Pure.

They are counted from before the first event until all events were delivered, so that a stream's framing is predicted to
the byte: the digits of every sequence number are known.
"""

from collections import Counter
from functools import lru_cache
from typing import Final, NamedTuple

from bench.plan.trials import TrialPlan, schedule_of
from bench.results.observed import Excess
from bench.results.run import Idle, Plan
from bench.theory.bytes import (
    EPOCH,
    FRAMING,
    MSS_BYTES,
    SEGMENT_BYTES,
    SEGMENTS_PER_EVENT,
    beyond_envelopes,
    commas,
    envelope_bytes,
    relay_bytes,
)
from bench.theory.latency import Conditions, poll_cycle_s, requests_per_event
from clients.core.ledger import Totals
from feed.cursor import Cursor
from feed.rooms import room_name
from feed.schedule import dues
from feed.transports import POLLING, TRANSPORTS
from feed.wire import encode_batch

ENDS: Final = len("GET ? HTTP/1.1\r\n\r\n")
"""What a request's line and its end add to the target and the headers."""


class Position(NamedTuple):
    """The newest event of a subscriber, by its sequence number."""

    subscriber: int
    seq: int


class Span(NamedTuple):
    """What all connections moved while the events of a trial came, and where that left the subscribers."""

    moved: Totals
    seconds: float
    header_bytes: int
    """Bytes of a request's header lines; 0 without HTTP."""
    positions: list[Position]


class Expected(NamedTuple):
    """Means over all deliveries, in bytes."""

    deliveries: int
    envelope: float
    framing: float
    """Of a stream; 0 for polls."""
    empty_answer: float
    query: float
    """Of a poll."""


def excess(plan: Plan, trial: TrialPlan, idle: Idle | None, span: Span) -> Excess:
    """Nothing is predicted for a variant, with TLS or injected faults, or without deliveries or an idle cycle."""
    plain = not (trial.variant or trial.tls or trial.transport in plan.inject_fault)
    if idle is None or not plain or not (span.moved.deliveries and span.positions):
        return Excess()
    expected = expect(plan, trial, span.positions)
    if not expected.deliveries:
        return Excess()
    if TRANSPORTS[trial.transport].is_poll:
        return _of_polls(plan, trial, idle, span, expected)
    return _of_stream(plan, idle, span.moved, expected)


def expect(plan: Plan, trial: TrialPlan, positions: list[Position]) -> Expected:
    """What every delivery of the schedule should have moved."""
    in_room = Counter(due.room for due in dues(schedule_of(plan, trial)))
    framing_of = FRAMING.get(trial.transport)
    deliveries = envelopes = framing = empty = query = 0
    for subscriber, newest in positions:
        room = subscriber % plan.rooms
        name = room_name(room)
        for seq in range(newest - in_room[room] + 1, newest + 1):
            size = _envelope(plan.payload_bytes, room, len(str(seq)))
            envelopes, deliveries = envelopes + size, deliveries + 1
            framing += framing_of(size, seq) if framing_of else 0
        cursor = Cursor(EPOCH, max(1, newest - in_room[room] // 2))
        empty += len(encode_batch(cursor, name, "resumed", 0, ()))
        query += len(f"room={name}&since={cursor}")
    each, all_ = max(1, deliveries), len(positions)
    return Expected(deliveries, envelopes / each, framing / each, empty / all_, query / all_)


@lru_cache(maxsize=4096)
def _envelope(payload_bytes: int, room: int, digits: int) -> int:
    return envelope_bytes(payload_bytes, room, 10 ** (digits - 1))


def _of_stream(plan: Plan, idle: Idle, moved: Totals, expected: Expected) -> Excess:
    beats, n = moved.heartbeats, moved.deliveries
    stream = moved.stream_bytes - beats * idle.cycle_stream_bytes
    headers = moved.header_bytes - beats * (idle.cycle_bytes - idle.cycle_stream_bytes)
    framing = (stream - moved.payload_bytes) / n
    fits = expected.envelope + expected.framing <= MSS_BYTES
    return Excess(
        framing_bytes_per_event=framing - (expected.envelope - plan.payload_bytes + expected.framing),
        tcp_ip_share=headers / n / (SEGMENTS_PER_EVENT * SEGMENT_BYTES) - 1 if fits else None,
    )


def _of_polls(plan: Plan, trial: TrialPlan, idle: Idle, span: Span, expected: Expected) -> Excess:
    moved, n = span.moved, span.moved.deliveries
    of = Conditions(trial.rtt_ms, n / plan.subscribers / span.seconds, trial.poll_interval_s, plan.hold_s)
    asked, per_answer = max(1, moved.requests), n / max(1, moved.answers)
    bodies = (moved.body_bytes - moved.answers * expected.empty_answer) / n
    if trial.transport == POLLING:
        ticks = span.seconds / poll_cycle_s(of)
        requests, chance = plan.subscribers * ticks, 2 / ticks / plan.subscribers**0.5
        extra, query = beyond_envelopes(per_answer, expected.envelope) - commas(per_answer), 0
        extra += relay_bytes(of.rtt_ms)
    else:
        requests, extra = n * requests_per_event(trial.transport, of), 0.0
        chance = 2 / max(1.0, requests) ** 0.5
        query = len(f"&hold_s={plan.hold_s:g}")
    cycle_headers = idle.cycle_bytes - idle.cycle_stream_bytes + extra
    line = len(TRANSPORTS[trial.transport].path) + expected.query + query + ENDS
    return Excess(
        framing_bytes_per_event=bodies - expected.envelope - commas(per_answer) / per_answer,
        tcp_ip_share=moved.header_bytes / asked / cycle_headers - 1 if expected.envelope <= MSS_BYTES else None,
        requests_share=moved.requests / requests - 1,
        requests_chance=chance,
        sent_bytes_per_request=moved.sent_bytes / asked - line - span.header_bytes,
        head_bytes_per_answer=(moved.stream_bytes - moved.sent_bytes - moved.body_bytes) / max(1, moved.answers),
    )
