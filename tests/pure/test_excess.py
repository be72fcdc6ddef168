"""Bytes and requests are predicted to the byte where no edge cuts a delivery, so that padding is seen."""

import msgspec
import pytest

from bench.plan.trials import TrialPlan, schedule_of
from bench.results.observed import Excess
from bench.results.run import Idle
from bench.theory.bytes import EPOCH, FRAMING, beyond_envelopes, commas, relay_bytes
from bench.theory.latency import Conditions, requests_per_event
from bench.trial.excess import Position, Span, excess, expect
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


@pytest.mark.parametrize("transport", FRAMING)
def test_heartbeats_are_no_framing(transport: str) -> None:
    idle, span = Idle(120, 16, 6, 15.0), moved(transport)
    beats = span.moved._replace(
        heartbeats=7, stream_bytes=span.moved.stream_bytes + 7 * 16, header_bytes=span.moved.header_bytes + 7 * 104
    )
    found = excess(SMALL, trial_of(transport, SMALL), idle, span._replace(moved=beats))
    assert found.framing_bytes_per_event == pytest.approx(0, abs=1e-9)
    assert found.tcp_ip_share == pytest.approx(0)
    more = beats._replace(header_bytes=beats.header_bytes + beats.deliveries * 26)
    assert excess(SMALL, trial_of(transport, SMALL), idle, span._replace(moved=more)).tcp_ip_share == pytest.approx(
        0.25
    )


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, False)])
def test_tcp_ip_is_predicted_only_for_events_that_fit_into_a_segment(more: int, fits: bool) -> None:
    """With envelope and a frame's 4 bytes, into 1,448."""
    positions = [Position(index, 998) for index in range(6)]
    plan = msgspec.structs.replace(SMALL, rooms=1)
    trial = trial_of("websocket", plan)
    around = expect(plan, trial, positions).envelope - plan.payload_bytes
    assert around == round(around), "all sequence numbers have three digits"
    plan = msgspec.structs.replace(plan, payload_bytes=1448 - 4 - round(around) + more)
    totals = Totals(deliveries=10, header_bytes=1040, stream_bytes=10, payload_bytes=10)
    found = excess(plan, trial, Idle(120, 16, 6, 15.0), Span(totals, 10.0, 0, positions))
    assert (found.tcp_ip_share is not None) is fits


