"""The command line: ``python -m reports RESULTS_DIR``."""

import sys
from pathlib import Path

import click
from rich.console import Console

from bench.results import (
    COST_FILE,
    FAULTS_FILE,
    GENERATOR_FILE,
    RESULTS_FILE,
    RUN_FILES,
    SOAK_FILE,
    VERIFY_FILE,
    Results,
    ResultsError,
    load,
    load_cost,
    load_faults,
    load_soak,
    load_verify,
)
from reports.cost import CostSummary, summarize_cost, to_json
from reports.export import to_csv
from reports.faults import summarize_faults
from reports.figures import COST_PLATES, FAULT_PLATES, FOLDER, PLATES, TRUTH_PLATES, draw_all
from reports.generator import generator_section
from reports.ground_truth import summarize_truth
from reports.markdown import render as render_markdown
from reports.page import render as render_page
from reports.sections import Section
from reports.summary import Summary, summarize
from reports.terminal import show, show_section

WIDTH_WITHOUT_TERMINAL = 120


class ReportError(click.ClickException):
    """A report that cannot be made; one line says why, and the exit code is 2."""

    exit_code = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report  [default: beside the results]")
@click.option("--json", "as_json", is_flag=True, help="Print the cost section as one JSON object instead of tables.")
def main(results_dir: Path, out: Path | None, as_json: bool) -> None:
    """Render what a run measured: the table, figures, index.html, report.md and results.csv.

    RESULTS_DIR is the folder that `python -m bench` made, or its results.json. What `python -m bench cost`,
    `generator`, `faults`, `soak` and `verify` left in the same folder become sections of the report.
    """
    folder = results_dir if results_dir.is_dir() else results_dir.parent
    out = out or folder
    try:
        results = load(results_dir) if _has_results(results_dir) else None
        cost = summarize_cost(load_cost(folder / COST_FILE)) if (folder / COST_FILE).exists() else None
        sections = [_cost_section(cost, out)] if cost else []
        if (folder / GENERATOR_FILE).exists():
            sections.append(generator_section(load_cost(folder / GENERATOR_FILE)))
        sections += _reliability_section(folder, out) + _truth_section(folder, out)
        summary = summarize(results) if results else None
        page = write(results, summary, sections, out)
    except ResultsError as error:
        raise ReportError(str(error)) from error
    except OSError as error:
        raise ReportError(f"{error.filename or out}: {error.strerror}") from error
    if as_json:
        if cost is None:
            raise ReportError(f"{folder / COST_FILE} is missing: python -m bench cost makes it")
        click.echo(to_json(cost))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    if summary is not None:
        show(summary, console)
    for section in sections:
        show_section(section, console)
    click.echo(f"\nReport: {page}")


def _has_results(results_dir: Path) -> bool:
    """A folder may hold other benchmarks alone; without those, the error names the file that is missing."""
    others = any((results_dir / name).exists() for name in RUN_FILES)
    return not results_dir.is_dir() or (results_dir / RESULTS_FILE).exists() or not others


def _cost_section(cost: CostSummary, folder: Path) -> Section:
    drawn = draw_all(COST_PLATES, cost, folder / FOLDER)
    return Section("What a delivery costs the server", cost.title, cost.cautions, cost.tables, drawn)


def _reliability_section(folder: Path, out: Path) -> list[Section]:
    faults = load_faults(folder / FAULTS_FILE) if (folder / FAULTS_FILE).exists() else None
    soak = load_soak(folder / SOAK_FILE) if (folder / SOAK_FILE).exists() else None
    if faults is None and soak is None:
        return []
    summary = summarize_faults(faults, soak)
    drawn = draw_all(FAULT_PLATES, summary, out / FOLDER)
    return [Section("How transports take breaking", summary.title, summary.cautions, summary.tables, drawn)]


def _truth_section(folder: Path, out: Path) -> list[Section]:
    if not (folder / VERIFY_FILE).exists():
        return []
    summary = summarize_truth(load_verify(folder / VERIFY_FILE))
    drawn = draw_all(TRUTH_PLATES, summary, out / FOLDER)
    return [Section("Ground truth", summary.title, summary.cautions, summary.tables, drawn)]


def write(results: Results | None, summary: Summary | None, sections: list[Section], folder: Path) -> Path:
    """Write every file of the report into ``folder`` and return the page's path. Raises ``OSError``."""
    drawn = draw_all(PLATES, summary, folder / FOLDER) if summary else []
    texts = {
        "report.md": render_markdown(summary, drawn, sections),
        "index.html": render_page(summary, drawn, sections),
    }
    if results is not None:
        texts["results.csv"] = to_csv(results)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return (folder / "index.html").resolve()
