"""The cost and generator benchmarks: plans, the pipeline with a fake trial, what the report says, the real thing."""

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.generators.spec import Mark, Records
from bench.machine.host import placement
from bench.machine.processes import user_and_system_ticks
from bench.plan.timing import expected_s
from bench.plan.trials import Planned, TrialPlan, schedule_of
from bench.results.files import COST_FILE, GENERATOR_FILE, ResultsError, read, save
from bench.results.run import Counts, Plan, Trial
from bench.results.sweep import SweepResults
from bench.run.progress import Lines
from bench.run.runner import Batch, run_planned
from bench.sweeps.cost import GENERATOR_PRESETS, PRESETS, Sections, cost_trials
from bench.sweeps.sweep import Sweep, new_sweep
from bench.trial.conduct import blank
from bench.trial.evaluate import Measurement, _reasons
from bench.trial.validity import collector_reasons, cost_reasons, saturation_reasons
from clients.core.ledger import Totals
from feed.schedule import dues
from feed.transports import TRANSPORTS
from reports.cli import main as reports_main
from reports.sections.cost import reached, summarize_cost
from reports.sections.generator import generator_section
from reports.statistics import Estimate
from tests.conftest import invoke, run_module, unfit
from tests.helpers.fake_results import fake_results

OURS = ("locust", "bare")
CPU_US = {"raw": 8.0, "websocket": 17.0, "sse": 26.0, "socketio": 60.0, "long_polling": 110.0, "polling": 90.0}
DISTURBANCE = (0.97, 1.0, 1.02, 1.01, 0.99)
"""Of a whole block: ratios within it do not see it."""


async def fake_trial(plan: Plan, trial: TrialPlan, attempt: int) -> Trial:
    """FAKE: a trial that never took place, with plausible numbers."""
    record = blank(plan, trial, attempt, "2026-01-01T00:00:00+00:00")
    record.purpose = trial.purpose
    cost = CPU_US[trial.transport] * (0.6 if trial.variant else 1.0) * DISTURBANCE[trial.block % 5]
    receive = 20.0 * (1.05 if trial.generator == "locust" else 1.0) * DISTURBANCE[trial.block % 5]
    record.metrics = {
        "server_cpu_us_per_event": cost,
        "server_cpu_us_per_request": cost,
        "server_user_share": 0.6,
        "server_cpu_share": 0.4,
        "generator_cpu_us_per_event": receive,
        "generator_cpu_share": 0.5,
        "received_events_per_s": 20_000.0,
        "rss_bytes_per_connection": 1024.0 * cost,
        "kernel_bytes_per_connection": 0.0,
    }
    expected = plan.subscribers * plan.measured_events
    record.counts = Counts(expected, expected, 0, 0, 0, 0, 0)
    return record


def measured(planned: list[Planned], folder: Path, name: str) -> SweepResults:
    """FAKE results of a plan."""
    results = new_sweep(Sweep(name, "default", 1, planned), ["python", "-m", "bench"], placement([0, 1]))
    asyncio.run(run_planned(Batch(results, planned, folder, name), fake_trial, Lines(Console(quiet=True))))
    results.finished = True
    return results


@pytest.mark.parametrize("presets", (PRESETS, GENERATOR_PRESETS))
@pytest.mark.parametrize("preset", ("default", "smoke"))
def test_plans_are_complete_and_reproducible(presets: dict[str, Sections], preset: str) -> None:
    planned = cost_trials(presets[preset], seed=3)
    assert planned == cost_trials(presets[preset], seed=3)
    assert len({one.trial.id for one in planned}) == len(planned)
    for name, section in presets[preset].items():
        trials = [one for one in planned if one.section == name]
        assert len(trials) == len(section.cases(1 << 20)) * section.repeats
        per_block = Counter(
            (one.trial.block, one.trial.transport, one.trial.variant, one.trial.gc, one.trial.generator, one.load)
            for one in trials
        )
        assert set(per_block.values()) == {1}
    for one in planned:
        assert one.trial.transport in TRANSPORTS and one.trial.rtt_ms == 0
        row = TRANSPORTS[one.trial.transport]
        assert not one.trial.variant or one.trial.variant in row.variants + row.measuring_only
        assert one.plan.probes == one.plan.subscribers, "one process receives"


