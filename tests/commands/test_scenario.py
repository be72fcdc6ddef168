"""``python -m bench scenario``: the real thing, small, over all transports; its section in the report."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.results.files import SCENARIO_FILE, read, save
from bench.results.sweep import SweepResults
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.scenario import impossible
from feed.transports import CONTENDERS
from reports.sections.scenarios import ASKED
from reports.table.suits import RULES
from tests.conftest import invoke, planned_count, render_as_valid, run_module

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
        measured, rule = trial.values, RULES[name]
        assert not [metric for metric in rule.never if measured[metric]], measured
        assert not impossible(measured, trial.rtt_ms)
        assert measured[rule.bytes] > 0 and rule.cpu in measured
        if name == "tokens":
            assert measured["first_token_ms_mean"] >= trial.rtt_ms + 500
        elif name == "ticker":
            assert measured["staleness_ms_mean"] > 0 and 0 < measured["stale_share"] < 1
            assert measured["quotes_per_s"] > 10
        else:
            assert measured[rule.noticed] > 0
    render_as_valid(out, trials, lambda: save(results, out, SCENARIO_FILE))
    page = (out / "report.md").read_text()
    assert ASKED[name].heading in page and "its numbers settle nothing" in page
    for figure in ("suits", f"scenario_{name}"):
        assert (out / "figures" / f"{figure}.png").stat().st_size > 10_000


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
