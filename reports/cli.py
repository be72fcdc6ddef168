"""The command line: ``python -m reports RESULTS_DIR``."""

import sys
from pathlib import Path

import click

from bench.results.capabilities import CapabilityResults
from bench.results.files import (
    AA_FILE,
    CAPABILITIES_FILE,
    COST_FILE,
    FAULTS_FILE,
    GENERATOR_FILE,
    RESULTS_FILE,
    RUN_FILES,
    SENSITIVITY_FILE,
    SOAK_FILE,
    VERIFY_FILE,
    ResultsError,
    find,
    load,
    read,
)
from bench.results.reliability import FaultResults, SoakResults
from bench.results.run import Results
from bench.results.sweep import SweepResults
from bench.results.verify import VerifyResults
from feed.console.printable import printable_json
from feed.console.terminal import PrintableGroup, echo, new_console
from reports.compare.cli import agree, compare
from reports.figures.draw import (
    BREAK_EVEN_PLATES,
    COST_PLATES,
    FAULT_PLATES,
    FOLDER,
    PLATES,
    SENSITIVITY_PLATES,
    TRUTH_PLATES,
    draw_all,
)
from reports.layout import Section
from reports.nothing import empty_files
from reports.sections.aa import aa_section
from reports.sections.breakeven import BreakEven, break_evens
from reports.sections.cost import CostSummary, summarize_cost, to_json
from reports.sections.faults import summarize_faults
from reports.sections.generator import generator_section
from reports.sections.ground_truth import summarize_truth
from reports.sections.objectives import missed, objective_cases, objective_section
from reports.sections.point import point_section, theory_section
from reports.sections.probes import probe_section
from reports.sections.sensitivity import HEADING, summarize_sensitivity
from reports.table.summary import Summary, summarize
from reports.writers.csv import to_csv
from reports.writers.junit import to_junit
from reports.writers.markdown import render as render_markdown
from reports.writers.markdown import short_summary
from reports.writers.page import render as render_page
from reports.writers.terminal import show, show_section

WIDTH_WITHOUT_TERMINAL = 120


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
    """What measurements mean. `python -m reports RESULTS_DIR` alone is `python -m reports render RESULTS_DIR`."""


main.add_command(compare)
main.add_command(agree)


@main.command()
@click.argument("results_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the report  [default: beside the results]")
@click.option(
    "--summary",
    "summary_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append a short Markdown summary to this file, such as $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write the objectives there as JUnit XML."
)
@click.option("--json", "as_json", is_flag=True, help="Print the cost section as one JSON object instead of tables.")
def render(results_dir: Path, out: Path | None, summary_file: Path | None, junit: Path | None, as_json: bool) -> None:
    """Render what a run measured: the table, figures, index.html, report.md and results.csv.

    RESULTS_DIR is the folder that `python -m bench` made, or its results.json. What `python -m bench cost`,
    `generator`, `faults`, `soak`, `sensitivity` and `verify` left in the same folder become sections of the report.
    Exit code 1: an objective was missed, or one of these files holds no valid measurement; 2: there is no report.
    """
    folder = results_dir if results_dir.is_dir() else results_dir.parent
    out = out or folder
    try:
        results = load(results_dir) if _has_results(results_dir) else None
        checks_file = find(folder, CAPABILITIES_FILE)
        probes = read(checks_file, CapabilityResults) if checks_file else None
        cost = summarize_cost(read(folder / COST_FILE, SweepResults)) if (folder / COST_FILE).exists() else None
        if as_json and cost is None:
            raise ResultsError(f"{folder / COST_FILE} is missing: python -m bench cost makes it")
        if summary_file is not None and results is None:
            raise ResultsError(
                f"{folder / RESULTS_FILE} is missing, which --summary is of: python -m bench run makes it"
            )
        sections = [_cost_section(cost, out)] if cost else []
        if (folder / GENERATOR_FILE).exists():
            sections.append(generator_section(read(folder / GENERATOR_FILE, SweepResults)))
        sections += _reliability_section(folder, out) + _truth_section(folder, out)
        if (folder / AA_FILE).exists():
            sections.append(aa_section(read(folder / AA_FILE, SweepResults)))
        if (folder / SENSITIVITY_FILE).exists():
            sections.append(_sensitivity_section(read(folder / SENSITIVITY_FILE, SweepResults), out))
        summary = summarize(results, _other_points(folder), probes) if results else None
        points = summary.points if summary else []
        objectives, cases = objective_section(points), objective_cases(points)
        if junit is not None and not cases:
            raise ResultsError(f"{folder} has no objectives for --junit: python -m bench run --slo sets them")
        sections[:0] = [*theory_section(summary), *_point_sections(summary, out)] if summary else []
        sections[:0] = [objectives] if objectives else []
        even = break_evens(summary.results, summary.blocks) if summary else None
        sections += [_break_even_section(even, summary.title, out)] if even and summary else []
        sections += [probe_section(probes)] if probes else []
        page = write(results, summary, sections, out, even)
        empty = empty_files(results_dir)
        if summary is not None and junit is not None:
            junit.write_bytes(to_junit("pushmark objectives", cases, summary.results.created_at))
        if summary is not None and summary_file is not None:
            with summary_file.open("a", encoding="utf-8") as file:
                file.write(short_summary(summary, objectives))
    except ResultsError as error:
        raise ReportError(str(error)) from error
    except OSError as error:
        raise ReportError(f"{error.filename or out}: {error.strerror}") from error
    except (ArithmeticError, LookupError, ValueError) as error:  # numbers that no run can have measured
        raise ReportError(f"{folder}: no report can be made of this: {type(error).__name__}: {error}") from error
    if as_json:
        assert cost is not None
        click.echo(printable_json(to_json(cost)))
    else:
        _print(summary, sections, page)
    for reason in missed(points):
        echo(f"Missed: {reason}", err=True)
    for name in empty:
        echo(f"Failed: {name}: nothing valid was measured", err=True)
    sys.exit(int(bool(missed(points) or empty)))


