"""JUnit files of objectives and comparisons: what GitHub, GitLab and Jenkins read of them."""

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner

from bench.results.files import save
from bench.results.run import Results
from bench.results.thresholds import parse_change
from reports.cli import main
from reports.compare.runs import cases, compare_point, failures
from reports.layout import Case
from reports.sections.objectives import objective_cases
from reports.statistics import OPEN
from reports.table.summary import summarize
from reports.writers.junit import to_junit
from tests.helpers.fake_results import fake_results, put

CREATED = "2026-01-01T00:00:00+00:00"


def with_objectives(*texts: str) -> Results:
    results = fake_results()
    results.plan = msgspec.structs.replace(results.plan, slo=list(texts))
    return results


def changed(transport: str, metric: str, factors: tuple[float, ...]) -> Results:
    """A fake run with a metric of one transport multiplied, by a factor per block."""
    results = fake_results()
    for trial in results.trials:
        if trial.transport == transport and metric in trial.values:
            put(trial, {metric: trial.values[metric] * factors[(trial.block - 1) % len(factors)]})
    return results


def read(text: bytes) -> ElementTree.Element:
    """The one suite of a file, after checks of what readers require (Jenkins' junit-10.xsd, GitLab's and GitHub's)."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites" and [child.tag for child in root] == ["testsuite"]
    suite = root[0]
    assert {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"} <= set(suite.attrib)
    found = suite.findall("testcase")
    assert len(found) == len(suite) == int(suite.attrib["tests"])
    for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert len(suite.findall(f"testcase/{tag}")) == int(suite.attrib[count])
    for case in found:
        assert set(case.attrib) == {"classname", "name", "time"} and all(case.attrib.values())
        assert [child.tag for child in case] in (["failure"], ["skipped"], ["system-out"])
        assert float(case.attrib["time"]) >= 0
    names = [(case.attrib["classname"], case.attrib["name"]) for case in found]
    assert len(set(names)) == len(names), "a reader keeps a case's history by its names"
    return suite


def test_cases_are_counted_and_text_is_legal_xml() -> None:
    text = 'a < b & "c" \x1b\ufffe\ud800'
    three = [Case("a.b", "1", text), Case("a.b", "2", "", failure=text), Case("a.b", "3", "", "", text)]
    found = read(to_junit("suite", three, text))
    assert (found.attrib["failures"], found.attrib["skipped"], found.attrib["tests"]) == ("1", "1", "3")
    failure = found.find("testcase/failure")
    assert failure is not None and failure.attrib["message"] == failure.text == 'a < b & "c" \\x1b?\\ud800'
    assert read(to_junit("nothing", [], CREATED)).attrib["tests"] == "0"


def test_an_objective_passes_fails_or_is_skipped() -> None:
    results = with_objectives("sse/latency_p50 < 100", "polling/latency_p50 < 100", "lost == 0")
    found = objective_cases([summarize(results)])
    assert [bool(case.failure) for case in found[:2]] == [False, True]
    assert found[1].group == "sparse.polling" and "Polling: 52" in found[1].failure
    assert len(found) == 2 + len(results.plan.transports) and not any(case.skipped for case in found)
    unsettled = changed("sse", "latency_ms_p50", (0.8, 1.25, 0.9, 1.2, 0.95))
    unsettled.plan = msgspec.structs.replace(unsettled.plan, slo=["sse/latency_p50 < 22"])
    (case,) = objective_cases([summarize(unsettled)])
    assert not case.failure and case.skipped.startswith(OPEN)


def test_a_comparison_has_a_case_per_metric_and_fails_what_a_limit_forbids() -> None:
    worse = compare_point(fake_results(), changed("sse", "server_cpu_us_per_event", (1.3,)))
    assert not any(case.failure for case in cases([worse], [])), "without a limit nothing fails"
    found = cases([worse], [parse_change("server_cpu > 10%"), parse_change("sse/server_cpu > 20%")])
    failed = [case for case in found if case.failure]
    assert [(case.group, case.name) for case in failed] == [("sparse.sse", "server_cpu_us_per_event")]
    assert "allowed 10 %" in failed[0].failure, "the tighter of two limits"
    assert len(found) == len(worse.changes)
    assert read(to_junit("comparison", found, CREATED)).attrib["failures"] == "1"


def test_what_is_not_settled_is_skipped_and_says_how_many_blocks_would_tell() -> None:
    wide = compare_point(fake_results(), changed("sse", "latency_ms_p50", (0.8, 1.25, 0.9, 1.2, 0.95)))
    found = [case for case in cases([wide], [parse_change("latency_p50 > 1%")]) if case.is_skipped]
    assert [(case.group, case.name) for case in found] == [("sparse.sse", "latency_ms_p50")]
    assert "not settled, one new run of about" in found[0].skipped


def test_too_few_blocks_for_a_verdict_are_no_pass_of_a_limit() -> None:
    few = fake_results(4)
    (reason,) = failures([compare_point(fake_results(), few)], [parse_change("sse/latency_p50 > 5%")])
    assert reason == "sparse: SSE latency_ms_p50: no verdict: fewer than 5 valid blocks"
    found = cases([compare_point(fake_results(), few)], [])
    assert found and all(case.is_skipped and not case.failure for case in found)


def test_what_b_lacks_and_what_nothing_was_compared_for_is_no_pass() -> None:
    few = fake_results()
    for trial in few.trials:
        if trial.transport == "websocket":
            trial.status, trial.reasons = "invalid", ["the host stalled"]
    points = [compare_point(fake_results(), few)]
    assert {case.group for case in cases(points, []) if case.is_skipped} == {"sparse.websocket"}
    limits = [parse_change("websocket/latency_p50 > 5%"), parse_change("latency_p99 > 5%")]
    assert len(failures(points, limits)) == 2
    for trial in few.trials:
        trial.status = "failed"
    (reason,) = failures([compare_point(fake_results(), few)], [])
    assert reason.startswith("nothing to compare")


def run_folder(folder: Path, results: Results) -> str:
    folder.mkdir(parents=True)
    save(results, folder)
    return str(folder)


@pytest.mark.slow
def test_both_commands_write_the_file_and_exit_as_it_says(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", with_objectives("sse/latency_p50 < 1", "lost == 0"))
    b = run_folder(tmp_path / "b", changed("sse", "server_cpu_us_per_event", (1.3,)))
    file = tmp_path / "junit.xml"
    done = CliRunner().invoke(main, [a, "--junit", str(file)])
    suite = read(file.read_bytes())
    assert done.exit_code == 1 and (suite.attrib["failures"], suite.attrib["timestamp"]) == ("1", CREATED)
    for limit, code in (("server_cpu > 10%", 1), ("server_cpu > 50%", 0)):
        done = CliRunner().invoke(main, ["compare", a, b, "--junit", str(file), "--fail-on", limit])
        assert done.exit_code == code == int(read(file.read_bytes()).attrib["failures"]), done.output


@pytest.mark.slow
def test_a_file_that_cannot_be_written_and_a_run_without_objectives_are_one_clear_line(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", with_objectives("lost == 0"))
    b = run_folder(tmp_path / "b", fake_results())
    missing, file = str(tmp_path / "no" / "such.xml"), str(tmp_path / "junit.xml")
    for arguments, said in (
        ([a, "--junit", missing], "no/such.xml: No such file or directory"),
        (["compare", a, b, "--junit", missing], "no/such.xml: No such file or directory"),
        ([b, "--junit", file], "python -m bench run --slo sets them"),
        ([a, "--junit", str(tmp_path)], "is a directory"),
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2 and said in done.stderr and "Traceback" not in done.output, done.output
    assert not Path(file).exists()


@pytest.mark.parametrize(
    ("factors", "limits", "said"),
    [
        ((1.3,), [], ["cell sse/server_cpu_us_per_event --point sparse", "--fail-on 'sse/server_cpu", "--junit"]),
        ((1.3,), ["server_cpu > 50%"], ["python -m bench cell sse/server_cpu_us_per_event --point sparse --of "]),
        ((0.5, 2.0, 0.7, 1.6, 1.0), [], ["1 of 36 metrics not settled: measure both runs anew with --blocks "]),
    ],
)
def test_a_comparison_ends_with_what_to_do_next(
    tmp_path: Path, factors: tuple[float, ...], limits: list[str], said: list[str]
) -> None:
    a = run_folder(tmp_path / "a", fake_results())
    b = run_folder(tmp_path / "b", changed("sse", "server_cpu_us_per_event", factors))
    done = CliRunner().invoke(main, ["compare", a, b, *(word for limit in limits for word in ("--fail-on", limit))])
    _, found, steps = done.stdout.rpartition("Next:\n")
    assert done.exit_code == 0 and found and all(text in steps for text in said), steps
    assert ("--fail-on" in steps) is not bool(limits)
