"""``python -m reports cost RUN RUN RUN``: three FAKE runs of which one differs, and what must be refused or named."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from bench.results.files import COST_FILE, save
from bench.results.sweep import SweepResults
from bench.sweeps.cost import PRESETS, cost_trials
from reports.cli import main
from reports.compare.cost import alike, spread_section
from reports.formats import listed
from reports.sections.cost import summarize_cost
from tests.commands.test_cost import measured

SECTIONS = ["main", "memory"]


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> SweepResults:
    return measured(cost_trials(PRESETS["default"], 1, names=SECTIONS), tmp_path_factory.mktemp("run"), COST_FILE)


def copies(run: SweepResults, *factors: float) -> list[SweepResults]:
    """The run again and again, two hours apart, with the CPU of WebSocket multiplied."""
    runs = [msgspec.convert(msgspec.to_builtins(run), SweepResults) for _ in factors]
    for place, (of, factor) in enumerate(zip(runs, factors, strict=True)):
        of.created_at = f"2026-01-01T{2 * place:02}:00:00+00:00"
        for one in of.trials:
            one.trial.started_at = f"2026-01-01T{2 * place:02}:01:00+00:00"
            if one.trial.transport == "websocket" and not one.trial.variant:
                one.trial.metrics["server_cpu_us_per_event"] *= factor
    return runs


def report(runs: list[SweepResults], folder: Path, *options: str) -> Result:
    paths = []
    for place, run in enumerate(runs):
        (folder / str(place)).mkdir()
        save(run, folder / str(place), COST_FILE)
        paths.append(str(folder / str(place)))
    return CliRunner().invoke(main, ["cost", *paths, *options])


def goal(runs: list[SweepResults], name: str) -> list[str]:
    rows = summarize_cost(*runs).tables[0].rows
    return [str(cell) for cell in next(row for row in rows if row[0] == name and "baseline" in str(row[1]))]


def test_goals_are_judged_between_the_runs(one_run: SweepResults) -> None:
    """2.125 of the baseline in each block keeps the goal of 2.3; the same mean of runs that differ settles nothing."""
    assert goal(copies(one_run, 1.0, 1.0, 1.0), "WebSocket")[2:] == ["2.13", "reached"]
    assert goal(copies(one_run, 0.8, 1.0, 1.25), "WebSocket")[3] == "open"
    assert goal(copies(one_run, 2.0, 2.1, 2.2), "WebSocket")[3] == "missed"


def test_every_run_has_its_column_and_both_intervals(one_run: SweepResults, tmp_path: Path) -> None:
    done = report(copies(one_run, 0.8, 1.0, 1.25), tmp_path, "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    rows = spread_section(alike(copies(one_run, 0.8, 1.0, 1.25))).tables[1].rows
    row = next(row for row in rows if row[0] == "WebSocket, × baseline")
    assert row[1:4] == ["1.70", "2.12", "2.66"]
    assert row[4:] == ["2.13", "[1.22, 3.70]"], "t with 2 degrees of freedom: 4.303 · ln 1.25 / √3 on either side"
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Spread of server CPU per event (µs): main" in text and "WebSocket, × baseline" in text
    assert (tmp_path / "out" / "figures" / "cost_cpu.png").exists()


def test_a_run_that_lacks_a_row_is_named_and_settles_no_goal(one_run: SweepResults) -> None:
    runs = copies(one_run, 1.0, 1.0, 1.0, 1.0)
    for one in runs[2].trials:
        if one.trial.transport == "websocket":
            one.trial.status, one.trial.reasons = "invalid", ["the test says so"]
    assert goal(runs, "WebSocket")[2:] == ["2.13, not measured in run 3", "open"]
    section = spread_section(alike(runs))
    assert next(row for row in section.tables[1].rows if row[0] == "WebSocket")[3] == "–"
    left_out = [one for one in runs[2].trials if one.trial.status == "invalid"]
    assert len(left_out) > 3, "too many for a caution each"
    sections = listed(list(dict.fromkeys(one.section for one in left_out)))
    total = sum(len(of.trials) for of in runs)
    said = f"{len(left_out)} of {total} trials left out, of {sections}: the last table has each with its reason."
    assert said in section.cautions and section.tables[-1].title == "Left out of all averages"
    named = [[f"Run 3: {one.trial.id}", "invalid", "the test says so"] for one in left_out]
    assert section.tables[-1].rows == named


def test_a_few_trials_left_out_are_named_at_once(one_run: SweepResults) -> None:
    runs = copies(one_run, 1.0, 1.0, 1.0)
    broken = runs[1].trials[0].trial
    broken.status, broken.reasons = "invalid", ["the test says so"]
    section = spread_section(alike(runs))
    assert f"Run 2: {broken.id} left out: the test says so." in section.cautions
    assert section.tables[-1].title != "Left out of all averages"


def test_runs_of_one_hour_and_other_versions_are_named(one_run: SweepResults) -> None:
    runs = copies(one_run, 1.0, 1.1, 1.2)
    runs[1].created_at, runs[2].versions["uvloop"] = "2026-01-01T00:10:00+00:00", "other"
    cautions = spread_section(alike(runs)).cautions
    assert cautions[0].startswith("Runs 1 and 2 began 600 s apart") and len(cautions) == 2
    assert cautions[1] == "The runs have different versions of uvloop."
    assert not spread_section(alike(copies(one_run, 1.0, 1.1, 1.2))).cautions


def test_each_runs_processor_is_in_the_report(one_run: SweepResults) -> None:
    runs = copies(one_run, 1.0, 1.1, 1.2)
    runs[0].host, runs[1].host = {}, {"cpu_model": "Model B", "cpu_mhz": "2100.0", "cores": [0], "system": "Linux 6"}
    rows = spread_section(alike(runs)).tables[0].rows
    assert [row[2] for row in rows[:2]] == ["processor not recorded", "Model B, 2100 MHz, 1 core, Linux 6"]
    assert "processor not recorded; Model B, 2100 MHz, 1 core, Linux 6" in summarize_cost(*runs).title


def without(run: SweepResults, section: str) -> SweepResults:
    loads = {name: of for name, of in run.loads.items() if name != section}
    return msgspec.structs.replace(run, loads=loads, trials=[one for one in run.trials if one.section in loads])


def test_a_run_may_have_some_of_the_sections_and_is_no_part_of_the_others(one_run: SweepResults) -> None:
    runs = copies(one_run, 1.0, 5.0, 1.1, 1.2)
    runs[1] = without(runs[1], "main")
    assert goal(runs, "WebSocket")[2].startswith("2.33 ["), "the mean of 1, 1.1 and 1.2 times 2.125, and not of 5"
    tables = {table.title: table for table in spread_section(alike(runs)).tables}
    assert tables["Spread of server CPU per event (µs): main"].head[1:4] == ["run 1", "run 3", "run 4"]
    assert tables["Spread of resident memory per connection (B): memory"].head[1:5] == [f"run {n}" for n in range(1, 5)]
    assert [row[4] for row in tables["The runs"].rows] == ["main and memory", "memory", *["main and memory"] * 2]


def test_what_a_later_run_measured_otherwise_is_left_out_and_named(one_run: SweepResults) -> None:
    runs = copies(one_run, 5.0, 1.0, 1.0, 1.0)
    for label, plan in runs[0].loads["main"].items():
        runs[0].loads["main"][label] = msgspec.structs.replace(plan, schedule="constant")
    kept = alike(runs)
    assert kept.left_out == ["Run 1 measured main under other loads than later runs: left out."]
    assert kept.left_out[0] in spread_section(kept).cautions
    assert goal(kept.runs, "WebSocket")[2:] == ["2.13", "reached"]
    assert {one.section for one in kept.runs[0].trials} == {"memory"}, "its other section counts"
    seeds = [msgspec.structs.replace(plan, seed=9) for plan in runs[3].loads["main"].values()]
    runs[3].loads["main"] = dict(zip(runs[3].loads["main"], seeds, strict=True))
    assert alike(runs).left_out == kept.left_out, "another seed is no other load"


@pytest.mark.parametrize("fault", ("too few", "twice", "another load", "no time", "no file"))
def test_what_is_no_set_of_runs_is_refused_in_one_line(one_run: SweepResults, tmp_path: Path, fault: str) -> None:
    runs = copies(one_run, 1.0, 1.1, 1.2)
    said = {
        "too few": "2 runs: an interval between runs needs at least 3",
        "twice": "the same run as one before it",
        "another load": "main: 1 run under the loads of the newest; an interval between runs needs at least 3",
        "no time": "created_at 'yesterday' is no time",
        "no file": "No such file",
    }[fault]
    if fault == "too few":
        runs.pop()
    elif fault == "twice":
        runs[2] = msgspec.structs.replace(runs[1], created_at="2026-01-01T08:00:00+00:00")
    elif fault == "another load":
        (label, plan), *_ = runs[2].loads["main"].items()
        runs[2].loads["main"][label] = msgspec.structs.replace(plan, rate_hz=99.0)
    elif fault == "no time":
        runs[1].created_at = "yesterday"
    done = report(runs, tmp_path, *([str(tmp_path / "nowhere")] if fault == "no file" else []))
    assert done.exit_code == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.output
