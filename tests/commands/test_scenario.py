"""``python -m bench scenario``: the real thing, small, over all transports; its section in the report."""

from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from bench.machine.host import placement
from bench.results.files import SCENARIO_FILE, read, save
from bench.results.sweep import SweepResults, SweepTrial
from bench.scenarios.registry import SCENARIOS
from bench.scenarios.scenario import impossible, scenario_trials
from bench.sweeps.resume import continued, interrupted_run
from bench.sweeps.sweep import Sweep, new_sweep
from bench.trial.conduct import blank
from feed.transports import CONTENDERS
from reports.sections.scenarios import ASKED
from reports.table.suits import RULES
from tests.conftest import invoke, planned_count, render_as_valid, run_module

EACH = {
    "chat": "socketio",
    "collab": "websocket",
    "game": "polling",
    "notifications": "sse",
    "ticker": "long_polling",
    "tokens": "websocket",
}
"""Scenario -> the transport over which it runs on every day; services are tested over all of them elsewhere."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "transports"),
    [
        *((name, (transport,)) for name, transport in EACH.items()),
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
        assert measured[rule.bytes] > 0 and (not rule.cpu or rule.cpu in measured)
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


def interrupted(folder: Path, measured: int) -> tuple[Sweep, SweepResults]:
    """FAKE: a run of which so many trials are there, and what it had planned."""
    planned = scenario_trials(SCENARIOS["ticker"], "smoke", list(CONTENDERS), None, 1)
    sweep = Sweep(SCENARIO_FILE, "smoke", 1, planned, continues=True)
    results = new_sweep(sweep, ["python", "-m", "bench", "scenario", "ticker"], placement([0, 1]))
    results.trials = [SweepTrial(of.section, of.load, blank(of.plan, of.trial, 1, "now")) for of in planned[:measured]]
    save(results, folder, SCENARIO_FILE)
    return sweep, new_sweep(sweep, ["python"], placement([0, 1]))


def test_an_interrupted_run_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    sweep, now = interrupted(tmp_path, 2)
    earlier = interrupted_run(tmp_path, SCENARIO_FILE)
    assert earlier is not None
    results, missing = continued(earlier, now, sweep.planned)
    assert results is earlier and len(results.trials) == 2 and missing == sweep.planned[2:]


def test_an_interrupted_run_is_not_mixed_with_another(tmp_path: Path) -> None:
    sweep, now = interrupted(tmp_path, 2)
    earlier = read(tmp_path / SCENARIO_FILE, SweepResults)
    now.seed, now.host = 2, {**now.host, "cpu_model": "another"}
    with pytest.raises(click.UsageError, match="other seed, processor"):
        continued(earlier, now, sweep.planned)
    sweep, now = interrupted(tmp_path, len(sweep.planned))
    with pytest.raises(click.UsageError, match="nothing is missing"):
        continued(read(tmp_path / SCENARIO_FILE, SweepResults), now, sweep.planned)
    earlier.finished = True
    save(earlier, tmp_path, SCENARIO_FILE)
    assert interrupted_run(tmp_path, SCENARIO_FILE) is None, "a finished one is left alone"
    (tmp_path / SCENARIO_FILE).write_text("{}")
    with pytest.raises(click.UsageError, match=SCENARIO_FILE):
        interrupted_run(tmp_path, SCENARIO_FILE)


def test_every_scenario_has_its_section_and_its_test() -> None:
    assert list(ASKED) == list(SCENARIOS) == list(EACH)


def test_an_unknown_scenario_is_refused_with_all_that_there_are() -> None:
    done = invoke("bench", "scenario", "charades")
    assert done.returncode == 2
    assert all(name in done.stderr for name in (*SCENARIOS, "all", "charades"))