def test_the_main_section_is_what_was_asked_for() -> None:
    main = [one for one in cost_trials(PRESETS["default"], 1) if one.section == "main"]
    assert {(one.plan.subscribers, one.plan.rate_hz, one.plan.payload_bytes, one.plan.rooms) for one in main} == {
        (200, 100.0, 256, 1)
    }
    low_rate = [one for one in cost_trials(PRESETS["default"], 1) if one.section == "low_rate"]
    assert {one.trial.transport for one in main} == set(TRANSPORTS) - {"socketio"}, "its client is full long before"
    assert {one.trial.transport for one in low_rate} == set(TRANSPORTS)
    first = [one.trial.transport for one in main if one.trial.block == 1]
    second = [one.trial.transport for one in main if one.trial.block == 2]
    assert first != second, "blocks are shuffled"
    assert {one.trial.block for one in cost_trials(PRESETS["default"], 1, blocks=7, names=["main"])} == set(range(1, 8))


def test_the_default_run_takes_at_most_20_minutes() -> None:
    planned = cost_trials(PRESETS["default"], 1)
    assert sum(expected_s(one.plan, one.trial) for one in planned) <= 20 * 60


def test_growth_has_both_collectors_and_all_other_sections_pythons_own() -> None:
    planned = cost_trials(PRESETS["default"], 1)
    tuned = {(one.trial.transport, one.load) for one in planned if one.trial.gc == "tuned"}
    assert {one.section for one in planned if one.trial.gc == "tuned"} == {"subscribers"}
    assert {("websocket", "10,000"), ("sse", "10,000"), ("socketio", "5,000")} <= tuned
    assert {(one.trial.transport, one.load) for one in planned if one.trial.gc == "default"} >= tuned


def test_many_subscribers_get_one_event_at_a_time() -> None:
    """The events of a Poisson process come two at a time now and then, which saturates server and client."""
    planned = cost_trials(PRESETS["default"], 1)
    assert {one.plan.schedule for one in planned if one.section == "subscribers"} == {"constant"}
    assert {one.plan.schedule for one in planned if one.section != "subscribers"} == {"poisson"}
    largest = next(one for one in planned if one.load == "10,000")
    events = list(dues(schedule_of(largest.plan, largest.trial)))
    assert [due.offset_ns / 1e9 for due in events] == [2, 4, 6, 8, 10]


def test_blocks_of_named_sections_are_as_many_as_asked_for() -> None:
    assert {one.trial.block for one in cost_trials(PRESETS["default"], 1, blocks=4, names=["rate"])} == {1, 2, 3, 4}
    assert {one.trial.block for one in cost_trials(PRESETS["default"], 1, blocks=4) if one.section == "rate"} == {1}


def test_loads_that_need_too_many_files_are_left_out() -> None:
    few = cost_trials(PRESETS["default"], 1, names=["subscribers"], open_files=4096)
    assert {one.load for one in few} == {"10", "100", "1,000"}


def test_a_run_is_saved_read_back_and_summed_up(tmp_path: Path) -> None:
    results = measured(cost_trials(PRESETS["default"], 1), tmp_path, COST_FILE)
    again = read(tmp_path / COST_FILE, SweepResults)
    assert [one.trial.id for one in again.trials] == [one.trial.id for one in results.trials]
    summary = summarize_cost(again)
    goals = {row[0]: row for row in summary.tables[0].rows if "baseline" in row[1]}
    assert goals["WebSocket"][3] == "reached" and goals["SSE"][3] == "missed"
    assert goals["WebSocket"][2].startswith("2.12"), "the disturbance of a block drops out of the ratio"
    per_request = {bar.arm: bar.total.value for bar in summary.per_request}
    assert per_request["polling:tuned"] == pytest.approx(0.6 * per_request["polling"])
    assert summary.growth.keys() == {"subscribers", "rate", "payload"}
    assert list(summary.growth["subscribers"]["sse"]) == ["10", "100", "1,000", "5,000", "10,000"]


