"""``python -m reports``: every file it writes, and what it refuses. From FAKE results."""

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner, Result

from bench.results.files import RESULTS_FILE, save
from bench.results.run import Counts, Results
from feed.console.terminal import new_console
from reports.cli import main
from reports.figures.bytes import enlarged_up_to
from reports.figures.panels import spread
from reports.layout import Section, Table
from reports.report import build
from reports.sections.point import FIGURES
from reports.style import INK, LOOKS, PAPER, on_top, text_colour, tint
from reports.table.run import RunFolder
from reports.writers.csv import METRIC_NAMES
from reports.writers.terminal import show_short
from tests.conftest import run_module
from tests.helpers.fake_results import fake_results

ROOT = Path(__file__).resolve().parents[2]


def _report(results: Results, folder: Path, *options: str) -> Result:
    folder.mkdir(exist_ok=True)
    save(results, folder)
    return CliRunner().invoke(main, [str(folder), *options], catch_exceptions=False)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole fake run, written once."""
    folder = tmp_path_factory.mktemp("report")
    done = _report(fake_results(), folder, "--details")
    assert done.exit_code == 0, done.output
    (folder / "terminal.txt").write_text(done.output)
    return folder


def test_every_file_is_written(rendered: Path) -> None:
    for name, _, _ in FIGURES:
        assert (rendered / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        ElementTree.parse(rendered / "figures" / f"{name}.svg")
    for name in ("index.html", "report.md", "results.csv"):
        assert (rendered / name).stat().st_size > 1000


def test_the_terminal_shows_the_table_the_reasons_and_the_path(rendered: Path) -> None:
    shown = (rendered / "terminal.txt").read_text()
    for text in ("Technology", "Long polling", "522 ms [", "(article: Medium)", "very low ≤ 1.25", "[24."):
        assert text in shown
    assert re.search(r"b2-sse +1 +invalid +the relay was the bottleneck", shown)
    assert shown.rstrip().endswith(str(rendered / "index.html"))


def test_the_page_loads_nothing_and_escapes_what_it_shows(rendered: Path) -> None:
    page = (rendered / "index.html").read_text()
    assert not re.search(r'\bsrc\s*=|<link|@import|url\(\s*["\']?(?!#)', page)
    loads = [tag for tag in re.findall(r"<[^>]*href=\"(?!#)[^>]*>", page) if not tag.startswith("<a ")]
    assert loads == []
    assert "&lt;before&gt; the feed | began" in page
    assert "<before>" not in page
    assert page.count("<svg") == len(FIGURES) - 1  # the table is HTML there


def test_the_parts_of_inlined_figures_have_names_of_their_own(rendered: Path) -> None:
    page = (rendered / "index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_page_and_markdown_carry_everything_that_qualifies_the_table(rendered: Path) -> None:
    for name in ("index.html", "report.md"):
        text = (rendered / name).read_text()
        for part in ("no practical difference in 5 blocks", "single trial: no interval", "RFC 6455, 7.2.3"):
            assert part in text, (name, part)
        for part in ("ratio to the baseline", "events per response", "uvicorn", "browser", "out of order"):
            assert part in text, (name, part)


def test_markdown_tables_have_as_many_cells_in_every_line(rendered: Path) -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", (rendered / "report.md").read_text(), flags=re.MULTILINE)
    assert len(tables) > 8
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


@pytest.mark.parametrize("cautions", [0, 100])
@pytest.mark.parametrize("points", [1, 2, 5])
def test_without_details_the_terminal_shows_a_screenful(points: int, cautions: int, tmp_path: Path) -> None:
    """The answers, whatever else has to give way; the path and the next two commands stand at the end."""
    for place in range(points):
        results = fake_results(seed=place)
        results.plan = msgspec.structs.replace(results.plan, point=f"point-{place}")
        (tmp_path / str(place)).mkdir()
        save(results, tmp_path / str(place) if place else tmp_path)
    sections = build(RunFolder(tmp_path))
    sections[0].cautions.extend(["something to beware of, at length, " * 4] * cautions)
    lines = _short(sections)
    text = "\n".join(lines)
    assert text.count("equal for the user") == points and ("Technology" in text or points > 2)
    assert "\n! " in text, "cautions have a place"
    assert "more: add --details" in text or not (cautions or points > 2)


def test_the_published_run_fits_a_screen() -> None:
    lines = _short(build(RunFolder(ROOT / "docs" / "runs" / "table")))
    assert not any("--details" in line for line in lines), "nothing has to give way"


def test_a_long_reason_in_a_cell_hides_no_column() -> None:
    table = Table(
        "Goals",
        ["", "Goal", "Measured", ""],
        [["SSE", "at most 3", "1.7", "reached"], ["x", "y", "why " * 40, "missed"]],
        [],
    )
    text = "\n".join(_short([Section("Costs", "200 subscribers", [], [table])]))
    assert "1.7" in text and "missed" in text and "…" in text


def _short(sections: list[Section]) -> list[str]:
    """The lines of the short form at 100 columns."""
    console = new_console(width=100, highlight=False)
    stdout = io.StringIO()
    with redirect_stdout(stdout):
        show_short(sections, ["Report: there", "first", "second"], console)
    lines = stdout.getvalue().splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert lines[-3:] == ["Report: there", "first", "second"]
    return lines


def test_csv_has_one_row_per_trial_and_a_column_per_metric(rendered: Path) -> None:
    results = fake_results()
    with (rendered / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [trial.id for trial in results.trials]
    assert set(METRIC_NAMES) <= rows[0].keys()
    for row, trial in zip(rows, results.trials, strict=True):
        assert {name: float(row[name]) for name in METRIC_NAMES if row[name]} == trial.values
        assert row["reasons"] == "; ".join(trial.reasons)


def test_the_same_results_give_the_same_figures(rendered: Path, tmp_path: Path) -> None:
    assert _report(fake_results(), tmp_path / "again", "--out", str(tmp_path / "out")).exit_code == 0
    for figure, _, _ in FIGURES:
        name = f"{figure}.svg"
        assert (tmp_path / "out" / "figures" / name).read_bytes() == (rendered / "figures" / name).read_bytes()


def _all_failed() -> Results:
    results = fake_results()
    for trial in results.trials:
        trial.status, trial.reasons, trial.metrics, trial.latency_ms, trial.counts = "failed", ["made up"], {}, {}, None
    return results


def _interrupted_at_once() -> Results:
    results = fake_results(finished=False)
    results.trials = []
    return results


def _streams_only() -> Results:
    results = fake_results(2)
    results.plan = msgspec.structs.replace(results.plan, transports=["sse", "websocket"])
    results.trials = [trial for trial in results.trials if trial.transport in results.plan.transports]
    return results


@pytest.mark.parametrize(
    ("made", "said", "code"),
    [
        (lambda: fake_results(2, finished=False), "interrupted", 0),
        (lambda: fake_results(1, rtt_ms=0.0), "single block has no intervals", 0),
        (_all_failed, "There is no valid measurement to compare.", 1),
        (_interrupted_at_once, "interrupted", 1),
        (_streams_only, "WebSocket", 0),
    ],
)
def test_a_run_that_went_otherwise_still_renders(
    made: Callable[[], Results], said: str, code: int, tmp_path: Path
) -> None:
    """With exit code 1 if nothing in it counts."""
    done = _report(made(), tmp_path)
    assert done.exit_code == code, done.output
    assert said in " ".join(done.output.split())
    assert said in (tmp_path / "index.html").read_text()


def _text(results: Results) -> bytes:
    return msgspec.json.encode(results)


def _with(**trial: object) -> bytes:
    raw = msgspec.to_builtins(fake_results(1))
    raw["trials"][0] |= trial
    return msgspec.json.encode(raw)


def _planned(**plan: object) -> bytes:
    raw = msgspec.to_builtins(fake_results(1))
    raw["plan"] |= plan
    return msgspec.json.encode(raw)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: _text(fake_results(1))[:500], "truncated"),
        (lambda: _planned(rooms=0), "`int` >= 1 - at `$.plan.rooms`"),
        (lambda: _planned(payload_bytes=10**18), "$.plan.payload_bytes"),
        (lambda: _planned(poll_interval_s=0), "`float` > 0.0 - at `$.plan.poll_interval_s`"),
        (lambda: _planned(rate_hz=-1), "$.plan.rate_hz"),
        (lambda: _planned(rtt_ms=1e308), "$.plan.rtt_ms"),
        (lambda: _planned(slo=["garbage"]), "'garbage': expected [transport/]metric"),
        (lambda: _planned(inject_fault={"smtp": "drop"}), "unknown transports smtp: allowed are polling"),
        (lambda: _with(poll_interval_s=0.0), "$.trials[0].poll_interval_s"),
        (lambda: _with(generator="wishes"), "unknown generators wishes: allowed are locust"),
        (lambda: _with(counts=dict.fromkeys(Counts.__struct_fields__, -5)), "`int` >= 0 - at `$.trials[0].counts"),
        (lambda: b"", "truncated"),
        (lambda: b"\xff\xfe not text", "JSON"),
        (lambda: _text(fake_results(1)).replace(b'"schema_version":2', b'"schema_version":99'), "schema version 99"),
        (lambda: _with(metrics={"latency_parsecs": 1.0}), "unknown metrics latency_parsecs"),
        (lambda: _with(transport="pigeon"), "unknown transports pigeon"),
        (lambda: _with(status="fine"), "unknown statuses fine"),
        (lambda: _with(latency_ms={"median": 1.0}), "unknown percentiles median"),
        (lambda: _with(block="first"), "Expected `int`"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_in_one_line(
    content: Callable[[], bytes], why: str, tmp_path: Path
) -> None:
    (tmp_path / RESULTS_FILE).write_bytes(content())
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(tmp_path) in done.stderr
    assert why in done.stderr
    assert not (tmp_path / "index.html").exists()


def test_missing_folders_and_unwritable_ones_are_refused_in_one_line(tmp_path: Path) -> None:
    missing = CliRunner().invoke(main, [str(tmp_path / "nowhere")])
    assert (missing.exit_code, len(missing.stderr.strip().splitlines())) == (2, 1)
    assert "nowhere: No such file or directory" in missing.stderr
    save(fake_results(1), tmp_path)
    (tmp_path / "taken").write_text("a file where the folder should be")
    taken = CliRunner().invoke(main, [str(tmp_path / RESULTS_FILE), "--out", str(tmp_path / "taken")])
    assert (taken.exit_code, len(taken.stderr.strip().splitlines())) == (2, 1)


def test_a_terminal_that_cannot_show_a_sign_and_a_full_device_end_without_traceback(rendered: Path) -> None:
    """``×`` and ``µ`` are replaced where the encoding has none; what cannot be written is an error in one line."""
    shown = run_module("reports", "compare", str(rendered), str(rendered), PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, "") and "?" in shown.stdout
    command = [sys.executable, "-m", "reports", "compare", str(rendered), str(rendered)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: cannot write to stdout: No space left on device\n")


def test_importing_the_report_loads_no_locust_and_no_client() -> None:
    """It would monkey-patch the process that draws."""
    code = "import reports.cli, sys; print(sorted({'locust', 'gevent', 'aiohttp', 'starlette'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_labels_are_spread_as_little_as_needed() -> None:
    assert spread([0.1, 0.5], 0.1) == [0.1, 0.5]
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    placed = spread([0.3, 0.32, 0.31, 0.9], 0.1)
    assert placed == pytest.approx([0.21, 0.41, 0.31, 0.9])


def test_a_bar_that_dwarfs_the_others_gets_the_enlarged_panel() -> None:
    assert enlarged_up_to([9500.0, 1480.0, 520.0, 470.0]) == 950
    assert enlarged_up_to([900.0, 520.0, 470.0]) is None
    assert enlarged_up_to([900.0]) is None


def test_text_is_readable_on_every_colour() -> None:
    assert tint("#000000", 0.0) == PAPER
    assert tint("#0072B2", 1.0).upper() == "#0072B2"
    assert on_top("#0072B2") == PAPER
    assert on_top("#ffffff") == INK
    assert {text_colour(look.colour) for look in LOOKS.values()}.isdisjoint(look.colour for look in LOOKS.values())
