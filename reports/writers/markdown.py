"""``report.md``: the whole report as GitHub-flavoured Markdown, for a repository or an issue."""

from collections.abc import Iterable, Sequence

from feed.console.printable import printable
from reports.layout import FIGURES_FOLDER, Cell, Drawn, Section, Table

TITLE = "pushmark: what was measured"


def render(report: Sequence[Drawn]) -> str:
    """Every section; figures are named relative to the file."""
    return _joined([f"# {TITLE}", *(part for one in report for part in _section(one))]) + "\n"


def summary(sections: Sequence[Section]) -> str:
    """The statements and main tables alone, for the page of a CI run."""
    parts = ["# pushmark"]
    for section in sections:
        tables = [table for table in section.tables if table.is_main]
        if section.statements or tables:
            parts += _front(section)
            parts += [_table(table.head, [[_short(cell) for cell in row] for row in table.rows]) for table in tables]
    return _joined(parts) + "\n\n"


def section_text(section: Section) -> str:
    """One section alone, without figures."""
    return _joined(_section(Drawn(section))) + "\n"


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _section(of: Drawn) -> list[str]:
    parts = _front(of.section)
    main = [table for table in of.section.tables if table.is_main]
    parts += [part for table in main for part in _titled(table)]
    parts += [f"![{figure.caption}]({FIGURES_FOLDER}/{figure.name}.png)" for figure in of.figures]
    return parts + [part for table in of.section.tables if not table.is_main for part in _titled(table)]


def _front(section: Section) -> list[str]:
    return [
        f"## {section.heading}",
        _escape(section.title) + ".",
        "\n".join(f"- **{part.label}.** {_escape(part.text)}" for part in section.statements),
        *(f"> **Caution:** {_escape(caution)}" for caution in section.cautions),
    ]


def _titled(table: Table) -> list[str]:
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return [f"### {table.title}", _table(table.head, rows), "\n".join(f"- {_escape(note)}" for note in table.notes)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _escape(cell)
    commands = [f"`{command}`" for command in cell.commands]
    cautions = [f"⚠ {_escape(caution)}" for caution in cell.cautions]
    return "<br>".join(filter(None, [*_lines(cell), *map(_escape, cell.notes), *cautions, *commands]))


def _short(cell: str | Cell) -> str:
    """A cell without its small print."""
    return _escape(cell) if isinstance(cell, str) else "<br>".join(filter(None, _lines(cell)))


def _lines(cell: Cell) -> list[str]:
    """Number and interval, then the word with its aside."""
    text = f"[{_escape(cell.text)}]({cell.url})" if cell.url else _escape(cell.text)
    strong = cell.text and (cell.interval or cell.notes or cell.colour)
    word, aside = f"*{cell.word}*" if cell.word else "", f"({cell.aside})" if cell.aside else ""
    return [
        f"{f'**{text}**' if strong else text} {_escape(cell.interval)}".strip(),
        f"{word} {_escape(aside)}".strip(),
    ]


def _escape(text: str) -> str:
    """Text that Markdown takes for itself: no markup, no line or column ends."""
    for character in "\\`*_[]<>|":
        text = text.replace(
            character, f"\\{character}" if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character]
        )
    return printable(" ".join(text.split()))
