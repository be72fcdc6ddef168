"""One cell of a published table, measured again."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from bench.machine.host import Placement
from bench.plan.presets import make_plan
from bench.results.catalogue import METRICS
from bench.results.files import ResultsError, load, save
from bench.results.run import Plan, Results
from bench.results.thresholds import ThresholdError, parse_cell
from bench.run.cell import cell, check_published, plan_again, point_folder
from bench.run.progress import Progress
from bench.run.runner import Batch
from feed.transports import TRANSPORTS
from tests.conftest import invoke, run_module
from tests.helpers.fake_results import fake_results, fake_trial


def run_folder(folder: Path, results: Results, point: str = "sparse") -> Path:
    folder.mkdir(parents=True)
    results.plan = msgspec.structs.replace(results.plan, point=point)
    save(results, folder)
    return folder


@pytest.mark.parametrize(
    ("factor", "code", "said"),
    [(1.0, 0, "agrees"), (1.5, 1, "worse than published"), (0.5, 1, "better than published")],
)
def test_a_cell_agrees_or_differs(tmp_path: Path, factor: float, code: int, said: str) -> None:
    fresh = fake_results(seed=21)
    for trial in fresh.trials:
        if trial.metrics:
            trial.metrics["wire_bytes_per_event"] *= factor
    a, b = run_folder(tmp_path / "a", fake_results(seed=20)), run_folder(tmp_path / "b", fresh)
    done = invoke("reports", "agree", str(a), str(b), "sse/wire_bytes")
    assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
    assert "Next:\n  - " in done.stdout and f"python -m reports compare {a} {b}" in done.stdout


def test_a_cell_that_spreads_too_far_is_not_settled(tmp_path: Path) -> None:
    fresh = fake_results()
    for trial in fresh.trials:
        if trial.metrics:
            trial.latency_ms["50"] *= (0.8, 1.25, 0.9, 1.2, 0.95)[trial.block - 1]
    a, b = run_folder(tmp_path / "a", fake_results()), run_folder(tmp_path / "b", fresh)
    done = invoke("reports", "agree", str(a), str(b), "sse/latency_p50")
    assert done.returncode == 3 and "not settled" in done.stdout
    assert f"python -m bench cell sse/latency_ms_p50 --point sparse --of {a} --blocks " in done.stdout


def test_the_plan_of_a_cell_is_the_published_one_for_one_transport(tmp_path: Path) -> None:
    source = fake_results()
    plan = plan_again(source, "sse", 4, None)
    assert (plan.transports, plan.blocks, plan.seed, plan.curve_repeats) == (["sse"], 4, source.plan.seed + 1, 0)
    same = {name for name in plan.__struct_fields__ if getattr(plan, name) == getattr(source.plan, name)}
    assert same >= {"rooms", "rate_hz", "rtt_ms", "payload_bytes", "poll_interval_s", "measured_events", "headers"}
    assert plan_again(source, "sse", 4, 7).seed == 7


def test_an_operating_point_is_found_by_its_name(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", fake_results())
    run_folder(run / "broadcast", fake_results(), "broadcast")
    assert load(point_folder(run, "broadcast")).plan.point == "broadcast" and point_folder(run, "sparse") == run
    with pytest.raises(ResultsError, match="no operating point 'dense': there are sparse, broadcast"):
        point_folder(run, "dense")


@pytest.mark.parametrize("text", ["sse", "pigeon/latency_p50", "sse/beauty", "", "/", "/latency_p50"])
def test_a_wrong_cell_says_what_is_allowed(tmp_path: Path, text: str) -> None:
    with pytest.raises(ThresholdError, match=r"allowed are|expected"):
        parse_cell(text)
    done = invoke("bench", "cell", text, "--of", str(tmp_path))
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_what_was_not_measured_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="has no socketio"):
        few = fake_results()
        few.plan = msgspec.structs.replace(few.plan, transports=["sse"])
        plan_again(few, "socketio", 3, None)
    a = run_folder(tmp_path / "a", fake_results())
    for wanted, said in (("sse/handshake_ms_p50", "no margin"), ("sse/generator_cpu", "no valid")):
        done = invoke("reports", "agree", str(a), str(a), wanted)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_what_could_not_be_judged_is_refused_before_it_is_measured(tmp_path: Path) -> None:
    source = fake_results()
    check_published(source, "sse", "latency_ms_p50")
    for trial in source.trials:
        trial.status = "invalid" if trial.transport == "websocket" else trial.status
        trial.latency_ms.pop("95", None)
    run = run_folder(tmp_path / "run", source)
    for text, said in (
        ("sse/steal_share", "steal_share has no margin to be judged by: allowed are latency_ms_p50"),
        ("sse/latency_p95", "no valid sse/latency_ms_p95: of sse it has latency_ms_p50, "),
        ("websocket/latency_p50", "no valid websocket/latency_ms_p50: of websocket it has none"),
    ):
        done = CliRunner().invoke(cell, [text, "--of", str(run), "--out", str(tmp_path / "again")])
        assert done.exit_code == 2 and said in done.stderr
    assert not (tmp_path / "again").exists()


def test_without_a_valid_trial_nothing_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def all_invalid(batches: list[Batch], place: Placement, progress: Progress, idle_of: Plan) -> None:
        (batch,) = batches
        batch.folder.mkdir()
        for one in batch.planned[:2]:
            trial = fake_trial("sse", one.trial.block)
            trial.status, trial.reasons = "invalid", [f"the host stalled in block {trial.block}"]
            batch.keep(one, trial)

    monkeypatch.setattr("bench.run.cell.run_batches", all_invalid)
    run = run_folder(tmp_path / "run", fake_results())
    done = CliRunner().invoke(cell, ["sse/latency_p50", "--of", str(run), "--out", str(tmp_path / "again")])
    said = " ".join(done.stdout.split())
    assert done.exit_code == 3 and "sse/latency_ms_p50: not settled. b1-sse: the host stalled in block 1. b2-" in said


def test_every_cell_of_the_table_can_be_named() -> None:
    for transport in TRANSPORTS:
        for name in METRICS:
            assert parse_cell(f"{transport}/{name}") == (transport, name)


def test_a_cell_is_measured_again_for_real(tmp_path: Path) -> None:
    """As if what is made up had been published."""
    published = fake_results()
    published.plan = make_plan("smoke", subscribers=10, rooms=10, rate_hz=40.0, duration_s=0.5, blocks=2)
    run_folder(tmp_path / "a" / "sparse", published)
    again = ("raw/wire_bytes", "--of", str(tmp_path / "a"), "--blocks", "2", "--out", str(tmp_path / "b"))
    done = run_module("bench", "cell", *again)
    said = done.stdout + done.stderr
    assert "raw/wire_bytes" in said and done.returncode in (0, 1, 3), said
    assert load(tmp_path / "b" / "sparse").plan.seed == published.plan.seed + 1