def _print(summary: Summary | None, sections: list[Section], page: Path) -> None:
    console = new_console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
    if summary is not None:
        show(summary, console)
    for section in sections:
        show_section(section, console)
    echo(f"\nReport: {page}")


def _has_results(results_dir: Path) -> bool:
    """A folder may hold other benchmarks alone; without those, the error names the file that is missing."""
    others = any(find(results_dir, name) for name in RUN_FILES)
    return not results_dir.is_dir() or (results_dir / RESULTS_FILE).exists() or not others


def _other_points(folder: Path) -> list[Results]:
    """The run's further operating points: a folder each, with results of its own."""
    return [load(path.parent) for path in sorted(folder.glob(f"*/{RESULTS_FILE}"))]


def _point_sections(summary: Summary, out: Path) -> list[Section]:
    found = []
    for of in summary.beside:
        drawn = draw_all(PLATES, of, out / FOLDER, prefix=f"{of.results.plan.point}_")
        found.append(point_section(of, [figure for figure in drawn if not figure.name.endswith("_table")]))
    return found


def _cost_section(cost: CostSummary, folder: Path) -> Section:
    drawn = draw_all(COST_PLATES, cost, folder / FOLDER)
    return Section("What a delivery costs the server", cost.title, cost.cautions, cost.tables, drawn)


def _reliability_section(folder: Path, out: Path) -> list[Section]:
    faults = read(folder / FAULTS_FILE, FaultResults) if (folder / FAULTS_FILE).exists() else None
    soak = read(folder / SOAK_FILE, SoakResults) if (folder / SOAK_FILE).exists() else None
    if faults is None and soak is None:
        return []
    summary = summarize_faults(faults, soak)
    drawn = draw_all(FAULT_PLATES, summary, out / FOLDER)
    return [Section("How transports take breaking", summary.title, summary.cautions, summary.tables, drawn)]


def _break_even_section(even: BreakEven, title: str, out: Path) -> Section:
    drawn = draw_all(BREAK_EVEN_PLATES, even, out / FOLDER)
    return Section("Where polling begins to pay", title, [], even.tables, drawn)


def _sensitivity_section(results: SweepResults, out: Path) -> Section:
    summary = summarize_sensitivity(results)
    drawn = draw_all(SENSITIVITY_PLATES, summary, out / FOLDER)
    return Section(HEADING, summary.title, summary.cautions, summary.tables, drawn)


def _truth_section(folder: Path, out: Path) -> list[Section]:
    if not (folder / VERIFY_FILE).exists():
        return []
    summary = summarize_truth(read(folder / VERIFY_FILE, VerifyResults))
    drawn = draw_all(TRUTH_PLATES, summary, out / FOLDER)
    return [Section("Ground truth", summary.title, summary.cautions, summary.tables, drawn)]


def write(
    results: Results | None,
    summary: Summary | None,
    sections: list[Section],
    folder: Path,
    even: BreakEven | None = None,
) -> Path:
    """Write every file of the report into ``folder`` and return the page's path. Raises ``OSError``."""
    drawn = draw_all(PLATES, summary, folder / FOLDER) if summary else []
    texts = {
        "report.md": render_markdown(summary, drawn, sections),
        "index.html": render_page(summary, drawn, sections, even),
    }
    if results is not None:
        texts["results.csv"] = to_csv(results)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return (folder / "index.html").resolve()
