"""A run's further operating point as a section of the report. Pure."""

from collections.abc import Sequence

from reports.blocks import PAIRED_METRICS
from reports.formats import NOT_MEASURED
from reports.layout import Drawn, Section, Table
from reports.style import LOOKS
from reports.table.details import Line
from reports.table.rows import Cell
from reports.table.summary import PAIR_TITLES, Summary
from reports.theory.predict import added_table


def point_section(summary: Summary, figures: Sequence[Drawn]) -> Section:
    """Its table, pairs and details; the claims at this point stand with those of the others."""
    tables = [_comparison(summary), _pairs(summary), *_theory(summary), *_details(summary), *_left_out(summary)]
    return Section(summary.point, summary.title, summary.cautions, tables, list(figures))


def theory_section(summary: Summary) -> list[Section]:
    """Measurement beside theory, at the first operating point."""
    tables = _theory(summary)
    return [Section("Theory beside measurement", summary.title, [], tables, [])] if tables else []


def _theory(summary: Summary) -> list[Table]:
    found = added_table(summary.results, summary.blocks)
    return [] if found is None else [found]


def _comparison(summary: Summary) -> Table:
    rows = [[row.technology, *_cell(row.latency), *_cell(row.bandwidth)] for row in summary.rows]
    head = ["Technology", "Latency", "rating", "Notes", "Bandwidth", "rating", "Notes"]
    return Table("The table at this operating point", head, rows, summary.rules, False)


def _cell(cell: Cell) -> list[str]:
    rating = f"{cell.word} ({cell.article_note})" if cell.article_note else cell.word
    return [
        f"{cell.value} {cell.interval}".strip(),
        rating,
        "; ".join([*cell.notes, *cell.cautions, cell.command]).removesuffix("; "),
    ]


def _pairs(summary: Summary) -> Table:
    rows = [
        [f"{line.a} / {line.b}", *(f"{cell.text}: {cell.word}" if cell else NOT_MEASURED for cell in line.cells)]
        for line in summary.pairs
    ]
    return Table("Pair by pair", ["Pair", *(PAIR_TITLES[metric] for metric in PAIRED_METRICS)], rows, [], False)


def _details(summary: Summary) -> list[Table]:
    names = [LOOKS[name].name for name in summary.blocks.trials]
    return [
        Table(group.title, ["", "unit", *names], [_line(line) for line in group.lines], [], False)
        for group in summary.details
    ]


def _line(line: Line) -> list[str]:
    return [line.label, line.unit, *line.cells]


def _left_out(summary: Summary) -> list[Table]:
    rows = [[trial.id, str(trial.attempt), trial.status, "; ".join(trial.reasons)] for trial in summary.left_out]
    head = ["Trial", "Attempt", "Status", "Reasons"]
    return [Table(f"{summary.point}: left out of all averages", head, rows, [])] if rows else []
