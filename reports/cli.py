"""The command line: ``python -m reports RESULTS_DIR``."""

import sys
from pathlib import Path

import click
from rich.console import Console

from bench.results import Results, ResultsError, load
from reports.export import to_csv
from reports.figures import FOLDER, draw_all
from reports.markdown import render as render_markdown
from reports.page import render as render_page
from reports.summary import Summary, summarize
from reports.terminal import show

WIDTH_WITHOUT_TERMINAL = 120


class ReportError(click.ClickException):
    """A report that cannot be made; one line says why, and the exit code is 2."""

    exit_code = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report  [default: beside the results]")
def main(results_dir: Path, out: Path | None) -> None:
    """Render what a run measured: the table, figures, index.html, report.md and results.csv.

    RESULTS_DIR is the folder that `python -m bench` made, or its results.json.
    """
    try:
        results = load(results_dir)
        summary = summarize(results)
        page = write(results, summary, out or (results_dir if results_dir.is_dir() else results_dir.parent))
    except ResultsError as error:
        raise ReportError(str(error)) from error
    except OSError as error:
        raise ReportError(f"{error.filename or out}: {error.strerror}") from error
    console = Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    show(summary, console)
    click.echo(f"\nReport: {page}")


def write(results: Results, summary: Summary, folder: Path) -> Path:
    """Write every file of the report into ``folder`` and return the page's path. Raises ``OSError``."""
    drawn = draw_all(summary, folder / FOLDER)
    texts = {
        "report.md": render_markdown(summary, drawn),
        "results.csv": to_csv(results),
        "index.html": render_page(summary, drawn),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return (folder / "index.html").resolve()
