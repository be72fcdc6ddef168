"""The benchmark's pipeline: with a fake in place of the measuring, and for real at smoke size."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.cli import main
from bench.machine.host import placement
from bench.plan.presets import SPARSE, make_plan
from bench.plan.trials import TrialPlan, trials
from bench.results.files import load
from bench.results.run import Plan, Results, Trial
from bench.run.folders import new_folder, point_latest_at
from bench.run.options import among
from bench.run.progress import Lines
from bench.run.runner import failed_transports, run_planned, table_batch
from bench.trial.conduct import blank
from clients.control import Control
from reports.table.summary import summarize
from tests.conftest import ROOT, invoke, run_module, unfit
from tests.helpers.benches import SMALL, nothing_left, start_bench


class FakeRunner:
    """Answers every trial at once with made-up numbers; says what it is told to say about some."""

    def __init__(self, statuses: dict[str, list[str]]) -> None:
        self._statuses = statuses
        self.calls: list[tuple[str, int]] = []

    async def __call__(self, plan: Plan, trial: TrialPlan, attempt: int) -> Trial:
        self.calls.append((trial.id, attempt))
        record = blank(plan, trial, attempt, "2026-01-01T00:00:00+00:00")
        said = self._statuses.get(trial.id, [])
        record.status = said[attempt - 1] if attempt <= len(said) else "ok"
        if record.status != "ok":
            record.reasons = ["the fake says so"]
        if record.status != "failed":
            base = {"polling": 500.0, "long_polling": 22.0}.get(trial.transport, 20.5) + trial.block / 10
            record.metrics = {"wire_bytes_per_event": base * 20}
            record.latency_ms = {"50": base, "95": base * 1.5}
        return record


def run_fake(folder: Path, statuses: dict[str, list[str]], **given: object) -> tuple[Results, FakeRunner]:
    fake = FakeRunner(statuses)
    batch = table_batch(make_plan("default", **given), ["a", "test"], placement([0, 1]), folder)
    batch.folder.mkdir(parents=True)
    progress = Lines(Console())
    progress.begin(batch.expected_s, len(batch.planned))
    asyncio.run(run_planned(batch, fake, progress))
    return load(batch.folder), fake


def test_the_whole_pipeline_to_the_report_with_a_fake_runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    often = ["invalid"] * 9
    statuses = {"b1-sse": ["invalid"], "b2-websocket": often, "b3-polling": ["failed"], "b2-sse": often}
    results, fake = run_fake(tmp_path, statuses, blocks=3)
    counts = {name: sum(call[0] == name for call in fake.calls) for name, _ in fake.calls}
    assert counts["b1-sse"] == 2 and counts["b3-polling"] == 1
    spare = results.plan.spare_blocks * len(results.plan.transports)
    assert sum(counts.values()) == len(trials(results.plan)) + results.plan.max_reruns + spare
    assert failed_transports(results) == {}
    assert [trial.id for trial in load(tmp_path / SPARSE).trials] == [name for name, _ in fake.calls]
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("[")]) == len(fake.calls)
    assert any("b3-polling: FAILED: the fake says so" in line for line in lines)
    assert any(line.startswith("  so far sse: latency, median 20.") and "the fake says so" in line for line in lines)
    done = invoke("reports", str(tmp_path))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text()
    assert "the fake says so" in page and "WebSocket" in page
    assert (tmp_path / "report.md").exists() and (tmp_path / "results.csv").exists()


def test_a_lossy_network_is_said_to_be_modelled(tmp_path: Path) -> None:
    results, _ = run_fake(tmp_path, {}, blocks=1, transports=["sse"], network="mobile", loss=0.01)
    summary = summarize(results)
    assert "120 ms round trip, up to 20 ms jitter each way, 9 Mbit/s, 1 % loss (modelled)" in summary.title
    assert any("Loss is modelled" in caution for caution in summary.cautions)
    assert "loss is modelled" in summary.rows[0].latency.cautions
    assert summary.facts["Plan"]["network"] == "custom" and summary.facts["Plan"]["loss"] == "0.01"


def test_a_transport_without_a_valid_trial_is_named(tmp_path: Path) -> None:
    results, _ = run_fake(tmp_path, {"b1-sse": ["failed"]}, blocks=1)
    assert failed_transports(results) == {"sse": "the fake says so"}


@pytest.mark.long
def test_smoke_from_end_to_end(tmp_path: Path) -> None:
    done = run_module("bench", "--preset", "smoke", "--out", str(tmp_path / "out"))
    results = load(tmp_path / "out" / SPARSE)
    broadcast = load(tmp_path / "out" / "broadcast")
    assert results.finished and broadcast.finished
    assert (results.plan.point, broadcast.plan.point) == ("sparse", "broadcast")
    for point, folder in ((results, tmp_path / "out" / SPARSE), (broadcast, tmp_path / "out" / "broadcast")):
        kinds = {(trial.transport, trial.purpose) for trial in point.trials}
        assert kinds == {(trial.transport, trial.purpose) for trial in trials(point.plan)}
        assert all(len(trial.preflight) == 6 and (folder / trial.samples).exists() for trial in point.trials)
    for trial in [*results.trials, *broadcast.trials]:
        assert trial.status in ("ok", "invalid"), (trial.id, trial.reasons)
        assert (
            trial.counts is not None and trial.counts.lost == trial.counts.duplicate == trial.counts.out_of_order == 0
        )
        if trial.rtt_ms:
            assert trial.latency_ms["50"] >= trial.rtt_ms / 2
        assert trial.metrics["payload_bytes_per_event"] == results.plan.payload_bytes
        assert trial.metrics["wire_bytes_per_event"] > results.plan.payload_bytes + 104
    assert (tmp_path / "out" / "index.html").exists()
    assert "index.html" in done.stdout and done.returncode in (0, 1)
    nothing_left()


def test_a_new_folder_leaves_latest_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.folders.ROOT", tmp_path)
    folder = new_folder(None)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    (tmp_path / "results" / "latest").mkdir()
    point_latest_at(folder)
    assert (tmp_path / "results" / "latest").resolve().name == "latest", "somebody's own folder stays"


@pytest.mark.parametrize(
    ("command", "option"),
    [(name, "transports") for name in ("run", "faults", "soak", "probes", "sensitivity", "verify")]
    + [("faults", "faults"), ("cost", "sections")],
)
def test_a_list_without_names_or_with_unknown_ones_is_refused(command: str, option: str) -> None:
    for text, said in (("", "'' names none: allowed are "), (",", "',' names none"), ("sse,pigeon", "pigeon: allowed")):
        done = CliRunner().invoke(main, [command, f"--{option}", text])
        assert done.exit_code == 2 and f"'--{option}': " in done.stderr and said in done.stderr, done.output


def test_a_name_given_twice_is_measured_once() -> None:
    command = click.Command("measure", params=[click.Option(["--names"], callback=among(("polling", "sse", "raw")))])
    assert command.make_context("measure", ["--names", "raw, sse,raw,"]).params == {"names": ["sse", "raw"]}


def test_a_transport_that_crashes_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    with start_bench(tmp_path / "out", "--transports", "sse,websocket", "--rtt-ms", "0") as process:
        assert process.stdout is not None
        killed = _kill_server(process.pid, "sse")
        output = process.stdout.read()
        code = process.wait(90)
    assert killed and code == 1, output
    assert "No numbers at the sparse point: sse" in output and "Traceback" not in output
    by_name = {trial.transport: trial for trial in load(tmp_path / "out" / SPARSE).trials}
    assert by_name["sse"].status == "failed" and by_name["sse"].reasons and not by_name["sse"].metrics
    assert by_name["websocket"].status in ("ok", "invalid") and by_name["websocket"].metrics
    nothing_left()


def test_a_publisher_that_does_not_finish_makes_the_trial_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may have had the core: that is to be measured again, and is no failure of the transport."""
    stop_feed = Control.stop_feed

    async def one_less(control: Control) -> int:
        return await stop_feed(control) - 1

    monkeypatch.setattr(Control, "stop_feed", one_less)
    arguments = ["run", *SMALL, "--transports", "sse", "--rtt-ms", "0", "--out", str(tmp_path / "out")]
    CliRunner().invoke(main, arguments)
    trials_made = load(tmp_path / "out" / SPARSE).trials
    for attempt, trial in enumerate(trials_made, 1):
        assert (trial.attempt, trial.status) == (attempt, "invalid"), trial.reasons
        said = r"the publisher was the bottleneck: (\d+) of (\d+) events were published in time"
        assert unfit(trial) or any(re.fullmatch(said, reason) for reason in trial.reasons), trial.reasons
    assert len(trials_made) > 1


