"""Files of results that hold no valid measurement: reports name them, and end with 1."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bench.generators.window import window
from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.provenance import provenance
from bench.plan.presets import make_plan
from bench.plan.trials import schedule_of, trials
from bench.reliability.soak import new_soak
from bench.results.capabilities import CapabilityCheck, CapabilityResults
from bench.results.files import (
    AA_FILE,
    CAPABILITIES_FILE,
    COST_FILE,
    FAULTS_FILE,
    GENERATOR_FILE,
    RESULTS_FILE,
    RUN_FILES,
    SCENARIO_FILE,
    SENSITIVITY_FILE,
    SOAK_FILE,
    VERIFY_FILE,
    save,
)
from bench.results.reliability import FaultResults, HostileTrial, SoakResults
from bench.results.run import Results
from bench.results.sweep import SweepResults, SweepTrial
from bench.results.verify import Verification, VerifyResults
from bench.trial.channel import TrialError, UnfitError
from bench.trial.conduct import blank, run_trial
from bench.trial.context import RunContext
from bench.trial.evaluate import Measurement, evaluate
from reports.nothing import MEASURED, empty_files
from tests.conftest import invoke
from tests.helpers.fake_results import fake_plan, fake_results, fake_trial

PLACE = Placement(0, 0, [0])
FACTS = provenance([], PLACE)


def _invalid(results: Results) -> Results:
    for trial in results.trials:
        trial.status = "invalid"
    return results


def _without_metrics(results: Results) -> Results:
    for trial in results.trials:
        trial.metrics, trial.latency_ms = {}, {}
    return results


def _cost(status: str) -> SweepResults:
    trial = fake_trial("sse")
    trial.status = status
    return SweepResults(**FACTS, preset="smoke", seed=1, loads={}, trials=[SweepTrial("main", "load", trial)])


def _verify(status: str) -> VerifyResults:
    trial = fake_trial("sse")
    trial.status = status
    return VerifyResults(**FACTS, plan=fake_plan(), trials=[Verification(trial)])


def _siege(delivered: int) -> FaultResults:
    one = HostileTrial("sse", "slowloris", 1, 10, 1.0, 2.0, 100.0, delivered=delivered, expected=20)
    return FaultResults(**FACTS, seed=1, rate_hz=20.0, window_events=10, trials=[], hostile=[one])


def _soak(lives: int) -> SoakResults:
    one = new_soak("sse")
    one.lives = lives
    return SoakResults(**FACTS, seed=1, duration_s=5.0, clients=1, servers=[one])


def _probed(holds: bool | None) -> CapabilityResults:
    return CapabilityResults(**FACTS, checks=[CapabilityCheck("sse", "passes_a_plain_proxy", holds, "")])


SWEEPS = (COST_FILE, GENERATOR_FILE, AA_FILE, SCENARIO_FILE, SENSITIVITY_FILE)
PAIRS: dict[str, tuple[Any, Any]] = {
    RESULTS_FILE: (fake_results(blocks=1), _invalid(fake_results(blocks=1))),
    **{name: (_cost("ok"), _cost("failed")) for name in SWEEPS},
    FAULTS_FILE: (_siege(20), _siege(0)),
    SOAK_FILE: (_soak(3), _soak(0)),
    VERIFY_FILE: (_verify("ok"), _verify("invalid")),
    CAPABILITIES_FILE: (_probed(False), _probed(None)),
}
"""File -> a run that measured something, and one that did not."""


@pytest.mark.parametrize("name", MEASURED)
def test_a_file_without_a_valid_measurement_is_found(tmp_path: Path, name: str) -> None:
    something, nothing = PAIRS[name]
    save(something, tmp_path, name)
    assert empty_files(tmp_path) == []
    save(nothing, tmp_path, name)
    assert empty_files(tmp_path) == [str(tmp_path / name)]


def test_every_kind_of_results_is_looked_at() -> None:
    assert set(MEASURED) >= set(RUN_FILES)


def test_valid_trials_without_a_number_are_nothing(tmp_path: Path) -> None:
    save(_without_metrics(fake_results(blocks=1)), tmp_path)
    assert empty_files(tmp_path) == [str(tmp_path / RESULTS_FILE)]


@pytest.mark.parametrize("count", (0, None))
def test_a_run_of_nothing_is_reported_and_fails(tmp_path: Path, count: int | None) -> None:
    """No trial at all, and trials of which none is valid."""
    results = fake_results(blocks=1)
    results.trials = results.trials[:count]
    _invalid(results)
    save(results, tmp_path)
    done = invoke("reports", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        1,
        f"Failed: {tmp_path / RESULTS_FILE}: nothing valid was measured\n",
    )
    assert (tmp_path / "index.html").exists()
    compared = invoke("reports", "compare", str(tmp_path), str(tmp_path))
    assert compared.returncode == 1 and compared.stderr.startswith("Failed: nothing to compare"), compared.stderr


def test_another_operating_point_of_nothing_is_named(tmp_path: Path) -> None:
    save(fake_results(blocks=1), tmp_path)
    (tmp_path / "broadcast").mkdir()
    results = fake_results(blocks=1)
    _invalid(results)
    save(results, tmp_path / "broadcast")
    assert empty_files(tmp_path) == [str(tmp_path / "broadcast" / RESULTS_FILE)]
    assert empty_files(tmp_path / RESULTS_FILE) == []


@pytest.mark.parametrize(("missing", "error"), [(0, TrialError), (1, UnfitError)])
def test_a_trial_to_which_nothing_was_delivered_has_failed(
    tmp_path: Path, missing: int, error: type[TrialError]
) -> None:
    """Unless the publisher did not come round to it: then the host was too busy, and the trial is measured again."""
    plan = make_plan("smoke", transports=["sse"])
    trial = trials(plan)[0]
    record = blank(plan, trial, 1, "")
    schedule = schedule_of(plan, trial)
    part = window(schedule, 1, 5)
    context = RunContext(plan, tmp_path, PLACE, Hiccups(), {})
    published = schedule.limit - missing
    measured = Measurement(part, 0, published, None, [], {})  # type: ignore[arg-type]  # the gauges are not read
    with pytest.raises(error, match="nothing was delivered of 5 events") as caught:
        evaluate(context, trial, record, measured)
    assert type(caught.value) is error


def test_a_trial_that_the_host_was_too_busy_for_is_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def too_busy(*_: object) -> None:
        raise UnfitError("the host was busy")

    monkeypatch.setattr("bench.trial.conduct._measure", too_busy)
    plan = make_plan("smoke", transports=["sse"])
    context = RunContext(plan, tmp_path, PLACE, Hiccups(), {})
    record = asyncio.run(run_trial(context, trials(plan)[0], 1))
    assert (record.status, record.metrics, record.reasons) == ("invalid", {}, ["UnfitError: the host was busy"])