def test_a_loss_among_many_subscribers_is_shown(tmp_path: Path) -> None:
    """The trial is invalid, so its cost is left out; the goal that nothing is lost must not vanish with it."""
    results = measured(cost_trials(PRESETS["default"], 1, names=["subscribers"]), tmp_path, COST_FILE)
    trial = next(one.trial for one in results.trials if one.trial.subscribers == 5000 and one.trial.transport == "sse")
    trial.counts, trial.status, trial.reasons = Counts(10, 9, 1, 0, 0, 0, 0), "invalid", ["1 deliveries lost"]
    rows = [row for row in summarize_cost(results).tables[0].rows if row[0] == "SSE"]
    assert ["SSE", "5,000 subscribers, nothing lost", "9 of 10 delivered", "missed"] in rows


def test_a_missed_objective_fails_whatever_is_printed(tmp_path: Path) -> None:
    results = fake_results()
    results.plan = msgspec.structs.replace(results.plan, slo=["latency_p50_ms < 1"])
    save(results, tmp_path)
    measured(cost_trials(PRESETS["default"], 1, names=["requests"]), tmp_path, COST_FILE)
    done = CliRunner().invoke(reports_main, [str(tmp_path), "--json"])
    assert done.exit_code == 1 and "Missed: " in done.stderr and json.loads(done.stdout)


def test_a_load_without_a_number_is_one_clear_line(tmp_path: Path) -> None:
    measured(cost_trials(PRESETS["default"], 1, names=["subscribers"]), tmp_path, COST_FILE)
    path = tmp_path / COST_FILE
    path.write_bytes(path.read_bytes().replace(b'"load": "1,000"', b'"load": "many"'))
    done = CliRunner().invoke(reports_main, [str(tmp_path)])
    assert done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1 and "many" in done.stderr


