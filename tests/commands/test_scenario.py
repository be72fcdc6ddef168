"""``python -m bench scenario``: the real thing, small, over all transports; its section in the report."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.results.files import SCENARIO_FILE, read, save
from bench.results.sweep import SweepResults
from bench.scenarios.registry import SCENARIOS
from feed.transports import CONTENDERS, POLLING
from reports.sections.scenarios import ASKED
from tests.conftest import invoke, planned_count, render_as_valid, run_module

COUNTED = ("messages_unacknowledged", "messages_lost", "messages_repeated", "messages_out_of_order")


TWO = {
    "chat": ("socketio", "polling"),
    "collab": ("websocket", "long_polling"),
    "game": ("websocket", "polling"),
    "notifications": ("sse", "polling"),
    "ticker": ("long_polling", "sse"),
    "tokens": ("socketio", "long_polling"),
}
"""Scenario -> transports in which it runs on every day: each of them in some, and services over all elsewhere."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "transports"),
    [
        *TWO.items(),
        *(pytest.param(name, CONTENDERS, marks=pytest.mark.nightly, id=f"{name}-all") for name in SCENARIOS),
    ],
)
def test_smoke(tmp_path: Path, name: str, transports: Sequence[str]) -> None:
    """Nothing is lost or repeated, nothing comes before physics allows it, and the report has the section."""
    out = tmp_path / "run"
    wanted = ("--transports", ",".join(transports))
    done = run_module("bench", "scenario", name, "--preset", "smoke", *wanted, "--out", str(out))
    results = read(out / SCENARIO_FILE, SweepResults)
    trials = [one.trial for one in results.trials]
    assert planned_count(trials, max_reruns=5) == len(transports), done.stdout + done.stderr
    assert results.finished and not [trial.reasons for trial in trials if trial.status == "failed"]
    for trial in trials:
        measured, least_ms = trial.values, trial.rtt_ms / 2
        assert not [key for key in (*COUNTED, "tokens_lost", "tokens_repeated") if measured.get(key)], trial
        early = {
            key: value
            for key, value in measured.items()
            if key.startswith(("seen_by", "token_l", "typing", "snapshot_ms"))
        }
        assert all(value >= least_ms for value in early.values()), early
        if name == "tokens":
            assert measured["first_token_ms_mean"] >= 2 * least_ms + 500
        if name == "chat":
            assert measured["ack_ms_p50"] >= 2 * least_ms
        if name == "collab":
            assert not measured["keys_lost"] and not measured["documents_apart"]
            assert measured["visible_ms_p50"] >= 2 * least_ms
        if name == "game":
            assert measured["input_to_snapshot_ms_p50"] >= 2 * least_ms and measured["late_frame_share"] < 1
            assert not measured["inputs_unanswered"] and not measured["snapshots_lost"]
        if name == "ticker":
            assert measured["staleness_ms_mean"] > 0 and 0 < measured["stale_share"] < 1
            assert measured["quotes_per_s"] > 10
        if trial.transport == POLLING and name == "tokens":
            assert measured["tokens_per_read"] > 2, "a poll brings what came since the last one"
    render_as_valid(out, trials, lambda: save(results, out, SCENARIO_FILE))
    page = (out / "report.md").read_text()
    assert ASKED[name].heading in page and "its numbers settle nothing" in page


@pytest.mark.long
def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    arguments = ("bench", "scenario", "ticker", "--preset", "smoke", "--transports", "sse,websocket", "--out")
    run_module(*arguments, str(tmp_path / "run"))
    path = tmp_path / "run" / SCENARIO_FILE
    whole = read(path, SweepResults)
    first = whole.trials[0]
    whole.trials, whole.finished = [first], False
    save(whole, path.parent, SCENARIO_FILE)
    refused = invoke(*arguments, str(path.parent), "--seed", "2")
    assert refused.returncode == 2 and "other seed, loads" in refused.stderr
    done = run_module(*arguments, str(path.parent))
    again = read(path, SweepResults)
    assert again.finished and again.trials[0] == first, done.stdout + done.stderr
    assert {one.trial.transport for one in again.trials} == {"sse", "websocket"}
    assert "1 trial" in done.stdout
    refused = invoke(*arguments, str(path.parent))
    assert refused.returncode == 2 and "exists" in refused.stderr


def test_every_scenario_has_its_section_and_its_test() -> None:
    assert list(ASKED) == list(SCENARIOS) == list(TWO)


def test_an_unknown_scenario_is_refused_with_all_that_there_are() -> None:
    done = invoke("bench", "scenario", "charades")
    assert done.returncode == 2
    assert all(name in done.stderr for name in (*SCENARIOS, "all", "charades"))
