"""Wire bytes per event that each protocol's framing rules predict. Pure.

HTTP heads are not predicted but measured: an empty poll cycle, or a heartbeat, on its own (``Idle``). TCP/IP: an event
on a stream adds one data segment and its bare acknowledgement; events that share a segment add fewer, answers longer
than a segment more. docs/method.md has the formulas and their sources.
"""

import math
from collections.abc import Callable
from typing import Final

from bench.results.run import Idle
from bench.theory.latency import Conditions, requests_per_event
from feed.cursor import Cursor
from feed.rooms import room_name
from feed.transports import POLLS
from feed.wire import Event, encode_batch

SEGMENT_BYTES: Final = 52
"""TCP/IP headers of a segment: IP 20 bytes, TCP 20, the timestamps option 12 (RFC 7323)."""
SEGMENTS_PER_EVENT: Final = 2
MSS_BYTES: Final = 1448
"""The longest body of a segment, on every connection of a trial."""
DELAYED_ACK_MS: Final = 40.0
"""Linux acknowledges a segment after this time if no answer has carried the acknowledgement (TCP_DELACK_MIN)."""
EPOCH: Final = "0" * 8
"""A stand-in: all epochs have this length."""
EMPTY_ANSWER_BYTES: Final = len(encode_batch(Cursor(EPOCH, 1), "feed", "resumed", 0, ()))
"""The body of a poll's answer without events."""


def predict_bytes(
    transport: str, of: Conditions, payload_bytes: int, room: int, seq: int, idle: Idle | None
) -> float | None:
    """Wire bytes per delivered event, both directions; ``None`` where the idle cycle was not measured.

    ``room`` and ``seq``: a typical event's room index and sequence number, whose digits are sent with it.
    """
    if idle is None:
        return None
    envelope = envelope_bytes(payload_bytes, room, seq)
    if transport in POLLS:
        requests = requests_per_event(transport, of)
        beyond = 0.0 if transport != "polling" else beyond_envelopes(1 / requests, envelope) + relay_bytes(of.rtt_ms)
        return requests * (idle.cycle_bytes + beyond) + envelope
    heartbeats = idle.cycle_bytes / idle.period_s / of.rate_hz
    return envelope + FRAMING[transport](envelope, seq) + SEGMENTS_PER_EVENT * SEGMENT_BYTES + heartbeats


def envelope_bytes(payload_bytes: int, room: int, seq: int) -> int:
    """Bytes of the event as JSON (docs/protocol.md): its payload, type, cursor and room."""
    return len(Event("event", Cursor(EPOCH, seq), room_name(room), b"0" * payload_bytes).json)


def beyond_envelopes(events: float, envelope: float) -> float:
    """Bytes that the events of a poll's answer (``events`` on average) add to it, their envelopes not counted.

    Commas: one fewer than there are events, in answers that have any. TCP/IP headers: a body of x segments'
    length takes about x + 1/2 segments, since its end lies anywhere within one; the empty answer takes the first.
    """
    segments = (EMPTY_ANSWER_BYTES + events * (envelope + 1)) / MSS_BYTES - 0.5
    return commas(events) + max(0.0, segments) * SEGMENT_BYTES


def commas(events: float) -> float:
    """Commas between the events of a poll's answer, which has ``events`` on average (Poisson)."""
    return events + math.expm1(-events)


def relay_bytes(rtt_ms: float) -> float:
    """Bytes that the relay adds to a poll and no network would: it must acknowledge before it has the answer."""
    return SEGMENT_BYTES if rtt_ms >= DELAYED_ACK_MS else 0


def websocket_header_bytes(size: int) -> int:
    """Header bytes of an unmasked frame, as servers send it (RFC 6455, section 5.2): 2, and 2 or 8 more for length."""
    return 2 if size < 126 else 4 if size < 1 << 16 else 10


def chunk_bytes(size: int) -> int:
    """Bytes that chunked transfer adds to a chunk (RFC 9112, 7.1): its length in hexadecimal and two line ends."""
    return len(f"{size:x}") + 4


def _sse(envelope: int, seq: int) -> int:
    """The ``id: `` and ``data: `` lines and the empty line (WHATWG HTML, 9.2.5), in a chunk of their own."""
    lines = len(f"id: {Cursor(EPOCH, seq)}\ndata: \n\n")
    return lines + chunk_bytes(envelope + lines)


def _websocket(envelope: int, seq: int) -> int:
    return websocket_header_bytes(envelope)


def _socketio(envelope: int, seq: int) -> int:
    """Engine.IO's message type 4, Socket.IO's event type 2, and the event's name in an array, in a WebSocket frame."""
    packet = len('42["event",]')
    return packet + websocket_header_bytes(envelope + packet)


def _raw(envelope: int, seq: int) -> int:
    """The baseline's length prefix."""
    return 4


FRAMING: Final[dict[str, Callable[[int, int], int]]] = {
    "sse": _sse,
    "websocket": _websocket,
    "socketio": _socketio,
    "raw": _raw,
}
"""Stream -> bytes that its format adds to an envelope, by the envelope's bytes and its sequence number."""
