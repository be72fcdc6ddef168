"""Comparing runs, thresholds and objectives."""

import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.results.catalogue import METRICS
from bench.results.files import ResultsError, save
from bench.results.run import Results
from bench.results.thresholds import COUNTS, OPERATORS, ThresholdError, name_of, parse_change, parse_objective
from feed.transports import TRANSPORTS
from reports.compare.runs import MAY_DIFFER, common, compare_all, compare_point, failures, unlike
from reports.samples import Unpaired, moments
from reports.sections.objectives import MET, MISSED, judge
from reports.statistics import DIFFERS, EQUAL, FEW, OPEN, Estimate, Margin, compare_runs, verdicts
from tests.conftest import invoke, run_module
from tests.helpers.fake_results import fake_results

SLOWER = 1.3
PURE = settings(deadline=None, derandomize=True, database=None)


def run_folder(folder: Path, results: Results) -> Path:
    folder.mkdir(parents=True)
    save(results, folder)
    return folder


def slower(results: Results, transport: str = "sse") -> Results:
    for trial in results.trials:
        if trial.transport == transport and "server_cpu_us_per_event" in trial.metrics:
            trial.metrics["server_cpu_us_per_event"] *= SLOWER
    return results


def test_a_run_does_not_differ_from_itself() -> None:
    found = compare_point(fake_results(), fake_results())
    assert {change.comparison.verdict.word for change in found.changes} == {EQUAL}
    assert {change.transport for change in found.changes} == set(TRANSPORTS) and not found.missing


def test_a_change_is_found_where_it_is_and_nowhere_else() -> None:
    found = compare_point(fake_results(), slower(fake_results()))
    different = [change for change in found.changes if change.comparison.verdict.word == DIFFERS]
    assert [(change.transport, change.metric) for change in different] == [("sse", "server_cpu_us_per_event")]
    assert different[0].worse == pytest.approx(SLOWER - 1)


@pytest.mark.parametrize(
    ("limit", "fails"),
    [
        ("server_cpu > 10%", True),
        ("sse/server_cpu_us_per_event > 10 %", True),
        ("server_cpu > 40%", False),
        ("websocket/server_cpu > 10%", False),
        ("latency_p95 > 0%", False),
    ],
)
def test_fail_on(tmp_path: Path, limit: str, fails: bool) -> None:
    a, b = run_folder(tmp_path / "a", fake_results()), run_folder(tmp_path / "b", slower(fake_results()))
    done = invoke("reports", "compare", str(a), str(b), "--fail-on", limit)
    assert done.returncode == int(fails), done.stderr
    assert ("SSE server_cpu_us_per_event is +30.0 %" in done.stderr) is fails
    better = invoke("reports", "compare", str(b), str(a), "--fail-on", limit)
    assert better.returncode == 0, "better is never a failure"


def test_unlike_plans_are_refused_by_name_unless_told(tmp_path: Path) -> None:
    other = fake_results(rtt_ms=10.0)
    a, b = run_folder(tmp_path / "a", fake_results()), run_folder(tmp_path / "b", other)
    done = invoke("reports", "compare", str(a), str(b))
    assert done.returncode == 2 and "rtt_ms: 40.0 / 10.0" in done.stderr and "Traceback" not in done.stderr
    assert invoke("reports", "compare", str(a), str(b), "--allow-unlike").returncode == 0


def test_how_long_was_measured_does_not_make_plans_unlike() -> None:
    a, b = fake_results(), fake_results()
    b.plan = msgspec.structs.replace(b.plan, seed=9, duration_s=99.0, blocks=3, preset="other")
    assert unlike(a, b) == []
    assert set(b.plan.__struct_fields__) >= MAY_DIFFER, "every name that may differ is one of the plan"


def test_what_differs_in_host_and_versions_is_said_first_and_the_outputs_agree(tmp_path: Path) -> None:
    other = slower(fake_results())
    other.versions |= {"uvicorn": "0.99.0"}
    a, b = run_folder(tmp_path / "a", fake_results()), run_folder(tmp_path / "b", other)
    done = invoke("reports", "compare", str(a), str(b), "--markdown", str(tmp_path / "c.md"))
    text = (tmp_path / "c.md").read_text()
    assert "uvicorn: 0.54.0 / 0.99.0" in done.stdout and text.index("0.99.0") < text.index("server")
    found = json.loads(invoke("reports", "compare", str(a), str(b), "--json").stdout)
    assert found["failed"] == [] and len(found["points"][0]["changes"]) >= 30


