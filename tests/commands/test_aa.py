"""`bench aa`: its plan, its section, and the plumbing for real."""

import math
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.machine.host import placement
from bench.plan.trials import Planned, schedule_of
from bench.results.catalogue import METRICS
from bench.results.files import AA_FILE, read, save
from bench.results.sweep import SweepResults, SweepTrial
from bench.sweeps.aa import PRESETS, aa_trials
from bench.sweeps.sweep import Sweep, new_sweep
from bench.trial.conduct import blank
from reports.sections.aa import aa_section
from reports.statistics import DIFFERS, EQUAL, OPEN
from tests.conftest import invoke, planned_count, run_module
from tests.helpers.fake_results import put


@pytest.mark.parametrize("planted", [False, True])
@pytest.mark.parametrize("preset", PRESETS)
def test_an_experiment_is_a_comparison_of_the_same(preset: str, planted: bool) -> None:
    planned = aa_trials(preset, "sse", 3, planted)
    assert len(planned) == {"default": 880 if planted else 120, "smoke": 6}[preset]
    pairs: dict[tuple[str, int], list[Planned]] = {}
    for one in planned:
        pairs.setdefault((one.section, one.trial.block), []).append(one)
        assert one.trial.transport == "sse" and one.plan.probes == one.plan.subscribers
        burns = {"sse": "burn:20"} if planted and one.load == "B" else {}
        assert one.plan == msgspec.structs.replace(planned[0].plan, inject_fault=burns)
    for pair in pairs.values():
        assert {one.load for one in pair} == {"A", "B"}
        assert len({schedule_of(one.plan, one.trial) for one in pair}) == 1, "the same schedule"
    assert len({one.trial.seed for one in planned}) == len(pairs)
    first = Counter(planned[at].load for at in range(0, len(planned), 2))
    assert preset == "smoke" or min(first["A"], first["B"]) > 15, "in random order"


def test_so_many_experiments_as_asked_for_begin_as_the_presets_do() -> None:
    all_ = aa_trials("default", "sse", 1, planted=True)
    assert aa_trials("default", "sse", 1, planted=True, experiments=3) == all_[: 3 * 88]
    assert len(aa_trials("default", "sse", 1, experiments=13)) == 130


def results_with(factor: float) -> SweepResults:
    """FAKE: B has ``factor`` times what A has, and a little noise that cancels out over blocks."""
    planned = aa_trials("default", "websocket", 1)
    results = new_sweep(Sweep(AA_FILE, "default", 1, planned), ["a", "test"], placement([0, 1]))
    for one in planned:
        trial = blank(one.plan, one.trial, 1, "2026-01-01T00:00:00+00:00")
        noise = 1 + 0.001 * ((one.trial.block * 7 + (one.load == "A") * 3) % 5)
        value = 50.0 * noise * (factor if one.load == "B" else 1.0)
        put(trial, dict.fromkeys(("latency_ms_p50", "wire_bytes_per_event", "server_cpu_us_per_event"), value))
        results.trials.append(SweepTrial(one.section, one.load, trial))
    results.finished = True
    return results


def titled(metric: str) -> str:
    return METRICS[metric].title


@pytest.mark.parametrize(("factor", "word"), [(1.0, EQUAL), (1.5, DIFFERS)])
def test_the_section_counts_what_was_found(factor: float, word: str) -> None:
    table, each = aa_section(results_with(factor)).tables
    by_metric = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    for metric in map(titled, ("latency_ms_p50", "wire_bytes_per_event", "server_cpu_us_per_event")):
        row = by_metric[metric]
        assert row["experiments"] == "12" and row[word] == "12"
        assert sum(int(row[name]) for name in (DIFFERS, EQUAL, OPEN)) == 12
    assert by_metric[titled("latency_ms_p95")]["experiments"] == "0", "what was not measured is not counted"
    assert [(row[1], row[3]) for row in each.rows] == [("5", word)] * 12


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 1000))
def test_a_planted_slowdown_is_found_in_as_many_blocks_as_the_plan_has(seed: int) -> None:
    """FAKE trials that scatter as those of a shared machine do: 10 % within a pair."""
    planned = [one for one in aa_trials("default", "websocket", 1, planted=True) if one.section == "experiment 1"]
    results = new_sweep(Sweep(AA_FILE, "default", 1, planned), ["a", "test"], placement([0, 1]))
    draw = random.Random(seed)
    for one in planned:
        trial = blank(one.plan, one.trial, 1, "2026-01-01T00:00:00+00:00")
        slowed = 1.2 if one.plan.inject_fault else 1.0
        trial.metrics = {"server_cpu_us_per_event": 15.0 * slowed * math.exp(draw.gauss(0, 0.10 / math.sqrt(2)))}
        results.trials.append(SweepTrial(one.section, one.load, trial))
    (row,) = aa_section(results).tables[1].rows
    assert row[1] == "44" and row[3] == DIFFERS, row


def test_invalid_trials_are_left_out_and_said() -> None:
    results = results_with(1.0)
    for one in results.trials[:10]:
        one.trial.status, one.trial.reasons = "invalid", ["somebody else was busy"]
    section = aa_section(results)
    assert section.tables[0].rows[0][1] == "11" and "10 trials did not count" in section.cautions[0]


@pytest.mark.long
def test_the_plumbing_for_real(tmp_path: Path) -> None:
    done = run_module("bench", "aa", "--preset", "smoke", "--transport", "raw", "--out", str(tmp_path / "out"))
    results = read(tmp_path / "out" / AA_FILE, SweepResults)
    assert results.finished and planned_count([one.trial for one in results.trials]) == 6, done.stdout + done.stderr
    assert all(one.trial.status in ("ok", "invalid") and one.trial.metrics for one in results.trials)
    assert "A against A" in (tmp_path / "out" / "report.md").read_text()


def test_a_file_of_a_run_that_never_began_is_a_section_too(tmp_path: Path) -> None:
    empty = new_sweep(Sweep(AA_FILE, "smoke", 1, []), ["a", "test"], placement([0, 1]))
    save(empty, tmp_path, AA_FILE)
    assert invoke("reports", str(tmp_path)).returncode == 1, "nothing was measured"