def test_the_report_has_the_sections(tmp_path: Path) -> None:
    measured(cost_trials(PRESETS["default"], 1), tmp_path, COST_FILE)
    measured(cost_trials(GENERATOR_PRESETS["default"], 1), tmp_path, GENERATOR_FILE)
    shown = CliRunner().invoke(reports_main, [str(tmp_path), "--details"])
    assert shown.exit_code == 0, shown.output
    for text in (shown.output, (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()):
        assert "What a delivery costs the server" in text and "What receiving costs the load side" in text
        assert "WebSocket, tuned" in text and "Node&#39;s ws" in text.replace("Node's", "Node&#39;s")
    for figure in ("cost_cpu", "cost_memory", "cost_growth"):
        assert (tmp_path / "figures" / f"{figure}.png").stat().st_size > 10_000
    found = json.loads(CliRunner().invoke(reports_main, [str(tmp_path), "--json"]).output)
    assert {bar["arm"] for bar in found["per_event"]} >= {"raw", "websocket", "sse:plain"}


def test_a_saturated_or_lossy_trial_does_not_count() -> None:
    fine, lossy = Counts(10, 10, 0, 0, 0, 0, 0), Counts(10, 9, 1, 0, 0, 0, 0)
    easy, busy = (
        {"server_cpu_share": 0.5, "generator_cpu_share": 0.5},
        {"server_cpu_share": 0.5, "generator_cpu_share": 0.99},
    )
    assert cost_reasons(easy, fine, closed_loop=False) == []
    assert "generator was saturated" in cost_reasons(busy, fine, closed_loop=False)[0]
    assert cost_reasons(busy, fine, closed_loop=True) == [], "a busy poller asks less often"
    assert "1 deliveries were lost" in cost_reasons(easy, lossy, closed_loop=True)[0]
    assert saturation_reasons(busy) == []
    assert "not saturated" in saturation_reasons(easy)[0]


@pytest.mark.parametrize(
    ("asked", "found", "said"),
    [
        ("default", {"enabled": True, "frozen_objects": 0}, ""),
        ("tuned", {"enabled": True, "frozen_objects": 50_000}, ""),
        ("tuned", {"enabled": True, "frozen_objects": 0}, "was default, planned tuned"),
        ("default", {"enabled": True, "frozen_objects": 7}, "was tuned, planned default"),
        ("default", {"enabled": False, "frozen_objects": 0}, "was off, planned default"),
    ],
)
def test_a_server_with_another_collector_than_planned_does_not_count(
    asked: str, found: dict[str, object], said: str
) -> None:
    reasons = collector_reasons(asked, found)
    assert said in reasons[0] if said else not reasons


OTHER_COLLECTOR = ["the server's garbage collector was default, planned tuned"]
CUT = ["{:,} deliveries came within the measured part, {:,} of it were due: an edge cut them"]


@pytest.mark.parametrize(
    ("frozen", "received", "expected"),
    [
        (50_000, 1.0, []),
        (0, 1.0, OTHER_COLLECTOR),
        (50_000, 0.96, []),
        (50_000, 0.41, CUT),  # its collector paused for longer than the gap
        (50_000, 1.06, CUT),  # what was due before came within
        (0, 0.9, CUT + OTHER_COLLECTOR),
    ],
)
def test_a_trial_with_another_collector_or_without_its_deliveries_is_invalid(
    frozen: int, received: float, expected: list[str]
) -> None:
    """By what the server said of itself, and by what came between the edges, whatever was planned."""
    planned = next(one for one in cost_trials(PRESETS["default"], 1, names=["subscribers"]) if one.trial.gc == "tuned")
    record = asyncio.run(fake_trial(planned.plan, planned.trial, 1))
    assert record.counts is not None
    deliveries = round(received * record.counts.expected)
    gauges = SimpleNamespace(server_stats={"collector": {"enabled": True, "frozen_objects": frozen}})
    begin, end = (Mark(Totals(deliveries=n)._asdict(), 0, 0) for n in (7, 7 + deliveries))
    records = [Records(1, [], [], b"", begin, end, end, {}, [], {}, {})]
    measured = SimpleNamespace(gauges=gauges, published=schedule_of(planned.plan, planned.trial).limit, records=records)
    said = [one.format(deliveries, record.counts.expected) for one in expected]
    assert _reasons(planned.plan, planned.trial, record, cast(Measurement, measured)) == said


def test_the_floor_stands_next_to_the_baseline(tmp_path: Path) -> None:
    """FAKE costs: the floor is 0.6 of the baseline. The checks that it did not pass are named."""
    results = measured(cost_trials(PRESETS["default"], 1, names=["main"]), tmp_path, COST_FILE)
    for one in results.trials:
        one.trial.preflight = ["delivers", *([] if one.trial.variant == "floor" else ["resumes"])]
    summary = summarize_cost(results)
    ratios = {bar.arm: bar.of_floor.value for bar in summary.per_event if bar.of_floor}
    assert ratios["raw"] == pytest.approx(1 / 0.6) and "raw:floor" not in ratios
    assert ratios["sse"] == pytest.approx(CPU_US["sse"] / (0.6 * CPU_US["raw"]))
    table = next(table for table in summary.tables if "× floor" in table.head)
    assert any("so that resumes of the contract's checks" in note for note in table.notes)
    assert "limit" not in str(table) and "least" not in str(table), "others cost less than the floor"


def test_invalid_trials_are_left_out_and_named(tmp_path: Path) -> None:
    results = measured(cost_trials(GENERATOR_PRESETS["default"], 1), tmp_path, GENERATOR_FILE)
    broken = results.trials[0].trial
    broken.status, broken.reasons = "invalid", ["the test says so"]
    section = generator_section(results)
    assert section.cautions == [f"{broken.id} left out: the test says so."]


@pytest.mark.parametrize(
    ("low", "value", "high", "word"),
    [(1, 2, 2.9, "reached"), (1, 2, 3.1, "open"), (3.1, 4, 5, "missed"), (None, 2, None, "open"), (3, 3, 3, "reached")],
)
def test_a_goal_is_judged_by_the_interval(low: float | None, value: float, high: float | None, word: str) -> None:
    assert reached(Estimate(value, low, high, 5), 3.0) == word


def test_a_bad_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / COST_FILE
    path.write_text('{"schema_version": 1}')
    with pytest.raises(ResultsError, match="missing required field"):
        read(path, SweepResults)
    shown = CliRunner().invoke(reports_main, [str(tmp_path)])
    assert shown.exit_code == 2 and str(path) in shown.output and "Traceback" not in shown.output


def test_user_and_system_time_add_up() -> None:
    before = user_and_system_ticks(os.getpid())
    began = time.process_time()
    while time.process_time() < began + 0.3:
        sum(range(1000))
    after = user_and_system_ticks(os.getpid())
    ticks = sum(after) - sum(before)
    assert 0.25 <= ticks / os.sysconf("SC_CLK_TCK") <= 0.5
    assert after[0] - before[0] > after[1] - before[1], "summing is done in user mode"


def test_existing_results_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / COST_FILE).write_text("{}")
    done = invoke("bench", "cost", "--preset", "smoke", "--out", str(tmp_path))
    assert done.returncode == 2 and "never mixed or overwritten" in done.stderr


