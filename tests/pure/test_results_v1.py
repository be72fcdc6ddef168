"""Files of results of schema version 1 still load: those of a whole run, and hand-made ones of the other kinds."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bench.results.capabilities import CapabilityResults
from bench.results.catalogue import LATENCY_PERCENTILES
from bench.results.files import (
    CAPABILITIES_FILE,
    COST_FILE,
    FAULTS_FILE,
    RUN_FILES,
    SOAK_FILE,
    VERIFY_FILE,
    ResultsError,
    find,
    load,
    read,
    save,
)
from bench.results.provenance import SCHEMA_VERSION, Provenance
from bench.results.reliability import FaultResults, SoakResults
from bench.results.run import Plan, Trial
from bench.results.sweep import SweepResults
from bench.results.verify import VerifyResults
from reports.cli import main
from reports.compare.runs import compare_point
from reports.writers.csv import to_csv
from tests.conftest import VERSION_1
from tests.helpers.fake_results import fake_results

ABOUT: dict[str, Any] = {
    "schema_version": 1,
    "pushmark_version": "0.1.0",
    "created_at": "2026-01-01T00:00:00+00:00",
    "finished": True,
    "command": ["python", "-m", "bench"],
    "host": {},
    "versions": {},
    "options": {},
}


def old_plan(**values: object) -> dict[str, Any]:
    """A plan as version 1 wrote it."""
    plan = msgspec.to_builtins(fake_results(1).plan)
    del plan["inject_fault"]
    return {**plan, "sabotage": {}, **values}


def old_trial() -> dict[str, Any]:
    """A trial as version 1 wrote it, the median of latency in two places."""
    trial = msgspec.to_builtins(fake_results(1).trials[0])
    trial["metrics"] |= {name: trial["latency_ms"][q] for name, q in LATENCY_PERCENTILES.items() if q != "99"}
    return trial


def read_old(folder: Path, name: str, raw: dict[str, Any]) -> Provenance:
    (folder / name).write_text(json.dumps(raw))
    return read(folder / name, RUN_FILES[name])


@pytest.mark.parametrize("folder", [VERSION_1, VERSION_1 / "broadcast"], ids=["sparse", "broadcast"])
def test_a_whole_run_loads_and_stores_its_percentiles_once(folder: Path, tmp_path: Path) -> None:
    old, new = json.loads((folder / "results.json").read_text()), load(folder)
    assert (old["schema_version"], new.schema_version) == (1, SCHEMA_VERSION)
    assert [trial.values for trial in new.trials] == [trial["metrics"] for trial in old["trials"]]
    assert not any(set(LATENCY_PERCENTILES) & set(trial.metrics) for trial in new.trials)
    save(new, tmp_path)
    assert load(tmp_path) == new


def test_a_whole_run_gives_the_numbers_that_were_published() -> None:
    was = list(csv.DictReader((VERSION_1 / "results.csv").open(newline="")))
    now = list(csv.DictReader(io.StringIO(to_csv([load(VERSION_1), load(VERSION_1 / "broadcast")]))))
    assert [{name: row[name] for name in was[0]} for row in now] == was


def test_a_whole_run_renders_and_compares(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(VERSION_1), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "works through a proxy that forwards no Upgrade" in (tmp_path / "report.md").read_text()
    assert any(of.metric == "latency_ms_p50" for of in compare_point(load(VERSION_1), fake_results(2)).changes)


def test_its_other_files_load() -> None:
    checks = find(VERSION_1, CAPABILITIES_FILE)
    assert checks is not None and checks.name == "probes.json"
    found = read(checks, CapabilityResults).checks
    assert found and {one.check for one in found} >= {"passes_a_plain_proxy", "waits_for_data"}
    verified = read(VERSION_1 / VERIFY_FILE, VerifyResults)
    assert verified.trials and all("latency_ms_p50" in one.trial.values for one in verified.trials)


def test_a_sweep_loads(tmp_path: Path) -> None:
    trial = old_trial() | {"purpose": "cost"}
    found = read_old(
        tmp_path,
        COST_FILE,
        {
            **ABOUT,
            "preset": "default",
            "seed": 1,
            "loads": {"fewer": {"20 events/s (sse)": old_plan(sabotage={"sse": "burn:20"})}},
            "trials": [{"section": "fewer", "load": "20 events/s", "trial": trial}],
        },
    )
    assert isinstance(found, SweepResults)
    (plan,) = found.loads["low_rate"].values()
    assert isinstance(plan, Plan) and plan.inject_fault == {"sse": "burn:20"}
    (one,) = found.trials
    assert one.section == "low_rate" and isinstance(one.trial, Trial)
    assert one.trial.values == trial["metrics"]


def test_faults_load(tmp_path: Path) -> None:
    siege = {
        "transport": "sse",
        "siege": "torn",
        "repeat": 1,
        "peers": 50,
        "calm_ms_p99": 1.0,
        "siege_ms_p99": 2.0,
        "rss_bytes_per_peer": 3.0,
        "delivered": 10,
        "expected": 10,
    }
    raw = {**ABOUT, "seed": 1, "rate_hz": 20.0, "siege_events": 300, "trials": [], "sieges": [siege]}
    found = read_old(tmp_path, FAULTS_FILE, raw)
    assert isinstance(found, FaultResults) and found.window_events == 300
    (one,) = found.hostile
    assert (one.attack, one.hostile_clients, one.baseline_ms_p99, one.attack_ms_p99) == (
        "reset_mid_message",
        50,
        1.0,
        2.0,
    )


def test_a_soak_loads(tmp_path: Path) -> None:
    sample = {"at_s": 0.0, "rss_bytes": 1, "open_files": 2, "tasks": 3, "peers": 4}
    server = {
        "transport": "sse",
        "before": sample,
        "samples": [sample],
        "after": sample,
        "lives": 9,
        "requests": 9,
        "failures": [],
    }
    raw = {**ABOUT, "seed": 1, "duration_s": 5.0, "clients": 3, "servers": [server]}
    found = read_old(tmp_path, SOAK_FILE, raw)
    assert isinstance(found, SoakResults)
    assert [found.servers[0].before.connections, found.servers[0].samples[0].connections] == [4, 4]


@pytest.mark.parametrize("name", RUN_FILES)
@pytest.mark.parametrize("raw", [{}, {"trials": 3}, {"plan": [], "servers": [{}], "sieges": None, "probes": [1]}])
def test_what_is_no_file_of_version_1_is_refused_in_one_line(name: str, raw: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ResultsError) as caught:
        read_old(tmp_path, name, {"schema_version": 1, **raw})
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)
