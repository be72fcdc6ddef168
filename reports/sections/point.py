"""An operating point: which transport fits it, the comparison table, figures and everything else that was measured.

Reads ``results.json`` of each operating point; a section for each.
"""

from typing import Final

from reports.blocks import PAIRED_METRICS
from reports.formats import NOT_MEASURED
from reports.layout import Cell, FigureSpec, Section, Table
from reports.style import LOOKS
from reports.table.rows import COLUMNS, Measurement, Row
from reports.table.run import RunFolder
from reports.table.summary import PAIR_TITLES, Summary
from reports.theory.predict import added_table

FIGURES: Final = (
    ("table", "comparison.draw", "The comparison table as a picture."),
    (
        "latency_percentiles",
        "latency.draw",
        "Latency percentiles. Line: geometric mean over blocks; band: its 95 % interval. Thin dashes: predicted.",
    ),
    (
        "wire_bytes",
        "bytes.draw",
        "Wire bytes per delivered event by cause. Line at the end: 95 % interval. Triangle: predicted.",
    ),
    ("pairs", "pairs.draw", "Every pair of transports: row against column, with its verdict."),
    (
        "polling_curve",
        "curve.draw",
        "Polling at several intervals, next to the other transports. Bars: 95 % interval over blocks; dashes: "
        "predicted.",
    ),
)
"""Name, drawing, and what it shows in words."""


def build(run: RunFolder) -> list[Section]:
    """One section per operating point, in the order of the run."""
    return [_section(of, f"{of.results.plan.point}_" if place else "") for place, of in enumerate(run.points)]


def _section(of: Summary, prefix: str) -> Section:
    """``prefix``: of the names of its figures. Those of the first operating point have none: pages link to them."""
    figures = [
        FigureSpec(prefix + name, f"{of.point}. {caption}", drawing, of, on_page=name != "table")
        for name, drawing, caption in FIGURES
    ]
    theory = added_table(of.results, of.blocks)
    tables = [
        _comparison(of),
        *_left_out(of),
        *_curve(of),
        *([theory] if theory else []),
        _pairs(of),
        *_details(of),
    ]
    title = f"{of.title}; {of.results.processor}"
    return Section(of.point, title, of.cautions, tables, figures, of.answer)


def _comparison(of: Summary) -> Table:
    rows = [_row(row) for row in of.rows]
    return Table("Measured, next to what the article says", list(COLUMNS), rows, of.rules, is_main=True)


def _row(row: Row) -> list[str | Cell]:
    commands = tuple(command for command in (row.latency.command, row.bandwidth.command) if command)
    return [
        Cell(row.technology, colour=LOOKS[row.transport].colour, commands=commands),
        _measured(row.latency),
        _measured(row.bandwidth),
        Cell(row.complexity, notes=(row.effort,) if row.effort else ()),
        row.use_case,
    ]


def _measured(of: Measurement) -> Cell:
    return Cell(of.value, of.interval, of.word, of.article_note, tuple(of.notes), tuple(of.cautions))


def _left_out(of: Summary) -> list[Table]:
    rows = [[trial.id, str(trial.attempt), trial.status, "; ".join(trial.reasons)] for trial in of.left_out]
    return [Table("Left out of all averages", ["Trial", "Attempt", "Status", "Reasons"], rows, [])] if rows else []


def _curve(of: Summary) -> list[Table]:
    rows = [
        [f"{point.interval_s:g} s", point.latency_text, point.wire_text, str(point.trials), point.caution]
        for point in of.curve
    ]
    head = ["Poll interval", "Latency, median", "Wire bytes per event", "Trials", "Caution"]
    return [Table("Polling over its interval", head, rows, [], on_terminal=False)] if rows else []


def _pairs(of: Summary) -> Table:
    rows = [
        [f"{line.a} / {line.b}", *(Cell(cell.text, aside=cell.word) if cell else NOT_MEASURED for cell in line.cells)]
        for line in of.pairs
    ]
    head = ["Pair", *(PAIR_TITLES[metric] for metric in PAIRED_METRICS)]
    return Table("Pair by pair", head, rows, of.pair_rules, on_terminal=False)


def _details(of: Summary) -> list[Table]:
    names = [LOOKS[name].name for name in of.blocks.trials]
    return [
        Table(
            group.title,
            ["", "Unit", *names],
            [[Cell(line.label, meaning=line.meaning), line.unit, *line.cells] for line in group.lines],
            [],
            on_terminal=False,
        )
        for group in of.details
    ]