def test_what_is_expected_of_a_poller_is_the_mean_over_all_deliveries() -> None:
    trial = trial_of("polling", SMALL)
    schedule = list(dues(schedule_of(SMALL, trial)))
    positions = [Position(0, 205), Position(1, 1005)]
    sizes, empty, query = [], [], []
    for room, newest in positions:
        count = sum(due.room == room for due in schedule)
        for seq in range(newest - count + 1, newest + 1):
            sizes.append(len(Event("event", Cursor(EPOCH, seq), room_name(room), b"x" * SMALL.payload_bytes).json))
        middle = Cursor(EPOCH, newest - count // 2)
        empty.append(len(encode_batch(middle, room_name(room), "resumed", 0, ())))
        query.append(len(f"room={room_name(room)}&since={middle}"))
    found = expect(SMALL, trial, positions)
    assert (found.deliveries, found.framing) == (len(sizes), 0)
    assert found.envelope == pytest.approx(sum(sizes) / len(sizes))
    assert found.empty_answer == sum(empty) / 2 and found.query == sum(query) / 2


@pytest.mark.parametrize(
    ("transport", "path", "hold"), [("polling", "/poll", ""), ("long_polling", "/long-poll", "&hold_s=25")]
)
@pytest.mark.parametrize("beyond", (0, 30))
def test_requests_are_predicted_to_the_byte(transport: str, path: str, hold: str, beyond: int) -> None:
    span = moved(transport)
    size = len(f"GET {path}?room=feed-1&since={EPOCH}-101{hold} HTTP/1.1\r\n\r\n") + 427 + beyond
    sent = span.moved._replace(sent_bytes=span.moved.requests * size)
    found = excess(SMALL, trial_of(transport, SMALL), Idle(1003, IDLES[transport], 6, 1.0), span._replace(moved=sent))
    assert found.sent_bytes_per_request == pytest.approx(beyond, abs=1.5)


@pytest.mark.parametrize(("rtt_ms", "relay"), [(40.0, 52), (10.0, 0)])
def test_polls_are_as_many_as_ticks_and_their_headers_those_of_an_empty_cycle_and_more(
    rtt_ms: float, relay: int
) -> None:
    """Six pollers, a poll a second, for ten seconds; an acknowledgement more where the relay must send its own."""
    plan = msgspec.structs.replace(SMALL, rtt_ms=rtt_ms)
    trial = trial_of("polling", plan)
    span, idle = moved("polling", trial=trial), Idle(1003, 743, 6, 1.0)
    per_answer = span.moved.deliveries / span.moved.answers
    envelope = expect(plan, trial, span.positions).envelope
    cycle = 260 + beyond_envelopes(per_answer, envelope) - commas(per_answer) + relay
    exact = span.moved._replace(header_bytes=round(cycle * span.moved.requests))
    found = excess(plan, trial, idle, span._replace(moved=exact))
    assert found.tcp_ip_share == pytest.approx(0, abs=1e-4)
    assert found.requests_share == pytest.approx(span.moved.requests / 60 - 1)
    assert found.requests_chance == pytest.approx(2 / 10 / 6**0.5)


def test_long_polls_are_as_many_as_theory_says_and_chance_is_that_of_few() -> None:
    trial = trial_of("long_polling", SMALL)
    span = moved("long_polling")
    n = span.moved.deliveries
    requests = n * requests_per_event("long_polling", Conditions(40.0, n / 6 / 10.0, trial.poll_interval_s, 25.0))
    found = excess(SMALL, trial, Idle(1020, 760, 6, 25.0), span)
    assert found.requests_share == pytest.approx(span.moved.requests / requests - 1)
    assert found.requests_chance == pytest.approx(2 / requests**0.5)
    headers = span.moved._replace(header_bytes=390 * span.moved.requests)
    assert excess(SMALL, trial, Idle(1020, 760, 6, 25.0), span._replace(moved=headers)).tcp_ip_share == pytest.approx(
        0.5
    )


def polled(answers: int, per_answer: int, head: int = 151, more_bodies: int = 0) -> Span:
    """Answers with so many events each and none empty; every number as theory has it."""
    plan = msgspec.structs.replace(SMALL, rooms=1)
    trial = trial_of("polling", plan)
    expected = expect(plan, trial, [Position(index, 998) for index in range(6)])
    n = answers * per_answer
    bodies = answers * (expected.empty_answer + commas(per_answer)) + n * expected.envelope + more_bodies
    line = len("/poll") + expected.query + len("GET ? HTTP/1.1\r\n\r\n") + 427
    cycle = 260 + beyond_envelopes(per_answer, expected.envelope) - commas(per_answer) + relay_bytes(40.0)
    totals = Totals(
        stream_bytes=round(answers * (line + head) + bodies),
        header_bytes=round(answers * cycle),
        requests=answers,
        deliveries=n,
        answers=answers,
        body_bytes=round(bodies),
        sent_bytes=round(answers * line),
    )
    return Span(totals, 10.0, 427, [Position(index, 998) for index in range(6)])


def excess_of(span: Span, transport: str = "polling", interval_s: float = 1.0, payload_bytes: int = 256) -> Excess:
    plan = msgspec.structs.replace(SMALL, rooms=1, payload_bytes=payload_bytes)
    trial = trial_of(transport, plan)._replace(poll_interval_s=interval_s)
    return excess(plan, trial, Idle(1003, 743, 6, 1.0), span)


@pytest.mark.parametrize(("answers", "per_answer"), [(1, 1), (60, 1), (60, 3), (1, 5)])
def test_polls_that_are_as_theory_has_them_exceed_it_in_nothing(answers: int, per_answer: int) -> None:
    """Also a single request with a single answer, and answers with several events."""
    found = excess_of(polled(answers, per_answer))
    assert found.framing_bytes_per_event == pytest.approx(0, abs=0.51 / answers / per_answer)
    assert found.sent_bytes_per_request == pytest.approx(0, abs=0.51 / answers)
    assert found.tcp_ip_share == pytest.approx(0, abs=0.01 / answers)
    assert found.head_bytes_per_answer == pytest.approx(151, abs=0.51 / answers)


def test_the_head_of_an_answer_is_what_is_neither_sent_nor_body() -> None:
    assert excess_of(polled(60, 1, head=341)).head_bytes_per_answer == pytest.approx(341, abs=0.1)
    padded = excess_of(polled(60, 1, more_bodies=600))
    assert padded.head_bytes_per_answer == pytest.approx(151, abs=0.1)
    assert padded.framing_bytes_per_event == pytest.approx(10, abs=0.1)


def test_polls_at_half_the_interval_are_twice_as_many() -> None:
    span = polled(120, 1)
    assert excess_of(span, interval_s=0.5).requests_share == pytest.approx(0)
    assert excess_of(span).requests_share == pytest.approx(1)


def test_tcp_ip_of_polls_is_predicted_only_for_events_that_fit_into_a_segment() -> None:
    plan = msgspec.structs.replace(SMALL, rooms=1)
    positions = [Position(index, 998) for index in range(6)]
    around = round(expect(plan, trial_of("polling", plan), positions).envelope) - plan.payload_bytes
    for more, fits in ((0, True), (1, False)):
        found = excess_of(polled(60, 1), payload_bytes=1448 - around + more)
        assert (found.tcp_ip_share is not None) is fits


def test_chance_is_that_of_one_request_where_fewer_are_predicted() -> None:
    span = polled(1, 1)
    plan = msgspec.structs.replace(SMALL, rooms=1)
    of = Conditions(plan.rtt_ms, 1 / 6 / 10.0, 1.0, plan.hold_s)
    predicted = requests_per_event("long_polling", of)
    found = excess_of(span, "long_polling")
    assert found.requests_chance == pytest.approx(2 / max(1.0, predicted) ** 0.5) and predicted < 4


def test_a_cursor_in_the_middle_has_the_digits_of_the_middle() -> None:
    """99, while a third of the way back there are three digits."""
    trial = trial_of("polling", SMALL)
    count = sum(due.room == 0 for due in dues(schedule_of(SMALL, trial)))
    found = expect(SMALL, trial, [Position(0, 99 + count // 2)])
    assert count // 2 > count // 3 + 1
    assert found.query == len(f"room={room_name(0)}&since={Cursor(EPOCH, 99)}")
