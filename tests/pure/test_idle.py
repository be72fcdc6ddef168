"""What an idle subscriber and an idle server cost: one input of many trials, so that each rule about it is planted."""

from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from bench.generators.spec import Mark, Records
from bench.machine.hiccup import Hiccups
from bench.machine.host import placement
from bench.machine.load import Machine
from bench.plan.presets import make_plan
from bench.plan.trials import trials
from bench.results.run import Idle, IdleRepeat
from bench.trial import evaluate, metrics
from bench.trial.conduct import blank
from bench.trial.context import RunContext
from bench.trial.idle import CYCLES, LEAST_REPEATS, REPEATS, ROUNDS, SCATTER_BYTES, judged, repeat_of, summary
from bench.trial.metrics import Gauges, Reading, byte_metrics, cost_metrics
from clients.core.ledger import Totals
from feed.instruments.clock import NS_PER_S
from reports.blocks import main_blocks
from reports.sections.breakeven import break_evens
from reports.theory.traffic import traffic
from tests.helpers.fake_results import fake_results

GOOD = IdleRepeat(172.0, 16.0, 6)


def test_the_bounds_are_what_the_measurement_says() -> None:
    assert (CYCLES, LEAST_REPEATS, ROUNDS, SCATTER_BYTES) == (6, 3, 3, 5.0)
    assert (REPEATS.start, REPEATS.stop - 1) == (5, 10)


def readings(cycles_bytes: list[int], opened: int = 0) -> list[Totals]:
    """Totals after each of these cycles; ``opened``: connections in the last one."""
    found = [Totals(opened=1, stream_bytes=1000, header_bytes=500, heartbeats=2)]
    for size in cycles_bytes:
        last = found[-1]
        found.append(
            last._replace(
                stream_bytes=last.stream_bytes + 16,
                header_bytes=last.header_bytes + size - 16,
                heartbeats=last.heartbeats + 1,
            )
        )
    found[-1] = found[-1]._replace(opened=1 + opened)
    return found


def test_late_acknowledgements_in_two_cycles_of_six_do_not_move_the_median_cycle() -> None:
    assert repeat_of(readings([172, 224, 172, 276, 172, 172]), "websocket", 0) == GOOD


def test_two_cycles_between_two_readings_are_two() -> None:
    of = readings([172] * 7)
    assert repeat_of(of[:3] + of[4:], "websocket", 0) == msgspec.structs.replace(GOOD, cycles=7)


@pytest.mark.parametrize(("opened", "reconnects"), [(1, 0), (0, 1), (2, 1)])
def test_a_reconnection_is_noted_by_client_or_ledger(opened: int, reconnects: int) -> None:
    one = repeat_of(readings([172] * 5 + [2000], opened), "websocket", reconnects)
    assert one.reconnections == max(opened, reconnects)
    assert "reconnections during the cycles" in judged([GOOD, one, GOOD])[1].reason


@pytest.mark.parametrize(("cycle_bytes", "counts"), [(172.0, True), (177.0, True), (177.1, False), (166.9, False)])
def test_a_repeat_far_from_the_others_does_not_count(cycle_bytes: float, counts: bool) -> None:
    one = msgspec.structs.replace(GOOD, cycle_bytes=cycle_bytes)
    judged_one = judged([GOOD, GOOD, one, GOOD, GOOD])[2]
    assert judged_one.reason == "" if counts else "from the median; allowed are 5 B" in judged_one.reason


def test_what_does_not_count_is_in_no_mean_and_too_few_are_none() -> None:
    """The 427 instead of 172 that a reconnection once made of WebSocket's heartbeat."""
    reconnected = IdleRepeat(427.0, 200.0, 6, reconnections=1)
    found = summary(judged([GOOD, reconnected, GOOD, GOOD]), 15.0, "")
    assert (found.cycle_bytes, found.cycle_stream_bytes, found.cycles, found.reason) == (172.0, 16.0, 18, "")
    assert len(found.repeats) == 4 and len(found.counting) == 3
    few = summary(judged([GOOD, reconnected, reconnected, GOOD]), 15.0, "")
    assert few.reason == ("an idle cycle was measured by 2 subscribers, 3 needed: 1 reconnections during the cycles")
    none = summary([], 15.0, "ChildError: the server did not start")
    assert none.reason.endswith("by 0 subscribers, 3 needed: ChildError: the server did not start")


def test_each_block_has_the_cycle_of_another_subscriber() -> None:
    sizes = [170.0, 172.0, 174.0]
    idle = summary([IdleRepeat(size, 16.0, 6) for size in sizes], 15.0, "")
    assert [idle.of_block(block).cycle_bytes for block in range(1, 6)] == [170.0, 172.0, 174.0, 170.0, 172.0]
    older = Idle(172.0, 16.0, 6, 15.0)
    assert older.of_block(4) is older


