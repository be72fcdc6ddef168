"""The report on the terminal: a short form that fits a screen, and sections in full."""

from collections.abc import Sequence
from typing import Final

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.segment import Segment, Segments
from rich.table import Table as Grid

from feed.console.terminal import echo
from reports.layout import Cell, Part, Section, Table

MAX_LINES: Final = 40
MAX_COLUMNS: Final = 100
MAX_STATEMENTS: Final = 5
"""Statements in the short form, shared among the sections that answer with a table."""
FIRST_CAUTIONS: Final = 2
"""They have a place before the further statements."""
MAX_CELL: Final = 48
GAP: Final = 2
"""Columns between two columns of a table."""


class Block(msgspec.Struct, frozen=True):
    """Lines that are shown together or not at all; a lower rank is given its place first."""

    rank: int
    lines: list[list[Segment]]


def show_short(sections: Sequence[Section], closing: Sequence[str], console: Console) -> None:
    """At most ``MAX_LINES`` lines: statements, main tables, cautions. What has no room is counted.

    ``closing``: lines that end it in any case, such as the report's path.
    """
    blocks = _blocks(sections, console)
    kept = _fitting(blocks, MAX_LINES - len(closing) - 2)  # a blank line, and one that counts what is left out
    for block in kept:
        for line in block.lines:
            console.print(Segments([*line, Segment.line()]), end="")
    left = len(blocks) - len(kept)
    echo(f"... {left} more: add --details\n" if left else "")
    for text in closing:
        echo(text)


def show_section(section: Section, console: Console) -> None:
    """Print what a section says, and those of its tables that belong here, each with its notes."""
    tables = [table for table in section.tables if table.on_terminal]
    if not tables and not section.cautions and not section.statements:
        return
    console.print()
    console.print(_heading(section))
    if section.statements:
        grid = Grid.grid(padding=(0, GAP))
        for part in section.statements:
            grid.add_row(f"[bold]{escape(part.label)}[/]", escape(part.text))
        console.print(grid)
    for table in tables:
        console.print()
        console.print(_full(table))
        for note in table.notes:
            console.print(f"[dim]{escape(note)}[/]")
    for caution in section.cautions:
        console.print(_caution(caution))


def _blocks(sections: Sequence[Section], console: Console) -> list[Block]:
    """Everything that the short form may show, in its order.

    Sections with a main table answer; the others only state. Without an answer, as after ``bench cost``, the tables of
    every section are candidates.
    """
    answers = [section for section in sections if any(table.is_main for table in section.tables)]
    count = MAX_STATEMENTS // max(1, sum(bool(section.statements) for section in answers)) or 1
    blocks: list[Block] = []
    for section in answers or sections:
        tables = [table for table in section.tables if (table.is_main if answers else table.on_terminal)]
        blocks += _answer(section, tables, section.statements[:count], console)
    cautions = [_caution(caution) for section in sections for caution in section.cautions]
    blocks += _lines(cautions[:FIRST_CAUTIONS], 2, console) + _lines(cautions[FIRST_CAUTIONS:], 4, console, gap=False)
    others = [section for section in sections if answers and section not in answers]
    return blocks + _lines([f"[dim]{escape(part.text)}[/]" for of in others for part in of.statements], 5, console)


def _lines(texts: Sequence[str], rank: int, console: Console, *, gap: bool = True) -> list[Block]:
    """A block for each text, the first of them after a blank line."""
    return [_block(rank, console, *([""] if gap and not place else []), text) for place, text in enumerate(texts)]


def _answer(section: Section, tables: Sequence[Table], parts: Sequence[Part], console: Console) -> list[Block]:
    """Heading and first statement; further ones; tables, the first under the heading where nothing is stated."""
    said = [escape(part.text) for part in parts]
    head: list[RenderableType] = ["", _heading(section), *said[:1]]
    shown = [Group("", _short(table, console)) for table in tables]
    if not said:
        shown[:1] = [Group(*head, *shown[:1])]
    first = [_block(0, console, *head)] if said else []
    return first + [_block(3, console, text) for text in said[1:]] + [_block(1, console, table) for table in shown]


def _block(rank: int, console: Console, *shown: RenderableType) -> Block:
    options = console.options.update_width(min(MAX_COLUMNS, console.width))
    return Block(rank, console.render_lines(Group(*shown), options, pad=False))


def _fitting(blocks: Sequence[Block], room: int) -> list[Block]:
    """Those that fit into so many lines, in their order; a lower rank first, and of the same rank the earlier."""
    kept = set()
    for place in sorted(range(len(blocks)), key=lambda place: blocks[place].rank):
        if len(blocks[place].lines) <= room:
            kept.add(place)
            room -= len(blocks[place].lines)
    return [block for place, block in enumerate(blocks) if place in kept]


def _short(table: Table, console: Console) -> Grid:
    """A line per row without small print, and as many columns as the width has room for."""
    columns = [[_brief(cell) for cell in column] for column in zip(table.head, *table.rows, strict=True)]
    room, shown = min(MAX_COLUMNS, console.width), 0
    for column in columns:
        room -= max(map(cell_len, column)) + GAP
        shown += room >= -GAP
    grid = Grid(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in columns[: max(2, shown)]:
        grid.add_column(escape(column[0]))
    for row in zip(*(column[1:] for column in columns[: max(2, shown)]), strict=True):
        grid.add_row(*map(escape, row))
    return grid


def _brief(cell: str | Cell) -> str:
    """On one line, and not so long that a reason for a missing number takes the room of a column of numbers."""
    text = cell if isinstance(cell, str) else " ".join(filter(None, (cell.text, cell.interval, cell.word)))
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"


def _full(table: Table) -> Grid:
    grid = Grid(box=box.HORIZONTALS, title=escape(table.title), title_justify="left", title_style="bold")
    grid.show_lines = table.is_main
    for place, name in enumerate(table.head):
        numbers = place > 0 and all(isinstance(row[place], str) for row in table.rows)
        grid.add_column(escape(name), justify="right" if numbers else "left")
    for row in table.rows:
        grid.add_row(*map(_cell, row))
    return grid


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text = f"[bold {cell.colour}]{escape(cell.text)}[/]" if cell.colour else escape(cell.text)
    number = f"{text} [dim]{escape(cell.interval)}[/]" if cell.interval else text
    words = " ".join(filter(None, (cell.word, f"({cell.aside})" if cell.aside else "")))
    cautions = [f"[yellow]{escape(caution)}[/]" for caution in cell.cautions]
    return "\n".join(filter(None, (number, escape(words), *map(escape, cell.notes), *cautions)))


def _heading(section: Section) -> str:
    return f"[bold]{escape(section.heading)}[/]  [dim]{escape(section.title)}[/]"


def _caution(text: str) -> str:
    return f"[yellow]! {escape(text)}[/]"
