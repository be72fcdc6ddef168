"""``python -m reports compare A B``: run B next to run A, for people and for CI."""

import json
import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from bench.results.files import ResultsError, load, load_points
from bench.results.run import Results
from bench.results.thresholds import ThresholdError, parse_cell, parse_change
from feed.console.printable import printable_json
from feed.console.terminal import echo, new_console
from reports.compare.next_steps import after_agreeing, after_comparing
from reports.compare.runs import (
    CAUTION,
    PointChanges,
    agreement,
    cases,
    common,
    compare_all,
    compare_cell,
    environment,
    table,
    unlike,
)
from reports.layout import Section
from reports.statistics import BETTER, EQUAL, FEW, OPEN, WORSE
from reports.writers.junit import to_junit
from reports.writers.markdown import section_text
from reports.writers.terminal import show_section

WIDTH_WITHOUT_TERMINAL: Final = 140
EXIT_CODES: Final = {EQUAL: 0, BETTER: 1, WORSE: 1, OPEN: 3, FEW: 3}
NONE: Final = "Host, versions and options are the same."


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--allow-unlike", is_flag=True, help="Compare the runs even if their plans measured different things.")
@click.option(
    "--fail-on",
    "limits",
    multiple=True,
    metavar="'METRIC > P%'",
    help="Limit (repeatable): exit code 1 if METRIC (or TRANSPORT/METRIC) is worse in B by over P %, or missing in B.",
)
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="File to write the comparison to, too."
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="File to write the metrics to, as JUnit XML."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def compare(a: Path, b: Path, allow_unlike: bool, limits: tuple[str, ...], as_json: bool, **files: Path | None) -> None:
    """Compare two runs: the ratio B / A per transport and metric.

    A and B are folders of runs, or their results.json. Differences in host and versions come first. Every operating
    point that both runs have is compared. Exit code 1: a metric passed a limit of --fail-on or has too few
    valid blocks to be held to it, or there was nothing to compare.
    """
    try:
        wanted = [parse_change(text) for text in limits]
        of_a = _points(a)
        pairs = common(of_a, _points(b))
        _check(pairs, allow_unlike)
        points = compare_all(of_a, pairs)
        found = cases(points, wanted)
        section, of_b = _section(a, b, pairs[0], points), pairs[0][1]
        if (markdown := files["markdown"]) is not None:
            markdown.write_text(section_text(section), encoding="utf-8")
        if (junit := files["junit"]) is not None:
            junit.write_bytes(to_junit("pushmark comparison", found, of_b.created_at))
    except (ResultsError, ThresholdError) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
    failed = [case.failure for case in found if case.failure]
    if as_json:
        click.echo(printable_json(json.dumps({"points": msgspec.to_builtins(points), "failed": failed})))
    else:
        width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
        show_section(section, new_console(width=width, highlight=False))
        _next(after_comparing(a, b, of_b.plan, points, is_limited=bool(wanted)))
    for reason in failed:
        echo(f"Failed: {reason}", err=True)
    sys.exit(int(bool(failed)))


@click.command()
@click.argument("published", type=click.Path(path_type=Path))
@click.argument("fresh", type=click.Path(path_type=Path))
@click.argument("cell", metavar="TRANSPORT/METRIC")
def agree(published: Path, fresh: Path, cell: str) -> None:
    """Say whether a cell that was measured again agrees.

    PUBLISHED and FRESH are the folders of the two runs; `python -m bench cell` makes the second. Exit code 0: both
    agree within the margin; 1: the new value is better or worse; 3: not settled, or too few valid blocks.
    """
    try:
        transport, metric = parse_cell(cell)
        again = load(fresh)
        found = compare_cell(load(published), again, transport, metric)
    except (ResultsError, ThresholdError) as error:
        raise click.UsageError(str(error)) from error
    echo(agreement(found))
    _next([after_agreeing(published, fresh, again.plan, found)])
    sys.exit(EXIT_CODES[found.comparison.word])


def _next(steps: list[str]) -> None:
    echo("\nNext:")
    for step in steps:
        echo(f"  - {step}")


def _points(path: Path) -> list[Results]:
    """A run's operating points. Raises ``ResultsError`` for a folder without one."""
    return load_points(path) or [load(path)]


def _check(pairs: list[tuple[Results, Results]], allow_unlike: bool) -> None:
    differences = [f"{a.plan.point}: {text}" for a, b in pairs for text in unlike(a, b)]
    if differences and not allow_unlike:
        said = "; ".join(differences)
        raise ResultsError(f"the plans measured different things ({said}): --allow-unlike compares them all the same")


def _section(a: Path, b: Path, first: tuple[Results, Results], points: list[PointChanges]) -> Section:
    seeds = [of.plan.seed for of in first]
    way = "paired by block, as both have the same seed" if seeds[0] == seeds[1] else "as independent samples (Welch)"
    title = f"A: {a} ({first[0].created_at}); B: {b} ({first[1].created_at}); compared {way}"
    different = environment(*first)
    return Section("Comparing runs", title, [*(different or [NONE]), CAUTION], [table(of) for of in points])