def test_both_operating_points_are_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_folder(tmp_path / name, fake_results())
        busy = fake_results()
        busy.plan = msgspec.structs.replace(busy.plan, point="broadcast")
        run_folder(tmp_path / name / "broadcast", busy)
    done = run_module("reports", "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert done.returncode == 0 and "B against A: broadcast" in done.stdout


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"schema_version": 7}', b"[]"])
def test_a_bad_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    a = run_folder(tmp_path / "a", fake_results())
    (tmp_path / "bad.json").write_bytes(content)
    for pair in ((a, tmp_path / "bad.json"), (tmp_path / "missing", a)):
        done = invoke("reports", "compare", *map(str, pair))
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "bad.json" in done.stderr or "missing" in done.stderr


NAMES = st.sampled_from(list(METRICS))


@PURE
@given(NAMES)
def test_every_metric_is_found_by_its_name_and_without_its_unit(name: str) -> None:
    assert name_of(name) == name
    short = "_".join(word for word in name.split("_") if word not in ("ms", "us", "per", "event"))
    assert name_of(short) == name


@PURE
@given(
    st.sampled_from(["", *TRANSPORTS]), NAMES, st.sampled_from(list(OPERATORS)), st.integers(0, 10**9), st.booleans()
)
def test_what_is_written_is_what_is_read(transport: str, name: str, sign: str, bound: int, spaced: bool) -> None:
    space = " " if spaced else ""
    prefix = f"{transport}{space}/{space}" if transport else ""
    found = parse_objective(f"{prefix}{name}{space}{sign}{space}{bound}")
    assert (found.transport, found.metric, found.sign, found.bound) == (transport, name, sign, bound)
    change = parse_change(f"{prefix}{name}{space}>{space}{bound}{space}%")
    assert (change.transport, change.metric, change.share) == (transport, name, bound / 100)


@PURE
@given(st.text(max_size=300))
def test_anything_else_is_refused_and_never_raises_another_error(text: str) -> None:
    for parse in (parse_objective, parse_change):
        try:
            parse(text)
        except ThresholdError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency > 10", "no metric 'latency'"),
        ("pigeon/lost == 0", "no transport 'pigeon'"),
        ("lost = 0", "expected"),
        ("lost == -1", "expected"),
        ("", "expected"),
    ],
)
def test_a_wrong_objective_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ThresholdError, match=said):
        parse_objective(text)
    done = invoke("bench", "run", "--slo", text)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "results" not in done.stdout


@PURE
@given(st.floats(1, 100), st.floats(0, 0.5), st.floats(1, 200))
def test_an_objective_is_met_only_by_the_whole_interval(value: float, width: float, bound: float) -> None:
    found = Estimate(value, value * (1 - width), value * (1 + width), 5)
    word = judge(parse_objective(f"latency_p95 < {bound:.6f}"), found)
    limit = float(f"{bound:.6f}")
    assert word == (MET if value * (1 + width) < limit and value < limit else OPEN if value < limit else MISSED)


@pytest.mark.slow
def test_objectives_stand_in_the_report_and_decide_the_exit_code(tmp_path: Path) -> None:
    for name, objectives, code in (
        ("met", ["latency_p95_ms < 5000", "lost == 0"], 0),
        ("missed", ["sse/latency_p50 < 1", "lost == 0"], 1),
    ):
        results = fake_results()
        results.plan = msgspec.structs.replace(results.plan, slo=objectives)
        done = invoke("reports", str(run_folder(tmp_path / name, results)))
        assert done.returncode == code, done.stderr
        page = (tmp_path / name / "report.md").read_text()
        assert "Service-level objectives" in page and "Service-level objectives" in done.stdout
        assert ("Missed:" in done.stderr) is bool(code)
    assert set(COUNTS) == {"lost", "duplicate", "out_of_order", "late", "gaps", "reconnects"}


SAMPLES = st.lists(st.integers(1, 1000), min_size=2, max_size=8, unique=True)


@PURE
@given(SAMPLES, SAMPLES)
def test_welch_is_scipys(a: list[int], b: list[int]) -> None:
    from scipy.stats import ttest_ind

    of = Unpaired(a, b, 0.0).moments()
    expected = ttest_ind(a, b, equal_var=False)
    assert of.freedom == pytest.approx(expected.df, rel=1e-6)
    assert of.tail(abs(of.mean)) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.slow