def record(begin: Totals, end: Totals) -> Records:
    marks = [Mark(of._asdict(), 0, at_ns) for of, at_ns in ((begin, 0), (end, 10 * NS_PER_S), (end, 10 * NS_PER_S))]
    return Records(1, [0], [], b"", *marks, counts={}, failures=[], loop_lag={}, gc_pauses={})


@pytest.mark.parametrize("heartbeats", [0, 3])
def test_heartbeats_count_at_their_long_run_rate_however_many_fell_into_the_window(heartbeats: int) -> None:
    """100 deliveries of 500 B to 10 subscribers in 10 s; 172 B every 15 s each are 11.47 B a delivery."""
    moved = Totals(
        stream_bytes=40_000 + 16 * heartbeats,
        header_bytes=10_000 + 156 * heartbeats,
        heartbeats=heartbeats,
        deliveries=100,
        payload_bytes=25_600,
    )
    found = byte_metrics([record(Totals(), moved)], "websocket", 10.0, 10, Idle(172.0, 16.0, 6, 15.0), 1.0)
    assert found["heartbeat_bytes_per_event"] == pytest.approx(11.4667, abs=1e-4)
    assert found["wire_bytes_per_event"] == pytest.approx(511.4667, abs=1e-4)
    assert found["framing_bytes_per_event"] == 144.0 and found["tcp_ip_bytes_per_event"] == 100.0
    assert found["idle_bytes_per_s"] == pytest.approx(11.4667, abs=1e-4)


def test_what_the_server_uses_with_nobody_connected_is_subtracted_once() -> None:
    """1 s of CPU in 10 s, of which 0.2 s with nobody connected: 80 us each of 10,000 deliveries; 100 if it were not
    subtracted, and 60 if twice."""
    machine = Machine(0.0, 0.0, 0.0, 0.0)
    meter = {"us_p50": 0.0, "us_p99": 0.0}
    gauges = Gauges(
        window_s=10.0,
        begin=Reading(5 * NS_PER_S, 0, 0, 0, machine),
        end=Reading(6 * NS_PER_S, 0, 0, 0, machine),
        server_idle_share=0.02,
        rss_growth_bytes=0,
        kernel_growth_bytes=0,
        server_stats={"publisher_lateness": meter, "loop_lag": meter, "gc_pauses": {"max_ms": 0.0}},
        relay_stats={},
        hiccups=[],
        drain_hiccups=[],
    )
    found = cost_metrics([record(Totals(), Totals(deliveries=10_000, requests=4000))], gauges, 1)
    assert found["server_cpu_us_per_event"] == pytest.approx(80.0)
    assert found["server_cpu_us_per_request"] == pytest.approx(200.0)
    assert found["server_cpu_share"] == pytest.approx(0.1), "with the idle share: it says how busy the server was"


def test_the_report_has_the_interval_over_subscribers_and_names_those_that_do_not_count() -> None:
    results = fake_results()
    sizes = (170.0, 172.0, 174.0, 427.0)
    repeats = judged([IdleRepeat(size, 16.0, 6) for size in sizes])
    results.idle = {name: summary(repeats, 15.0, "") for name in results.plan.transports}
    found = break_evens(results, main_blocks(results))
    assert found is not None
    idle = found.tables[1]
    assert idle.rows[0][1] == "30.2 [29.3, 31.0] MB"
    assert "Polling: 1 of 4 subscribers do not count: 427.0 B a cycle" in " ".join(idle.notes)


def test_a_stream_breaks_even_in_each_block_with_the_cycles_of_that_block() -> None:
    results = fake_results()
    results.idle = {"sse": summary([IdleRepeat(size, 16.0, 6) for size in (110.0, 117.0, 124.0)], 15.0, "")}
    found = traffic(results, main_blocks(results), "sse")
    assert {block: of.per_cycle for block, of in found.items()} == {
        block: results.idle["sse"].of_block(block).cycle_bytes for block in found
    }
    assert len({of.per_cycle for of in found.values()}) == 3


class EvaluatedError(Exception):
    """Raised with the idle cycle that a trial is evaluated with."""


def test_a_trial_is_evaluated_with_the_cycles_of_its_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(records: object, transport: str, window_s: float, subscribers: int, idle: Idle, *_: object) -> None:
        raise EvaluatedError(idle.cycle_bytes)

    for name in ("_samples", "_late_after_ms"):
        monkeypatch.setattr(evaluate, name, Mock())
    for name in ("count", "latency_metrics"):
        monkeypatch.setattr(metrics, name, Mock(return_value={}))
    monkeypatch.setattr(metrics, "byte_metrics", stop)
    plan = make_plan("smoke", transports=["sse"], blocks=3)
    cycles = {"sse": summary([IdleRepeat(size, 16.0, 6) for size in (110.0, 117.0, 124.0)], 15.0, "")}
    context = RunContext(plan, tmp_path, placement([0]), Hiccups(), cycles)
    for trial in trials(plan):
        with pytest.raises(EvaluatedError, match=str(cycles["sse"].of_block(trial.block).cycle_bytes)):
            evaluate.evaluate(context, trial, blank(plan, trial, 1, ""), Mock())
