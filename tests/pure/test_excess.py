"""Bytes and requests are predicted to the byte where no edge cuts a delivery, so that padding is seen."""

import msgspec
import pytest

from bench.plan.trials import TrialPlan, schedule_of
from bench.results.observed import Excess
from bench.results.run import Idle
from bench.theory.bytes import EPOCH, FRAMING
from bench.trial.excess import Position, Span, excess
from clients.core.ledger import Totals
from feed.cursor import Cursor
from feed.rooms import room_name
from feed.schedule import dues
from feed.transports import POLLS
from feed.wire import Event, encode_batch
from tests.pure.test_plausible import PLAN, trial_of

SMALL = msgspec.structs.replace(PLAN, subscribers=6, rooms=3, probes=6)
IDLES = {"polling": 743, "long_polling": 760}


def moved(transport: str, padding: int = 0, empty: int = 40, trial: TrialPlan | None = None) -> Span:
    """What a trial moves whose every event has ``padding`` more bytes than its format says; positions begin at 98."""
    trial = trial or trial_of(transport, SMALL)
    envelopes = bodies = stream = n = 0
    newest = dict.fromkeys(range(SMALL.rooms), 98)
    for due in dues(schedule_of(SMALL, trial)):
        newest[due.room] += 1
        seq = newest[due.room]
        event = Event("event", Cursor(EPOCH, seq), room_name(due.room), b"x" * SMALL.payload_bytes)
        size = len(event.json)
        for _ in range(SMALL.subscribers // SMALL.rooms):
            n, envelopes = n + 1, envelopes + size + padding
            stream += size + padding + (FRAMING[transport](size, seq) if transport in FRAMING else 0)
            bodies += len(encode_batch(Cursor(EPOCH, seq), room_name(due.room), "resumed", 0, [event])) + padding
    bodies += empty * len(encode_batch(Cursor(EPOCH, 100), room_name(1), "resumed", 0, ()))
    totals = Totals(
        stream_bytes=stream,
        header_bytes=104 * n,
        requests=n + empty,
        deliveries=n,
        answers=n + empty,
        body_bytes=bodies,
        payload_bytes=n * SMALL.payload_bytes,
        sent_bytes=(n + empty) * 500,
    )
    positions = [Position(index, newest[index % SMALL.rooms]) for index in range(SMALL.subscribers)]
    return Span(totals, 10.0, 427, positions)


@pytest.mark.parametrize("transport", FRAMING)
@pytest.mark.parametrize("padding", (0, 8, -8))
def test_a_streams_framing_is_predicted_to_the_byte(transport: str, padding: int) -> None:
    found = excess(SMALL, trial_of(transport, SMALL), Idle(120, 16, 6, 15.0), moved(transport, padding))
    assert found.framing_bytes_per_event == pytest.approx(padding, abs=1e-9)
    assert found.tcp_ip_share == pytest.approx(0)


@pytest.mark.parametrize("transport", POLLS)
@pytest.mark.parametrize("padding", (0, 8))
def test_padding_of_polled_events_is_seen_in_the_bodies(transport: str, padding: int) -> None:
    found = excess(SMALL, trial_of(transport, SMALL), Idle(1003, IDLES[transport], 6, 1.0), moved(transport, padding))
    assert found.framing_bytes_per_event == pytest.approx(padding, abs=1.0)


def test_nothing_is_predicted_where_the_format_is_another() -> None:
    trial, idle, span = trial_of("sse", SMALL), Idle(120, 13, 6, 15.0), moved("sse")
    assert excess(SMALL, trial._replace(variant="plain"), idle, span) == Excess()
    assert excess(SMALL, trial._replace(tls=True), idle, span) == Excess()
    assert excess(SMALL, trial, None, span) == Excess()
    assert excess(msgspec.structs.replace(SMALL, inject_fault={"sse": "drop"}), trial, idle, span) == Excess()
    assert excess(SMALL, trial, idle, span._replace(moved=Totals())) == Excess()
