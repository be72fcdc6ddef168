"""Theory: the formulas against simulations of the processes they describe, and against our own encoders."""

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from bench.results.run import Idle
from bench.theory.bytes import (
    EMPTY_ANSWER_BYTES,
    EPOCH,
    FRAMING,
    MSS_BYTES,
    SEGMENT_BYTES,
    beyond_envelopes,
    chunk_bytes,
    envelope_bytes,
    predict_bytes,
    websocket_header_bytes,
)
from bench.theory.latency import Conditions, gap_share, poll_cycle_s, predict_latency, requests_per_event
from bench.theory.predict import predict
from feed.cursor import Cursor
from feed.rooms import room_name
from feed.wire import Event, encode_frame
from reports.blocks import main_blocks
from reports.formats import number
from reports.table.summary import summarize
from reports.theory.added import added_table, predictions
from tests.helpers.fake_results import ALL, fake_results

PURE = settings(deadline=None, derandomize=True, database=None)
CONDITIONS = st.builds(
    Conditions,
    rtt_ms=st.floats(0.1, 500),
    rate_hz=st.floats(0.01, 20),
    poll_interval_s=st.floats(0.05, 30),
    hold_s=st.floats(0.5, 60),
)
IDLE = Idle(cycle_bytes=1000.0, cycle_stream_bytes=740.0, cycles=6, period_s=15.0)
EVENTS = 20_000


@PURE
@given(CONDITIONS, st.sampled_from(ALL))
def test_quantiles_rise_from_one_transit_and_average_to_the_mean(of: Conditions, transport: str) -> None:
    found = predict_latency(transport, of)
    qs = (np.arange(4000) + 0.5) / 4000
    values = found.quantile_ms(qs)
    assert values[0] >= of.transit_ms and np.all(np.diff(values) >= -1e-9)
    assert values.mean() == pytest.approx(found.mean_ms, rel=2e-3)


@PURE
@given(CONDITIONS)
def test_a_stream_takes_one_transit_and_long_polling_at_most_three(of: Conditions) -> None:
    assert predict_latency("websocket", of).quantile_ms(1.0) == of.transit_ms
    assert predict_latency("long_polling", of).quantile_ms(1.0) == pytest.approx(3 * of.transit_ms)
    assert 0 < gap_share(of) < 1


@pytest.mark.parametrize(
    "of",
    [
        Conditions(rtt_ms=40.0, rate_hz=0.1, poll_interval_s=1.0, hold_s=25.0),
        Conditions(rtt_ms=40.0, rate_hz=10.0, poll_interval_s=1.0, hold_s=25.0),
        Conditions(rtt_ms=200.0, rate_hz=5.0, poll_interval_s=0.3, hold_s=0.5),
    ],
)
def test_long_polling_is_what_a_simulation_of_it_does(of: Conditions) -> None:
    """Events come as a Poisson process; the next request arrives a round trip after each answer."""
    latencies, answers = simulate_long_polling(of, random.Random(6202))
    theory = predict_latency("long_polling", of)
    assert np.mean(latencies) == pytest.approx(theory.mean_ms, rel=0.02)
    for q in (0.25, 0.5, 0.75, 0.9, 0.95, 0.99):
        near = [theory.quantile_ms(min(1.0, max(0.0, q + off))) for off in (-0.015, 0.015)]
        assert near[0] - 1e-6 <= np.quantile(latencies, q) <= near[1] + 1e-6
    assert np.mean(np.array(latencies) > of.transit_ms + 1e-9) == pytest.approx(gap_share(of), abs=0.012)
    assert answers / EVENTS == pytest.approx(requests_per_event("long_polling", of), rel=0.03)