def test_unpaired_runs_cry_wolf_as_seldom_as_they_say() -> None:
    """Two runs of the same, six transports: any false *differs* in at most about 5 % of 1,000 pairs of runs."""
    draw = random.Random(1)
    margin = Margin(1e-9)
    wrong = 0
    for _ in range(1000):
        values = {str(i): tuple({b: draw.lognormvariate(0, 0.1) for b in range(5)} for _ in range(2)) for i in range(6)}
        found = compare_runs(values, margin, paired=False)
        wrong += any(of.verdict.word == DIFFERS for of in found.values())
    assert wrong / 1000 < 0.065


def test_a_single_block_on_either_side_settles_nothing() -> None:
    (found,) = verdicts([Unpaired([1.0], [2.0, 3.0], 0.1)])
    assert found.word == FEW and found.low is None and moments([1.0]).freedom == 0


def test_failures_name_the_change() -> None:
    found = failures([compare_point(fake_results(), slower(fake_results()))], [parse_change("server_cpu > 10%")])
    assert len(found) == 1 and "SSE" in found[0] and "allowed 10 %" in found[0]


def test_what_b_lacks_fails_a_limit_that_is_about_it() -> None:
    broken = fake_results()
    for trial in broken.trials:
        if trial.transport == "websocket":
            trial.status, trial.reasons = "invalid", ["the host stalled"]
    changes = [compare_point(fake_results(), broken)]
    for limit in ("websocket/server_cpu > 10%", "server_cpu > 10%"):
        (found,) = failures(changes, [parse_change(limit)])
        assert "WebSocket server_cpu_us_per_event was measured in A and not in B" in found
    assert failures(changes, [parse_change("sse/server_cpu > 10%")]) == []
    (found,) = failures(changes, [parse_change("sse/latency_p99 > 10%")])
    assert "nothing was compared" in found


@pytest.mark.parametrize(
    ("before", "fails"), [([0.0] * 5, True), ([2.0, 0.0, 2.0, 2.0, 2.0], True), ([5.0] * 5, False)]
)
def test_what_was_nothing_in_a_can_become_worse(before: list[float], fails: bool) -> None:
    """Where a value is 0 there is no ratio: the difference is a share of A's mean."""
    a, b = fake_results(), fake_results()
    for results, values in ((a, before), (b, [5.0, 5.1, 4.9, 5.0, 5.0])):
        for trial in results.trials:
            if trial.transport == "sse" and trial.status == "ok":
                trial.metrics["requests_per_event"] = values[trial.block - 1]
    assert bool(failures([compare_point(a, b)], [parse_change("sse/requests_per_event > 10%")])) is fails
    assert failures([compare_point(b, a)], [parse_change("sse/requests_per_event > 10%")]) == []


def test_points_are_compared_by_name_and_one_that_b_lacks_fails() -> None:
    quiet, busy = fake_results(), slower(fake_results())
    busy.plan = msgspec.structs.replace(busy.plan, point="broadcast")
    found = compare_all([quiet, busy], common([quiet, busy], [busy]))
    assert [of.point for of in found] == ["broadcast", "sparse"]
    assert {change.comparison.verdict.word for change in found[0].changes} == {EQUAL} and not found[1].changes
    (reason,) = failures(found, [parse_change("sse/latency_p50 > 5%")])
    assert reason == "sparse: SSE latency_ms_p50 was measured in A and not in B"
    assert failures(compare_all([busy], common([busy], [quiet, busy])), [parse_change("sse/latency_p50 > 5%")]) == []


def test_runs_without_a_point_in_common_are_refused() -> None:
    one, other, third = fake_results(), fake_results(), fake_results()
    other.plan, third.plan = (msgspec.structs.replace(of.plan, point=name) for of, name in ((other, "b"), (third, "c")))
    with pytest.raises(ResultsError, match="A has sparse, B has b, c"):
        common([one], [other, third])


@pytest.mark.slow
def test_the_summary_for_ci_is_appended_and_short(tmp_path: Path) -> None:
    results = fake_results()
    results.plan = msgspec.structs.replace(results.plan, slo=["lost == 0"])
    folder, file = run_folder(tmp_path / "run", results), tmp_path / "summary.md"
    file.write_text("before\n\n")
    done = invoke("reports", str(folder), "--summary", str(file))
    text = file.read_text()
    assert done.returncode == 0 and text.startswith("before") and len(text.splitlines()) <= 60
    for said in (
        "40 ms round trip",
        "verdicts on the article",
        "This host was",
        "| **Polling** |",
        "lost == 0",
        "met",
    ):
        assert said in text
