"""``python -m reports compare A B``: two runs side by side, for people and for CI."""

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
from reports.compare.runs import (
    CAUTION,
    PointChanges,
    agreement,
    common,
    compare_all,
    compare_cell,
    environment,
    failures,
    table,
    unlike,
)
from reports.layout import Section
from reports.statistics import DIFFERS, EQUAL, OPEN
from reports.writers.markdown import section_text
from reports.writers.terminal import show_section

WIDTH_WITHOUT_TERMINAL: Final = 140
EXIT_CODES: Final = {EQUAL: 0, DIFFERS: 1, OPEN: 3}
NONE: Final = "Host, versions and options are the same."


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--allow-unlike", is_flag=True, help="Compare although the plans measured different things.")
@click.option(
    "--fail-on",
    "limits",
    multiple=True,
    metavar="'METRIC > P%'",
    help="Exit with 1 if that metric differs and is worse in B by more than P %, or if B lacks it (repeatable); also "
    "TRANSPORT/METRIC.",
)
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the comparison there too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def compare(
    a: Path, b: Path, allow_unlike: bool, limits: tuple[str, ...], markdown: Path | None, as_json: bool
) -> None:
    """Compare run B with run A (folders, or their results.json): per transport and metric the ratio B / A.

    What differs in host and versions comes first. Every operating point that both runs have is compared. Exit code 1: a
    limit was passed, or there was nothing to compare.
    """
    try:
        wanted = [parse_change(text) for text in limits]
        of_a = _points(a)
        pairs = common(of_a, _points(b))
        _check(pairs, allow_unlike)
        points = compare_all(of_a, pairs)
        failed = failures(points, wanted) or _nothing(points)
        section = _section(a, b, pairs[0], points)
        if markdown is not None:
            markdown.write_text(section_text(section), encoding="utf-8")
    except (ResultsError, ThresholdError) as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
    if as_json:
        click.echo(printable_json(json.dumps({"points": msgspec.to_builtins(points), "failed": failed})))
    else:
        show_section(
            section, new_console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False)
        )
    for reason in failed:
        echo(f"Failed: {reason}", err=True)
    sys.exit(int(bool(failed)))


@click.command()
@click.argument("published", type=click.Path(path_type=Path))
@click.argument("fresh", type=click.Path(path_type=Path))
@click.argument("cell", metavar="TRANSPORT/METRIC")
def agree(published: Path, fresh: Path, cell: str) -> None:
    """Does one cell, measured again, agree with the published one? (`python -m bench cell` measures and asks.)

    Exit code 0: agrees, within the margin; 1: differs from published; 3: not settled.
    """
    try:
        transport, metric = parse_cell(cell)
        found = compare_cell(load(published), load(fresh), transport, metric)
    except (ResultsError, ThresholdError) as error:
        raise click.UsageError(str(error)) from error
    echo(agreement(found))
    sys.exit(EXIT_CODES[found.comparison.verdict.word])


def _points(path: Path) -> list[Results]:
    """A run's operating points. Raises ``ResultsError`` for a folder without one."""
    return load_points(path) or [load(path)]


def _check(pairs: list[tuple[Results, Results]], allow_unlike: bool) -> None:
    differences = [f"{a.plan.point}: {text}" for a, b in pairs for text in unlike(a, b)]
    if differences and not allow_unlike:
        said = "; ".join(differences)
        raise ResultsError(f"the plans are unlike ({said}): --allow-unlike compares them all the same")


def _nothing(points: list[PointChanges]) -> list[str]:
    return (
        [] if any(of.changes for of in points) else ["nothing to compare: no metric was measured validly in both runs"]
    )


def _section(a: Path, b: Path, first: tuple[Results, Results], points: list[PointChanges]) -> Section:
    seeds = [of.plan.seed for of in first]
    way = "paired by block, as both have the same seed" if seeds[0] == seeds[1] else "as independent samples (Welch)"
    title = f"A: {a} ({first[0].created_at}); B: {b} ({first[1].created_at}); compared {way}"
    different = environment(*first)
    return Section("Comparing runs", title, [*(different or [NONE]), CAUTION], [table(of) for of in points], [])
