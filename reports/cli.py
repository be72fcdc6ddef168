"""The command line: ``python -m reports RESULTS_DIR``."""

import sys
from pathlib import Path

import click

from bench.results.files import COST_FILE, RESULTS_FILE, ResultsError
from bench.results.sweep import SweepResults
from feed.console.printable import printable_json
from feed.console.terminal import PrintableGroup, echo, new_console
from reports.compare.cli import agree, compare
from reports.compare.cost import alike, read_runs, spread_section
from reports.layout import Cell, Section
from reports.nothing import empty_files
from reports.report import build, write
from reports.sections.cost import summarize_cost, to_json
from reports.sections.objectives import missed, objective_cases
from reports.table.run import RunFolder
from reports.writers.junit import to_junit
from reports.writers.markdown import summary
from reports.writers.terminal import show_section, show_short

WIDTH_WITHOUT_TERMINAL = 120
WIDTH_OF_RUNS = 160
"""The same for tables with a column for each run."""


class ReportError(click.ClickException):
    """A report that cannot be made; one line says why, and the exit code is 2."""

    exit_code = 2


class DefaultToRender(PrintableGroup):
    """A group whose first word may be left out: it is ``render`` then."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["render", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultToRender, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Render and compare what was measured.

    `python -m reports RESULTS_DIR` alone is `python -m reports render RESULTS_DIR`.
    """


main.add_command(compare)
main.add_command(agree)


@main.command()
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report.  [default: that of the results]")
@click.option(
    "--summary",
    "summary_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to append a short Markdown summary to, such as $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--junit",
    "junit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write the outcome of each objective to, as JUnit XML.",
)
@click.option("--details", is_flag=True, help="Print every section in full, not only what fits on one screen.")
@click.option("--json", "as_json", is_flag=True, help="Print the cost section as one JSON object instead of tables.")
def render(results_dir: Path, out: Path | None, details: bool, as_json: bool, **files: Path | None) -> None:
    """Render the report of a run: page, Markdown, CSV and figures.

    RESULTS_DIR is the folder that `python -m bench` made, or its results.json. The report is written to index.html,
    report.md, results.csv and figures/; results of other benchmarks in the same folder become sections of it. Exit code
    1: an objective was missed, or one of these files holds no valid measurement; 2: there is no report.
    """
    run, summary_file, junit_file = RunFolder(results_dir), files["summary_file"], files["junit_file"]
    try:
        cost = run.read(COST_FILE, SweepResults) if as_json else None
        if as_json and cost is None:
            raise ResultsError(f"{run.path / COST_FILE} is missing: python -m bench cost makes it")
        if summary_file is not None and not run.points:
            raise ResultsError(
                f"{run.path / RESULTS_FILE} is missing: --summary needs it, python -m bench run makes it"
            )
        cases = objective_cases(run.points)
        if junit_file is not None and not cases:
            raise ResultsError(f"{run.path} has no objectives for --junit: python -m bench run --slo sets them")
        sections = build(run)
        page = write(sections, out or run.path, run.points)
        empty = empty_files(results_dir)
        failed = missed(run.points)
        if junit_file is not None:
            junit_file.write_bytes(to_junit("pushmark objectives", cases, run.points[0].results.created_at))
        if summary_file is not None:
            with summary_file.open("a", encoding="utf-8") as file:
                file.write(summary(sections))
        text = to_json(summarize_cost(cost)) if cost else ""
    except ResultsError as error:
        raise ReportError(str(error)) from error
    except OSError as error:
        raise ReportError(f"{error.filename or out}: {error.strerror}") from error
    except (ArithmeticError, LookupError, ValueError) as error:  # numbers that no run can have measured
        raise ReportError(f"{run.path}: no report can be made of this: {type(error).__name__}: {error}") from error
    if as_json:
        click.echo(printable_json(text))
    else:
        _show(sections, page, results_dir, details)
    for reason in failed:
        echo(f"Missed: {reason}", err=True)
    for name in empty:
        echo(f"Failed: {name}: nothing valid was measured", err=True)
    sys.exit(int(bool(failed or empty)))


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the report, as files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def cost(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Report what a delivery costs, from several runs.

    RUNS are at least 3 folders of `python -m bench cost`; none is left out. A run may have some of the sections. Of
    each section at least 3 runs must have the loads of the newest. Averages, ratios and goals get the interval between
    runs, next to the spread within them.
    """
    try:
        found = alike(read_runs(runs))
        section, summary = spread_section(found), summarize_cost(*found.runs)
        page = write([section], out) if out is not None else None
    except ResultsError as error:
        raise ReportError(str(error)) from error
    except OSError as error:
        raise ReportError(f"{error.filename or out}: {error.strerror}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # numbers that no run can have measured
        raise ReportError(f"no report can be made of these: {type(error).__name__}: {error}") from error
    if as_json:
        click.echo(printable_json(to_json(summary)))
        return
    show_section(section, new_console(width=None if sys.stdout.isatty() else WIDTH_OF_RUNS, highlight=False))
    if page is not None:
        echo(f"\nReport: {page}")


def _show(sections: list[Section], page: Path, results_dir: Path, details: bool) -> None:
    console = new_console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    if not details:
        show_short(sections, [f"Report: {page}", *_next(sections, results_dir)], console)
        return
    for section in sections:
        show_section(section, console)
    echo(f"\nReport: {page}")


def _next(sections: list[Section], results_dir: Path) -> list[str]:
    """The next two commands: all that was measured, and a cell measured again or all transports compared."""
    cells = (cell for of in sections for table in of.tables for row in table.rows for cell in row)
    commands = (command for cell in cells if isinstance(cell, Cell) for command in cell.commands)
    again = next((command for command in commands if " bench cell " in command), None)
    return [
        f"All tables here:       .venv/bin/python -m reports {results_dir} --details",
        f"Measure a cell again:  .venv/bin/{again}" if again else "Compare transports:    .venv/bin/python -m bench",
    ]
