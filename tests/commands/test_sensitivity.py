"""The grid of settings: its plan, the pipeline with a fake trial, what the report says, the real thing, small."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.machine.host import placement
from bench.plan.timing import expected_s
from bench.plan.trials import Planned, TrialPlan
from bench.results.files import SENSITIVITY_FILE, ResultsError, read, save
from bench.results.run import Plan, Trial
from bench.results.sweep import SweepResults
from bench.run.progress import Lines
from bench.run.runner import Batch, Measure, run_planned
from bench.sweeps.sensitivity import POLLING, PRESETS, idle_plan, sensitivity_trials
from bench.sweeps.sweep import Sweep, new_sweep
from bench.trial.conduct import blank
from feed.transports import TRANSPORTS
from reports.figures.sensitivity import draw_bandwidth, draw_latency
from reports.sections.sensitivity import Setting, summarize_sensitivity
from reports.table.ratings import BANDWIDTH_BOUNDS, LATENCY_BOUNDS, rate
from tests.conftest import ROOT, invoke, planned_count, render_as_valid, run_module
from tests.helpers.fake_results import put

SOFTWARE_MS = 0.8
"""FAKE: what every transport adds."""


async def fake_trial(plan: Plan, trial: TrialPlan, attempt: int) -> Trial:
    """FAKE: a trial that never took place. Polling waits half its interval, and asks once in each."""
    record = blank(plan, trial, attempt, "2026-01-01T00:00:00+00:00")
    wait_ms, bytes_ = SOFTWARE_MS, 480.0
    if trial.transport == POLLING:
        wait_ms += 500 * trial.poll_interval_s
        bytes_ = 480 + 900 / (plan.rate_hz / plan.rooms * trial.poll_interval_s)
    put(record, {"latency_ms_p50": trial.rtt_ms / 2 + wait_ms, "wire_bytes_per_event": bytes_})
    return record


def measured(planned: list[Planned], folder: Path, measure: Measure = fake_trial) -> SweepResults:
    """FAKE results of a plan."""
    sweep = Sweep(SENSITIVITY_FILE, "default", 1, planned)
    results = new_sweep(sweep, ["python", "-m", "bench", "sensitivity"], placement([0, 1]))
    batch = Batch(results, planned, folder, SENSITIVITY_FILE)
    asyncio.run(run_planned(batch, measure, Lines(Console(quiet=True))))
    results.finished = True
    return results


@pytest.mark.parametrize(("preset", "longest_s"), [("default", 660), ("smoke", 40)])
def test_the_grid_is_complete_reproducible_and_short(preset: str, longest_s: float) -> None:
    grid, planned = PRESETS[preset], sensitivity_trials(preset, list(TRANSPORTS), 3)
    assert planned == sensitivity_trials(preset, list(TRANSPORTS), 3)
    assert planned != sensitivity_trials(preset, list(TRANSPORTS), 4)
    assert len({one.trial.id for one in planned}) == len(planned)
    assert sum(expected_s(one.plan, one.trial) for one in planned) < longest_s
    counts = Counter(one.trial.transport for one in planned)
    points = len(grid.rtts_ms) * len(grid.subscribers)
    assert counts == {name: points * (len(grid.poll_intervals_s) if name == POLLING else 1) for name in TRANSPORTS}
    for one in planned:
        assert one.plan.probes == one.plan.subscribers == one.plan.rooms, "every subscriber's latency counts"
        assert one.plan.measured_events >= 20, "a median needs ten events above it"
        assert one.plan.between.is_plain and one.trial.rtt_ms == one.plan.rtt_ms > 0
        assert one.trial.poll_interval_s == one.plan.poll_interval_s
        assert one.trial.transport != POLLING or one.plan.duration_s >= one.plan.poll_interval_s


def test_heartbeats_are_spread_over_their_real_period() -> None:
    plan = idle_plan(["sse"], 1)
    assert plan.transports == ["sse"] and plan.heartbeat_s == 15


def test_an_invalid_trial_is_measured_again_twice_a_run_at_most(tmp_path: Path) -> None:
    planned = sensitivity_trials("default", list(TRANSPORTS), 1)
    once, always = planned[0].trial.id, planned[1].trial.id

    async def disturbed(plan: Plan, trial: TrialPlan, attempt: int) -> Trial:
        record = await fake_trial(plan, trial, attempt)
        record.status = "invalid" if trial.id == always or (trial.id == once and attempt == 1) else "ok"
        return record

    kept = [one.trial for one in measured(planned, tmp_path, disturbed).trials]
    assert [(of.id, of.attempt, of.status) for of in kept[:4]] == [
        (once, 1, "invalid"),
        (once, 2, "ok"),
        (always, 1, "invalid"),
        (always, 2, "invalid"),
    ]
    assert len(kept) == len(planned) + 2


def test_every_cell_has_the_word_that_the_rules_give(tmp_path: Path) -> None:
    measured(sensitivity_trials("default", list(TRANSPORTS), 1), tmp_path)
    results = read(tmp_path / SENSITIVITY_FILE, SweepResults)
    results.finished = True
    latency, bandwidth = summarize_sensitivity(results).maps
    grid = PRESETS["default"]
    assert latency.settings == sorted(Setting(rtt, hz) for rtt in grid.rtts_ms for hz in grid.subscribers)
    assert [line.name for line in latency.lines][:4] == [
        "Polling every 0.2 s",
        "Polling every 1 s",
        "Polling every 5 s",
        "Long polling",
    ]
    for line in latency.lines:
        for setting in latency.settings:
            transits = (setting.rtt_ms / 2 + SOFTWARE_MS + 500 * line.interval_s) / (setting.rtt_ms / 2)
            assert line.cells[setting].multiple == pytest.approx(transits)
            assert line.cells[setting].word == rate(transits, LATENCY_BOUNDS)
    predicted = {setting: cell.predicted for setting, cell in latency.lines[1].cells.items()}
    assert predicted == {setting: pytest.approx(1 + 1000 / setting.rtt_ms) for setting in latency.settings}
    assert all(cell.predicted is None for line in bandwidth.lines for cell in line.cells.values()), "no idle cycle"
    polling = bandwidth.lines[1]
    rare, often = polling.cells[Setting(40.0, 0.1)], polling.cells[Setting(40.0, 10.0)]
    assert rare.multiple == pytest.approx((480 + 9000) / 256) and rare.word == rate(rare.multiple, BANDWIDTH_BOUNDS)
    assert (rare.word, often.word) == ("high", "low"), "what nobody should mistake one setting for"


def test_the_words_are_counted_beside_the_articles(tmp_path: Path) -> None:
    summary = summarize_sensitivity(measured(sensitivity_trials("default", ["polling", "sse", "raw"], 1), tmp_path))
    rows = {row[0]: row[1:] for row in summary.tables[0].rows}
    assert rows["SSE"] == ["Low", "very low (6), medium (3)", "Low", "low (9)"]
    assert rows["Polling every 5 s"][:2] == ["High", "high (9)"]
    assert rows["Raw TCP"][0] == "-"
    assert any("One trial per setting" in caution for caution in summary.cautions)
    assert all(len(row) == len(table.head) for table in summary.tables for row in table.rows)


def test_what_was_not_measured_has_no_word(tmp_path: Path) -> None:
    results = measured(sensitivity_trials("smoke", ["sse", "websocket"], 1), tmp_path)
    bad = next(one.trial for one in results.trials if one.trial.transport == "sse" and one.trial.rtt_ms == 40)
    bad.status, bad.reasons = "invalid", ["the relay was the bottleneck"]
    results.finished = False
    summary = summarize_sensitivity(results)
    sse, websocket = summary.maps[0].lines
    assert len(sse.cells) == 1 and len(websocket.cells) == 2
    assert summary.tables[1].rows[0][2] == "–"
    assert {"The run was interrupted: settings are missing.", "1 trial left out: the relay was the bottleneck"} <= set(
        summary.cautions
    )
    assert draw_latency(summary) is not None


def test_nothing_measured_draws_nothing(tmp_path: Path) -> None:
    results = measured([], tmp_path)
    summary = summarize_sensitivity(results)
    assert summary.title == "Nothing was measured" and not summary.tables
    assert draw_latency(summary) is None and draw_bandwidth(summary) is None


@settings(deadline=None, derandomize=True, database=None, max_examples=10)
@given(st.sets(st.integers(0, 11)))
def test_any_part_of_the_grid_is_shown(tmp_path_factory: pytest.TempPathFactory, kept: set[int]) -> None:
    """After Ctrl-C: whatever was there until then."""
    planned = sensitivity_trials("smoke", list(TRANSPORTS), 1)
    chosen = [planned[i] for i in sorted(kept)]
    summary = summarize_sensitivity(measured(chosen, tmp_path_factory.mktemp("part")))
    assert sum(len(line.cells) for line in summary.maps[0].lines) == len(chosen)


def test_a_trial_without_its_load_is_named(tmp_path: Path) -> None:
    results = measured(sensitivity_trials("smoke", ["sse"], 1), tmp_path)
    results.loads = {}
    with pytest.raises(ResultsError, match=r"trial .*sse: its load"):
        summarize_sensitivity(results)


def test_the_section_stands_in_every_format(tmp_path: Path) -> None:
    measured(sensitivity_trials("default", list(TRANSPORTS), 1), tmp_path)
    done = invoke("reports", str(tmp_path), "--details")
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()):
        assert "How the words change with the setting" in text and "One trial per setting" in text
        assert "Polling every 0.2 s" in text
    for figure in ("sensitivity_latency", "sensitivity_bandwidth"):
        assert (tmp_path / "figures" / f"{figure}.png").stat().st_size > 10_000


def test_an_unknown_transport_is_named() -> None:
    done = invoke("bench", "sensitivity", "--transports", "carrier_pigeon")
    assert done.returncode == 2 and "carrier_pigeon" in done.stderr and "websocket" in done.stderr


@pytest.mark.long
def test_smoke_of_two_transports_for_real(tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("--preset", "smoke", "--transports", "polling,raw", "--out", str(out))
    done = run_module("bench", "sensitivity", *arguments)
    assert "left)" in done.stdout and "[4/4]" in done.stdout
    results = read(out / SENSITIVITY_FILE, SweepResults)
    none_valid = all(one.trial.status != "ok" for one in results.trials)
    assert done.returncode == int(none_valid), done.stderr + done.stdout
    assert results.finished and planned_count([one.trial for one in results.trials]) == 4
    assert all(one.trial.latency_ms["50"] >= one.trial.rtt_ms / 2 for one in results.trials)
    render_as_valid(out, (one.trial for one in results.trials), lambda: save(results, out, SENSITIVITY_FILE))
    assert (out / "figures" / "sensitivity_latency.svg").exists()
    assert json.loads((out / SENSITIVITY_FILE).read_text())["preset"] == "smoke"


def test_ctrl_c_keeps_the_settings_that_were_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "sensitivity", "--preset", "smoke", "--transports", "raw,sse"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as on a terminal, not as a background job
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[1/4]"):
                process.send_signal(signal.SIGINT)
                break
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    results = read(tmp_path / "run" / SENSITIVITY_FILE, SweepResults)
    assert not results.finished and 1 <= len(results.trials) < 4
    assert "The run was interrupted" in said and "How the words change" in said