def _kill_server(parent: int, transport: str) -> bool:
    """Kill the server of that transport once its trial has clients."""
    for _ in range(6000):
        for child in psutil.Process(parent).children():
            try:
                line = child.cmdline()
            except psutil.Error:
                continue
            history = "--history" in line  # the trial's server, not the one of the idle cycles
            if "servers" in line and transport in line and history and len(child.net_connections("tcp")) > 8:
                os.kill(child.pid, signal.SIGKILL)
                return True
        time.sleep(0.005)
    return False


def test_broadcast_has_its_probes_in_a_process_of_their_own(tmp_path: Path) -> None:
    arguments = (
        "--preset",
        "full",
        "--point",
        "broadcast",
        "--subscribers",
        "40",
        "--duration-s",
        "1",
        "--rate-hz",
        "20",
        "--blocks",
        "1",
    )
    done = run_module("bench", *arguments, "--transports", "websocket", "--rtt-ms", "0", "--out", str(tmp_path / "out"))
    trial = load(tmp_path / "out" / "broadcast").trials[0]
    assert trial.status in ("ok", "invalid"), (trial.reasons, done.stdout)
    assert trial.counts is not None and trial.counts.expected == 20 * 40 and trial.counts.lost == 0
    assert trial.probes == 16 and trial.metrics["fanout_spread_ms_p50"] > 0
    asked = [sys.executable, "-c", "from feed.instruments.clock import run_first; print(run_first())"]
    first = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert sorted(trial.details["scheduling"]) == [["load", "other"], ["probes", first]]


def test_the_schema_does_not_load_locust() -> None:
    code = "import bench.results.run, sys; assert not {'locust', 'gevent'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    assert "gevent" not in sys.modules, "the tests themselves must not be monkey-patched"
    assert (ROOT / "bench" / "__init__.py").read_text() == ""


def test_results_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({}))
    done = invoke("bench", "--preset", "smoke", "--out", str(tmp_path))
    assert done.returncode == 2 and "is not empty" in done.stderr
