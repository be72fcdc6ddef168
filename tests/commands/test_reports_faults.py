"""The report's words on faults, sieges and soak, from made-up records, and the commands that make real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results.files import FAULTS_FILE, ResultsError, read, save
from bench.results.provenance import SCHEMA_VERSION
from bench.results.reliability import FaultResults, FaultTrial, HostileTrial, SoakResults
from reports.sections.faults import summarize_faults
from reports.sections.hostile import held, hostile_table
from tests.conftest import invoke, run_module

KIB = 1024


def fault(transport: str = "sse", kind: str = "kill", repeat: int = 1, **changed: int) -> FaultTrial:
    """FAKE."""
    counts = {"silently_lost": 0, "duplicates": 0, "gaps": 3, "resumed": 0, **changed}
    return FaultTrial(
        transport=transport,
        fault=kind,
        repeat=repeat,
        clients=3,
        outage_s=0.5,
        recover_s=[0.5 * repeat, 1.0 * repeat, 2.0 * repeat],
        undisturbed=0,
        never_back=0,
        handshakes_per_s_peak=2,
        delivered=100,
        **counts,
    )


def siege(calm_ms: float = 1.0, siege_ms: float = 2.0, kib: float = 10.0, lost: int = 0) -> HostileTrial:
    """FAKE."""
    return HostileTrial("sse", "non_reading", 1, 50, calm_ms, siege_ms, kib * KIB, 100 - lost, 100)


def results(trials: list[FaultTrial], sieges: list[HostileTrial]) -> FaultResults:
    """FAKE."""
    return FaultResults(
        schema_version=SCHEMA_VERSION,
        pushmark_version="0.1.0",
        created_at="2026-01-01T00:00:00+00:00",
        finished=True,
        command=["python", "-m", "bench", "faults"],
        host={},
        versions={},
        options={},
        seed=1,
        rate_hz=20.0,
        window_events=300,
        trials=trials,
        hostile=sieges,
    )


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (lambda: results([fault("smtp")], []), "unknown transports smtp: allowed are polling"),
        (lambda: results([fault(kind="fire")], []), "unknown faults fire: allowed are kill, cut, stall"),
        (lambda: results([], [msgspec.structs.replace(siege(), attack="flood")]), "unknown attacks flood"),
        (lambda: results([], [msgspec.structs.replace(siege(), transport="smtp")]), "unknown transports smtp"),
    ],
)
def test_names_that_nobody_knows_are_refused(of: Callable[[], FaultResults], why: str, tmp_path: Path) -> None:
    path = save(of(), tmp_path, FAULTS_FILE)
    with pytest.raises(ResultsError, match=why):
        read(path, FaultResults)


def test_repeats_are_the_unit_of_the_spread() -> None:
    summary = summarize_faults(results([fault(repeat=1), fault(repeat=3)], []), None)
    row = summary.tables[0].rows[0]
    assert row[:5] == ["server killed and started again", "SSE", "2.00 [1.00, 3.00]", "5.25", "6.00"]
    assert row[6:] == ["6 of 6", "0 of 6", "0", "0"]
    assert not summary.cautions


def test_what_was_lost_is_said_first() -> None:
    summary = summarize_faults(results([fault(silently_lost=2)], [siege(lost=1)]), None)
    assert any("lost in silence on SSE" in caution for caution in summary.cautions)
    assert "events were lost under attack" in summary.cautions


@given(st.floats(0.01, 100), st.floats(0.01, 300), st.floats(-10, 200), st.integers(0, 2), st.integers(1, 4))
def test_a_siege_is_held_within_its_bounds_only(calm: float, under: float, kib: float, lost: int, count: int) -> None:
    trials = [siege(calm, under, kib, lost)] * count
    assert held(trials) == (under <= 2 * calm + 5 and kib <= 64 and not lost)
    assert hostile_table(trials).rows[0][-1] == ("held" if held(trials) else "not held")


@pytest.mark.long
def test_the_commands_end_to_end(tmp_path: Path) -> None:
    """Every fault and siege once on two transports, small; the report has their section and figure."""
    arguments = ("--preset", "smoke", "--transports", "sse,socketio", "--out", str(tmp_path))
    done = run_module("bench", "faults", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    found = read(tmp_path / FAULTS_FILE, FaultResults)
    assert {(one.transport, one.fault) for one in found.trials} == {
        (name, kind) for name in ("sse", "socketio") for kind in ("kill", "cut", "stall")
    }
    assert all(one.never_back == one.silently_lost == one.duplicates == 0 for one in found.trials)
    assert len(found.hostile) == 8 and all(one.delivered == one.expected for one in found.hostile)
    assert "Hostile clients" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "figures" / "recovery.svg").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("duration_s", "lives"), [(15, 10), pytest.param(60, 50, marks=pytest.mark.nightly)], ids=["short", "a_minute"]
)
def test_a_soak_lets_everything_go(tmp_path: Path, duration_s: int, lives: int) -> None:
    """All transports, clients coming and going: open files and tasks are what they were, and nothing failed."""
    done = run_module("bench", "soak", "--duration-s", str(duration_s), "--clients", "10", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr + done.stdout
    for one in read(tmp_path / "soak.json", SoakResults).servers:
        assert one.lives > lives and not one.failures, (one.transport, one.failures)
        assert one.after.open_files <= one.before.open_files and one.after.tasks <= one.before.tasks


@pytest.mark.parametrize("broken", ["", "{}", '{"schema_version": 99}', "[]", '{"schema_version": 1}'])
def test_a_bad_file_is_named(tmp_path: Path, broken: str) -> None:
    (tmp_path / FAULTS_FILE).write_text(broken)
    done = invoke("reports", str(tmp_path))
    assert done.returncode != 0 and FAULTS_FILE in done.stderr and "Traceback" not in done.stderr


def test_a_record_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = results([fault()], [siege()])
    save(saved, tmp_path, FAULTS_FILE)
    assert read(tmp_path / FAULTS_FILE, FaultResults) == saved
    assert json.loads((tmp_path / FAULTS_FILE).read_text())["hostile"][0]["attack"] == "non_reading"
