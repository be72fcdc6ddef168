"""Every metric of a trial, by numbers worked out by hand: no two inputs are alike, so that none stands for another."""

from typing import Any

import numpy as np
import pytest

from bench.generators.spec import Mark, Records
from bench.generators.window import Window
from bench.machine.load import Machine
from bench.results.run import Idle
from bench.trial.metrics import (
    Gauges,
    Reading,
    Samples,
    byte_metrics,
    cost_metrics,
    independent_events,
    latency_metrics,
    measured_samples,
    probe_percentiles,
    worst_hiccup_ms,
    wrong_dues,
)
from clients.core.ledger import Totals
from feed.schedule import Due

MS = 10**6
EVENTS = 200
PART = Window(0, EVENTS * 10 * MS, [Due((n + 1) * 10 * MS, room, n + 5) for n in range(EVENTS) for room in (0, 1)])
"""An event in each of two rooms every 10 ms; numbers begin at 5."""
NOTHING = Mark(Totals()._asdict(), 0, 0)


def records(pid: int, probes: list[int], samples: list[tuple[int, int, int, int]]) -> Records:
    """FAKE."""
    data = np.array(samples, dtype=np.int64).tobytes()
    return Records(pid, probes, [], data, NOTHING, NOTHING, NOTHING, {}, [], {}, {})