def test_an_unknown_section_is_named() -> None:
    done = invoke("bench", "cost", "--sections", "main,nonsense")
    assert done.returncode == 2 and "nonsense" in done.stderr and "payload" in done.stderr


@pytest.mark.long
def test_the_smoke_preset_end_to_end(tmp_path: Path) -> None:
    done = run_module("bench", "cost", "--preset", "smoke", "--json", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / COST_FILE, SweepResults)
    trials = [one.trial for one in results.trials]
    assert all(trial.status != "failed" and trial.metrics for trial in trials), [trial.reasons for trial in trials]
    assert json.loads(done.stdout).keys() >= {"per_event", "low_rate"}
    for trial in trials:
        trial.status = "ok"  # other tests run next to this one
    summary = summarize_cost(results)
    assert (len(summary.per_event), len(summary.low_rate)) == (8, 3)
    assert {trial.gc for trial in trials if trial.variant == ""} == {"default", "tuned"}
    uncut = [trial for trial in trials if not any("cut" in note for note in trial.notes)]
    assert uncut and all(trial.metrics["segments_per_event"] > 0 for trial in uncut), (
        "an edge may cut some next to others"
    )
    assert (tmp_path / "figures").is_dir()


def test_the_generators_end_to_end(tmp_path: Path) -> None:
    """locust, the bare client and Node's ws receive the same feed, and each says what it cost."""
    done = run_module("bench", "generator", "--preset", "smoke", "--out", str(tmp_path))
    trials = [one.trial for one in read(tmp_path / GENERATOR_FILE, SweepResults).trials]
    assert {trial.generator for trial in trials} == {"locust", "bare", "node", "socketiouser"}
    assert not [trial.reasons for trial in trials if trial.status == "failed"], done.stderr + done.stdout
    # Beside other tests the publisher may come too late, for a trial or for its measured part.
    assert all(trial.metrics or unfit(trial) for trial in trials)
    measured = [trial for trial in trials if "generator_cpu_us_per_event" in trial.metrics]
    assert all(trial in measured for trial in trials if trial.status == "ok")
    assert len(measured) > 1
    for trial in measured:
        assert trial.counts is not None and (trial.counts.lost == 0 or trial.status == "invalid"), trial.reasons
        assert trial.metrics["generator_cpu_us_per_event"] > 0
        assert ("wire_bytes_per_event" in trial.metrics) == (trial.generator in OURS), "the others count no bytes"
