"""docs/ci.md: its commands are carried out on results of the plan that they would measure."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
import pytest
from click.testing import CliRunner

from bench.cli import run
from bench.plan.presets import make_plans
from bench.results.files import save
from bench.results.run import Plan
from bench.run.cell import cell
from reports.cli import main
from reports.compare.runs import unlike
from tests.helpers.fake_results import fake_results

PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
BASELINE, GITHUB, GITLAB, AGAIN = (text for _, text in BLOCKS)


def commands(text: str, module: str) -> list[list[str]]:
    """The arguments of each ``python -m MODULE`` in a block."""
    found = re.findall(rf"python -m {module} (.*?)(?: \|\| code=1)?$", text, re.MULTILINE)
    return [shlex.split(line) for line in found]


def plan_of(arguments: list[str]) -> Plan:
    """What ``python -m bench run`` would measure. Raises for an option or value that it refuses."""
    assert arguments[0] == "run"
    given = run.make_context("run", arguments[1:]).params
    (plan,) = make_plans(**{name: value for name, value in given.items() if name != "out"})
    return plan


def save_run(folder: Path, plan: Plan, bytes_factor: float = 1.0) -> None:
    """Fake results under the plan's point and objectives."""
    results = fake_results()
    results.plan = msgspec.structs.replace(results.plan, point=plan.point, slo=plan.slo, transports=plan.transports)
    results.trials = [trial for trial in results.trials if trial.transport in plan.transports]
    for trial in results.trials:
        if "wire_bytes_per_event" in trial.metrics:
            trial.metrics["wire_bytes_per_event"] *= bytes_factor
    folder.mkdir(parents=True)
    save(results, folder)


@pytest.mark.parametrize("block", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_baseline_and_workflow_measure_the_same(block: str) -> None:
    (baseline,), (now,) = commands(BASELINE, "bench"), commands(block, "bench")
    of_baseline, of_now = fake_results(), fake_results()
    of_baseline.plan, of_now.plan = plan_of(baseline), plan_of(now)
    assert unlike(of_baseline, of_now) == [] and of_baseline.plan.seed == of_now.plan.seed
    assert of_now.plan.slo and not of_baseline.plan.slo


@pytest.mark.parametrize("block", [GITHUB, GITLAB], ids=["github", "gitlab"])
@pytest.mark.parametrize(("bytes_factor", "failed"), [(1.0, 0), (1.2, 2)])
def test_the_reports_commands_write_what_is_published(
    block: str, bytes_factor: float, failed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, app = plan_of(commands(block, "bench")[0]), tmp_path / "app"
    checkout = app / "pushmark" if block == GITLAB else tmp_path / "pushmark"
    save_run(app / "realtime" / "baseline", plan)
    save_run(checkout / "now", plan, bytes_factor)
    monkeypatch.chdir(checkout)
    render, compare = commands(block, "reports")
    summary = str(tmp_path / "summary.md")
    done = CliRunner().invoke(main, [summary if word == "$GITHUB_STEP_SUMMARY" else word for word in render])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, compare)
    assert done.exit_code == bool(failed), done.output
    published = {name: re.search(rf"\b{name}\b", block) for name in ("objectives.xml", "comparison.xml")}
    assert all(published.values())
    assert ElementTree.parse("objectives.xml").findall(".//testcase")
    assert len(ElementTree.parse("comparison.xml").findall(".//failure")) == failed


def test_the_last_command_measures_a_cell() -> None:
    (arguments,) = commands(AGAIN, "bench")
    assert arguments[0] == cell.name
    assert isinstance(cell.make_context("cell", arguments[1:]), click.Context)