def simulate_long_polling(of: Conditions, draw: random.Random) -> tuple[list[float], int]:
    """Latencies in ms, and how many answers there were. Time in seconds at the server."""
    events, at = [], 0.0
    for _ in range(EVENTS):
        at += draw.expovariate(of.rate_hz)
        events.append(at)
    latencies, answers, place, request_at = [], 0, 0, 0.0
    while place < len(events):
        due = events[place]
        answered_at = min(max(due, request_at), request_at + of.hold_s)
        while place < len(events) and events[place] <= answered_at:
            latencies.append((answered_at - events[place]) * 1000 + of.transit_ms)
            place += 1
        answers += 1
        request_at = answered_at + of.rtt_ms / 1000
    return latencies, answers


@settings(PURE, max_examples=20)
@given(st.floats(0.05, 5), st.floats(1, 300), st.integers(0, 2**32))
def test_polling_is_what_a_simulation_of_it_does(interval_s: float, rtt_ms: float, seed: int) -> None:
    """Requests at a fixed cadence, a beat left out while one is under way; events at random."""
    of = Conditions(rtt_ms, 1.0, interval_s, 25.0)
    cycle_ms = (
        math.ceil(rtt_ms / 1000 / interval_s - 1e-9) * interval_s * 1000
        if rtt_ms / 1000 > interval_s
        else 1000 * interval_s
    )
    dues = np.random.default_rng(seed).uniform(0, 1000 * cycle_ms, EVENTS)
    latencies = (cycle_ms - dues % cycle_ms) + of.transit_ms
    theory = predict_latency("polling", of)
    assert 1000 * poll_cycle_s(of) == pytest.approx(cycle_ms)
    assert np.mean(latencies) == pytest.approx(theory.mean_ms, rel=0.02)
    for q in (0.05, 0.5, 0.95):
        assert np.quantile(latencies, q) == pytest.approx(theory.quantile_ms(q), abs=0.02 * cycle_ms)


@PURE
@given(CONDITIONS)
def test_the_limits_are_right(of: Conditions) -> None:
    rare = Conditions(of.rtt_ms, 1e-9, of.poll_interval_s, 1e12)
    assert gap_share(rare) < 1e-6 and requests_per_event("long_polling", rare) == pytest.approx(1.0)
    quick = Conditions(0.001, of.rate_hz, 1e-6, of.hold_s)
    assert predict_latency("polling", quick).mean_ms < 0.01
    busy = Conditions(of.rtt_ms, 1e5, of.poll_interval_s, of.hold_s)
    assert requests_per_event("long_polling", busy) == pytest.approx(1000 / (1e5 * of.rtt_ms), rel=0.2)
    assert requests_per_event("sse", of) == 0


SIZES = st.integers(2, 70_000)


@PURE
@given(SIZES, st.integers(0, 300), st.integers(1, 10**9))
def test_framing_is_what_our_encoders_make_of_it(payload_bytes: int, room: int, seq: int) -> None:
    event = Event("event", Cursor(EPOCH, seq), room_name(room), b"0" * payload_bytes)
    envelope = envelope_bytes(payload_bytes, room, seq)
    assert envelope == len(event.json)
    assert FRAMING["websocket"](envelope, seq) == len(event.websocket_frame) - envelope
    assert FRAMING["raw"](envelope, seq) == len(encode_frame(event.json)) - envelope
    chunk = len(f"{len(event.sse):x}\r\n".encode()) + len(b"\r\n")
    assert FRAMING["sse"](envelope, seq) == len(event.sse) - envelope + chunk
    assert chunk_bytes(len(event.sse)) == chunk