def delivered(growing_ms: float = 0.0) -> list[Records]:
    """FAKE: probes 0 and 2 are in room 0. An event takes 20 + n/100 ms, and 0.5 + n/1000 ms more to the second one.
    Load 1 is in room 1, and an event takes 60 ms."""
    first, second, load = [], [], []
    for due in PART.events:
        n = due.n - 5
        late_ns = round((20 + n / 100 + growing_ms * n / EVENTS) * MS)
        if due.room == 0:
            first.append((0, due.n, due.offset_ns, due.offset_ns + late_ns))
            second.append((2, due.n, due.offset_ns, due.offset_ns + late_ns + MS // 2 + n * MS // 1000))
        else:
            load.append((1, due.n, due.offset_ns, due.offset_ns + 60 * MS))
    return [records(1, [0], first), records(2, [2], second), records(3, [], load)]


def test_latency_is_that_of_the_probes() -> None:
    processes = delivered()
    samples = measured_samples(processes, PART, 2)
    assert len(samples.n) == 3 * EVENTS
    found = latency_metrics(samples, processes, PART, 2)
    assert set(found) == {
        "latency_ms_mean",
        "latency_ms_max",
        "drift_share",
        "generator_latency_ms_p50",
        "generator_latency_ms_p95",
        "fanout_spread_ms_p50",
        "fanout_spread_ms_p95",
    }
    assert found["latency_ms_mean"] == pytest.approx(20.995 + (0.5 + 0.0995) / 2)
    assert found["latency_ms_max"] == pytest.approx(20 + 1.99 + 0.5 + 0.199)
    assert found["drift_share"] == 0
    assert found["generator_latency_ms_p50"] == pytest.approx(np.percentile(samples.latency_ms, 50))
    assert found["generator_latency_ms_p95"] == pytest.approx(60)
    assert found["fanout_spread_ms_p50"] == pytest.approx(0.5 + 0.0995)
    assert found["fanout_spread_ms_p95"] == pytest.approx(0.5 + 0.18905)
    probed = np.concatenate([samples.of(samples.subscriber == index).latency_ms for index in (0, 2)])
    percentiles = probe_percentiles(samples, processes, PART, 2)
    assert "95" in percentiles and "99" not in percentiles, "200 events: those of room 0"
    assert percentiles["90"] == pytest.approx(np.percentile(probed, 90))


@pytest.mark.parametrize("growing_ms", [40.0, -18.0])
def test_drift_has_no_sign(growing_ms: float) -> None:
    """Of the medians of both halves, 49.5 and 149.5 events from the first, where an event counts by its mean."""
    processes = delivered(growing_ms)
    found = latency_metrics(measured_samples(processes, PART, 2), processes, PART, 2)
    before, after = (20.25 + at * (0.01 + 0.0005 + growing_ms / EVENTS) for at in (49.5, 149.5))
    assert found["drift_share"] == pytest.approx(abs(after / before - 1))


def test_without_probes_or_with_one_there_is_less() -> None:
    first, _, load = delivered()
    alone = [load]
    assert latency_metrics(measured_samples(alone, PART, 2), alone, PART, 2) == {}
    assert probe_percentiles(measured_samples(alone, PART, 2), alone, PART, 2) == {}
    one = [first, load]
    found = latency_metrics(measured_samples(one, PART, 2), one, PART, 2)
    assert "latency_ms_mean" in found and not any(name.startswith("fanout") for name in found)


def test_a_delivery_of_another_room_has_its_own_schedule() -> None:
    part = Window(0, 20, [Due(10, 0, 1), Due(20, 1, 1)])
    samples = Samples(*np.array([(0, 1, 1010, 0), (1, 1, 1020, 0), (3, 1, 1021, 0)], dtype=np.int64).T)
    assert wrong_dues(samples, part, 2, 1000) == 1
    assert wrong_dues(samples, part, 2, 999) == 3


def test_events_without_a_probe_are_not_independent() -> None:
    """Both probes are in room 0; and nothing of a room without events is measured."""
    processes = delivered()
    assert independent_events(processes, PART, 2) == EVENTS
    part = Window(0, 20, [Due(10, 0, n) for n in range(3)])
    strangers = [records(1, [], [(1, n, 10, 20) for n in range(-3, 3)])]
    assert not len(measured_samples(strangers, part, 2).n)


def marks(begin: Totals, end: Totals, final: Totals, cpu_ns: int = 0, at_ns: int = 10**9) -> Records:
    """FAKE: from 0.5 s on, for ``at_ns``."""
    return Records(
        1,
        [],
        [],
        b"",
        Mark(begin._asdict(), 10**9, 10**9 // 2),
        Mark(end._asdict(), 10**9 + cpu_ns, 10**9 // 2 + at_ns),
        Mark(final._asdict(), 0, 0),
        {},
        [],
        {},
        {},
    )


BEGIN = Totals(
    opened=7, stream_bytes=5000, header_bytes=900, requests=11, heartbeats=1, deliveries=3, payload_bytes=768
)
"""Before the measured part. ``MOVED`` in it, and ``FINAL`` at the end."""
MOVED = Totals(
    opened=2,
    stream_bytes=3_296,
    header_bytes=1_344,
    requests=5,
    heartbeats=6,
    deliveries=10,
    payload_bytes=2560,
    segments_in=13,
)
FINAL = Totals(
    opened=8, closed=4, stream_bytes=9000, header_bytes=3000, setup_bytes=4000, closing_bytes=600, deliveries=50
)
IDLE = Idle(cycle_bytes=172, cycle_stream_bytes=16, cycles=6, period_s=15.0)


def processes() -> list[Records]:
    """FAKE: two, of which each moved half."""
    half = Totals(*(value / 2 for value in MOVED))
    end = Totals(*(a + b for a, b in zip(BEGIN, half, strict=True)))
    return [marks(BEGIN, end, Totals(*(value / 2 for value in FINAL)))] * 2


def test_bytes_of_a_stream_are_split_by_cause() -> None:
    found = byte_metrics(processes(), "websocket", 3.0, 4, IDLE, 1.0)
    assert found == pytest.approx(
        {
            "heartbeat_bytes_per_event": 172 / 15 * 4 * 3 / 10,
            "payload_bytes_per_event": 256,
            "framing_bytes_per_event": (3296 - 6 * 16 - 2560) / 10,
            "tcp_ip_bytes_per_event": (1344 - 6 * 156) / 10,
            "wire_bytes_per_event": (3296 - 6 * 16 + 1344 - 6 * 156) / 10 + 172 / 15 * 4 * 3 / 10,
            "segments_per_event": 1.3,
            "requests_per_event": 0.5,
            "connections_per_event": 0.2,
            "events_per_response": 2,
            "setup_bytes_per_connection": 500,
            "closing_bytes_per_connection": 150,
            "life_bytes_per_event": 240,
            "idle_bytes_per_s": 172 / 15,
        }
    )


@pytest.mark.parametrize(("transport", "idle", "period_s"), [("polling", IDLE, 2.0), ("long_polling", IDLE, 15.0)])
def test_bytes_of_polls_hold_their_empty_answers(transport: str, idle: Idle, period_s: float) -> None:
    found = byte_metrics(processes(), transport, 3.0, 4, idle, 2.0)
    assert "heartbeat_bytes_per_event" not in found
    assert found["framing_bytes_per_event"] == pytest.approx(73.6)
    assert found["wire_bytes_per_event"] == pytest.approx(464)
    assert found["idle_bytes_per_s"] == pytest.approx(172 / period_s)


def test_what_was_not_counted_has_no_bytes() -> None:
    """By a generator that is not ours; without a delivery; without an idle cycle; with connections that stay open."""
    only_deliveries = marks(Totals(), Totals(deliveries=4, requests=2), Totals(deliveries=4, requests=2))
    assert byte_metrics([only_deliveries], "sse", 1.0, 1, None, 1.0) == {"events_per_response": 2}
    only_bytes = marks(Totals(), MOVED._replace(deliveries=0), FINAL._replace(deliveries=0))
    assert byte_metrics([only_bytes], "sse", 1.0, 1, None, 1.0) == {}
    no_idle = byte_metrics(processes(), "websocket", 3.0, 4, None, 1.0)
    assert no_idle["wire_bytes_per_event"] == pytest.approx(464) and "idle_bytes_per_s" not in no_idle
    open_still = marks(Totals(), MOVED, FINAL._replace(closed=0))
    assert byte_metrics([open_still], "sse", 1.0, 1, None, 1.0)["closing_bytes_per_connection"] == 600


def reading(server_ms: int, relay_ms: int, ticks: tuple[int, int], machine: Machine) -> Reading:
    return Reading(server_ms * MS, relay_ms * MS, *ticks, machine)


STATS: dict[str, Any] = {
    "publisher_lateness": {"us_p50": 11.0, "us_p99": 12.0},
    "loop_lag": {"us_p99": 13.0},
    "gc_pauses": {"max_ms": 14.0},
}
RELAY: dict[str, Any] = {"release_lateness": {"us_p50": 15.0, "us_p99": 16.0}}
GAUGES = Gauges(
    window_s=2.0,
    begin=reading(100, 50, (10, 20), Machine(10.0, 1.0, 100.0, 5.0)),
    end=reading(400, 130, (40, 40), Machine(13.0, 1.2, 104.0, 7.6)),
    server_idle_share=0.01,
    rss_growth_bytes=8000,
    kernel_growth_bytes=4000,
    server_stats=STATS,
    relay_stats=RELAY,
    hiccups=[{"us_p99": 1700.0, "us_max": 2500.0}, {"us_p99": 1900.0, "us_max": 2100.0}],
    drain_hiccups=[{"us_p99": 9900.0, "us_max": 9900.0}],
)


def generators() -> list[Records]:
    """FAKE: a process with probes that used 0.3 of a core, and one with load that used 0.45."""
    probes = marks(BEGIN, BEGIN._replace(deliveries=13, requests=15), FINAL, 300 * MS)
    load = marks(BEGIN, BEGIN._replace(deliveries=33, requests=17), FINAL, 900 * MS, 2 * 10**9)
    probes.probes, probes.loop_lag, probes.gc_pauses = [0], {"us_p99": 21.0}, {"max_ms": 0.5}
    load.loop_lag, load.gc_pauses = {"us_p99": 99.0}, {"max_ms": 0.7}
    return [probes, load]


def test_cost_is_what_the_meters_say() -> None:
    busy_us = (300 * MS - 0.01 * 2 * 10**9) / 1000
    assert cost_metrics(generators(), GAUGES, 16) == pytest.approx(
        {
            "server_cpu_share": 0.15,
            "generator_cpu_share": 0.45,
            "rss_bytes_per_connection": 500,
            "kernel_bytes_per_connection": 250,
            "publisher_lateness_us_p50": 11,
            "publisher_lateness_us_p99": 12,
            "server_loop_lag_us_p99": 13,
            "server_gc_pause_ms_max": 14,
            "hiccup_ms_p99": 1.9,
            "hiccup_ms_max": 2.5,
            "steal_share": 0.05,
            "other_load_share": 0.1,
            "probe_loop_lag_us_p99": 21,
            "generator_gc_pause_ms_max": 0.7,
            "server_user_share": 0.6,
            "generator_cpu_us_per_event": 1_200_000 / 40,
            "received_events_per_s": 10 / 1 + 30 / 2,
            "server_cpu_us_per_event": busy_us / 40,
            "server_cpu_us_per_request": busy_us / 10,
            "relay_cpu_share": 0.04,
            "relay_lateness_us_p50": 15,
            "relay_lateness_us_p99": 16,
        }
    )


def test_without_relay_meters_or_deliveries_there_is_less() -> None:
    quiet = marks(Totals(), Totals(), Totals())
    few_ticks = GAUGES.end._replace(server_user_ticks=15, server_system_ticks=24)
    found = cost_metrics([quiet], GAUGES._replace(relay_stats={}, hiccups=[], end=few_ticks), 1)
    assert (found["hiccup_ms_p99"], found["hiccup_ms_max"]) == (0, 0)
    absent = {"probe_loop_lag_us_p99", "generator_gc_pause_ms_max", "server_user_share", "relay_cpu_share"}
    absent |= {"generator_cpu_us_per_event", "server_cpu_us_per_event", "server_cpu_us_per_request"}
    assert not absent & set(found)
    just_enough = GAUGES._replace(end=few_ticks._replace(server_user_ticks=16))
    assert cost_metrics([quiet], just_enough, 1)["server_user_share"] == pytest.approx(0.6)


def test_the_worst_stall_is_the_longest_of_all_cores() -> None:
    assert worst_hiccup_ms(GAUGES.hiccups + GAUGES.drain_hiccups) == 9.9
    assert worst_hiccup_ms([]) == 0
