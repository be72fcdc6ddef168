"""Facts of a trial from what its processes recorded: receive times, phases, periods, collections, headers."""

import random

import msgspec
import numpy as np
import pytest

from bench.generators.facts import Facts
from bench.generators.spec import SAMPLE_FIELDS, Mark, Records
from bench.machine.load import Machine
from bench.results.observed import Observed
from bench.trial.metrics import Gauges, Reading, Samples
from bench.trial.observe import kuiper, observe, poll_period_s
from clients.core.sightings import Beats, Sightings
from feed.instruments.clock import NS_PER_MS, NS_PER_S
from tests.pure.test_plausible import PLAN, honest, implausible, trial_of


def test_seeded_phases_never_look_in_step() -> None:
    for seed in range(400):
        draw = random.Random(f"phases-{seed}")
        assert kuiper([draw.random() for _ in range(draw.choice((10, 20, 100, 200)))]) < 3.0


@pytest.mark.parametrize("subscribers", (20, 100, 200))
def test_pollers_in_step_are_found(subscribers: int) -> None:
    together = [0.3 + 0.01 * (index % 5) for index in range(subscribers)]
    assert kuiper(together) > 3.0
    assert kuiper([0.99 + 0.02 * (index % 2) - (index % 2) for index in range(subscribers)]) > 3.0, "across the cut"
    if subscribers > 20:
        assert kuiper([0.5 * (index % 2) for index in range(subscribers)]) > 3.0, "in two groups"
        assert kuiper([0.5 * index / subscribers for index in range(subscribers)]) > 3.0, "only half of the time"


@pytest.mark.parametrize("actual_s", (0.18, 0.2, 0.22))
def test_missed_ticks_do_not_hide_a_period(actual_s: float) -> None:
    polls_ns = [round(tick * actual_s * NS_PER_S) for tick in (0, 1, 2, 4, 5, 8, 9, 10)]
    assert poll_period_s(polls_ns, 0.2) == pytest.approx(actual_s)


def observed(shift_ms: float = 0.0, socket_shift_ms: float = 0.0, collects: bool = False) -> Observed:
    """A WebSocket trial of 20 events to 20 subscribers. ``shift_ms``: receive times as recorded, moved by that;
    ``socket_shift_ms``: those that connections note."""
    n, mark = 20, Mark({}, 0, 0)
    due_ns = [(index + 1) * NS_PER_S for index in range(n)]
    true_ns = [at_ns + round(20.6 * NS_PER_MS) for at_ns in due_ns]
    noted_ns = [at_ns + round(socket_shift_ms * NS_PER_MS) for at_ns in true_ns]
    columns = (range(n), [0] * n, due_ns, [at_ns + round(shift_ms * NS_PER_MS) for at_ns in noted_ns])
    samples = Samples(*(np.array(column, dtype=np.int64) for column in columns))
    assert len(columns) == len(SAMPLE_FIELDS)
    stamps = 2 * [
        (noted, true + (index % 5 - 2) * NS_PER_MS)
        for index, (noted, true) in enumerate(zip(noted_ns, true_ns, strict=True))
    ]
    facts = Facts(age_s=12.0, stamps=stamps, gc_collections=int(collects), tick_ns=4 * NS_PER_MS, heartbeats=[0] * n)
    record = Records(
        pid=1,
        probes=list(range(n)),
        loads=[],
        samples=b"",
        begin=mark,
        end=mark,
        final=mark,
        counts={},
        failures=[],
        loop_lag={},
        gc_pauses={},
        facts=facts,
    )
    reading = Reading(0, 0, 0, 0, Machine(0.0, 0.0, 1.0, 0.0))
    gauges = Gauges(1.0, reading, reading, 0.005, 0, 0, {}, {}, [], [], idle_pid=11)
    plan = msgspec.structs.replace(PLAN, subscribers=n, probes=n)
    return observe(plan, trial_of("websocket", plan), None, [record], gauges, samples)


def judged(seen: Observed) -> list[str]:
    plan = msgspec.structs.replace(PLAN, subscribers=seen.subscribers or 0)
    return implausible(honest("websocket")._replace(observed=seen, plan=plan))


def test_receive_times_are_held_against_schedule_and_kernel() -> None:
    seen = observed()
    assert seen.impossible == 0 and seen.stamps_recorded == pytest.approx(1) and judged(seen) == []
    early = judged(observed(socket_shift_ms=-10))
    assert any("20 deliveries came sooner" in reason for reason in early) and any(
        "kernel" in reason for reason in early
    )
    assert any("kernel" in reason for reason in judged(observed(socket_shift_ms=10)))
    assert any("not those of the connections" in reason for reason in judged(observed(shift_ms=10)))
    assert any("sooner than possible" in reason for reason in judged(observed(shift_ms=-1)))


def test_a_collection_in_the_measured_part_is_a_fact() -> None:
    assert any("garbage collector was on" in reason for reason in judged(observed(collects=True)))


def test_clients_note_what_answers_and_requests_say() -> None:
    seen = Sightings()
    for headers in ({}, {"Content-Encoding": "identity"}, {"Content-Encoding": "gzip"}):
        seen.answer(headers)
    seen.answer({"Sec-WebSocket-Extensions": "permessage-deflate; server_no_context_takeover"})
    assert seen.codings == {"gzip", "permessage-deflate; server_no_context_takeover"}
    seen.request("GET /poll", [("Host", "a"), ("x", "1")])
    seen.request("GET /poll", [])
    assert seen.requests == {"GET /poll": (("Host", "a"), ("x", "1"))}
    beats = Beats()
    assert beats.period_s is None
    for at_ns in (5, 5 + NS_PER_S, 5 + 3 * NS_PER_S):
        beats.mark(at_ns)
    assert (beats.count, beats.period_s) == (3, 1.5)