@pytest.mark.parametrize(("size", "header"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_frame_header_is_as_long_as_the_rfc_says(size: int, header: int) -> None:
    assert websocket_header_bytes(size) == header


def test_without_an_idle_cycle_bytes_are_not_guessed() -> None:
    of = Conditions(40.0, 0.1, 1.0, 25.0)
    assert all(predict_bytes(name, of, 256, 0, 1, None) is None for name in ALL)


@pytest.mark.parametrize(("rtt_ms", "cycle_bytes"), [(40.0, 1052.0), (39.0, 1000.0)])
def test_a_poll_across_the_relay_is_acknowledged_before_it_is_answered(rtt_ms: float, cycle_bytes: float) -> None:
    found = predict_bytes("polling", Conditions(rtt_ms, 0.001, 1.0, 25.0), 256, 0, 1, IDLE)
    assert found == pytest.approx(1000 * cycle_bytes + envelope_bytes(256, 0, 1), abs=0.01)


def test_the_report_has_measured_minus_predicted() -> None:
    results = fake_results()
    results.idle = dict.fromkeys(ALL, IDLE)
    table = added_table(results, main_blocks(results))
    assert table is not None and table.rows[0][0] == "Polling" and len(table.rows) == len(ALL)
    assert all(len(row) == len(table.head) for row in table.rows)
    assert predictions(results, main_blocks(results))["sse"]["latency_ms_p50"] == 20.0
    without = fake_results(rtt_ms=0.0)
    assert added_table(without, main_blocks(without)) is None


def test_predictions_are_printed_beside_what_was_measured() -> None:
    results = fake_results()
    results.idle = dict.fromkeys(ALL, IDLE)
    summary = summarize(results)
    notes = {row.transport: (row.latency.notes[0], row.bandwidth.notes[0]) for row in summary.rows}
    assert notes["polling"][0].endswith(" one-way transits, predicted 26.0")
    assert notes["sse"][0].endswith(" one-way transits, predicted 1.00")
    wire = predictions(results, main_blocks(results))["sse"]["wire_bytes_per_event"]
    assert notes["sse"][1].endswith(f" × payload, predicted {number(wire / 256)}")
    assert [point.predicted["latency_ms_p50"] for point in summary.curve] == pytest.approx([120.0, 520.0, 2520.0])
    lossy = fake_results()
    lossy.plan = msgspec.structs.replace(lossy.plan, loss=0.01)
    assert all("predicted" not in row.latency.notes[0] for row in summarize(lossy).rows)


@pytest.mark.parametrize("envelope", (96, 313, 1100))
@pytest.mark.parametrize("events", (0.01, 0.3, 1, 2, 5, 8.5, 20, 60))
def test_what_events_add_to_an_answer_beside_their_envelopes(events: float, envelope: int) -> None:
    """Against the expectation over a Poisson number of events, segment by segment; 6 B of an answer are no matter."""

    def beside(count: int) -> int:
        commas = max(0, count - 1)
        body = EMPTY_ANSWER_BYTES + count * envelope + commas
        return commas + SEGMENT_BYTES * (math.ceil(body / MSS_BYTES) - 1)

    counts = range(int(events + 12 * math.sqrt(events) + 12))
    exact = sum(float(poisson.pmf(count, events)) * beside(count) for count in counts)
    assert abs(beyond_envelopes(events, envelope) - exact) < 6


def test_table_and_theory_predict_the_same_number() -> None:
    """Each averages over the rates that the blocks' schedules drew."""
    results = fake_results()
    results.idle = dict.fromkeys(ALL, IDLE)
    for trial in results.trials:
        trial.metrics["due_events_per_s"] = 15.0 + trial.block
    blocks = main_blocks(results)
    table = added_table(results, blocks)
    assert table is not None
    shown = {row[0]: row[table.head.index("wire bytes per event (B): predicted")] for row in table.rows}
    assert shown["Polling"] == number(predictions(results, blocks)["polling"]["wire_bytes_per_event"])


def test_the_prediction_of_a_block_has_the_rate_its_schedule_drew() -> None:
    results = fake_results()
    trial = results.trials[0]
    trial.metrics["due_events_per_s"] = 40.0
    assert predict("polling", results.plan, {}, trial)["requests_per_event"] == pytest.approx(5.0)
    assert predict("polling", results.plan, {})["requests_per_event"] == pytest.approx(10.0)
