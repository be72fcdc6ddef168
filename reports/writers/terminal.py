"""The table on the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.layout import Section
from reports.style import LOOKS
from reports.table.rows import COLUMNS, Cell
from reports.table.summary import Summary
from reports.table.verdicts import UNJUDGED, tally_text


def show(summary: Summary, console: Console) -> None:
    """Print the answers, the table with its rules, the verdicts, and every trial that was left out."""
    console.print(f"\n{escape(summary.quiet)}")
    for of in summary.points:
        console.print(f"\n[bold]{escape(of.point)}[/] [dim]{escape(of.title)}[/]")
        console.print(_answer(of))
        for caution in of.cautions:
            console.print(f"[yellow]! {escape(caution)}[/]")
    console.print()
    console.print(_table(summary))
    for rule in summary.rules:
        console.print(f"[dim]{escape(rule)}[/]")
    if summary.verdicts:
        console.print(f"\n[bold]{escape(tally_text(summary.verdicts))}[/]")
        console.print(_verdicts(summary))
    for trial in summary.left_out:
        reasons = escape("; ".join(trial.reasons))
        console.print(f"[yellow]  {escape(trial.id)} (attempt {trial.attempt}) {escape(trial.status)}: {reasons}[/]")


def _answer(of: Summary) -> Table:
    table = Table.grid(padding=(0, 2))
    for part in of.answer:
        table.add_row(f"[bold]{escape(part.label)}[/]", escape(part.text))
    return table


def show_section(section: Section, console: Console) -> None:
    """Print those of a section's tables that belong here, each with its notes."""
    tables = [table for table in section.tables if table.on_terminal]
    if not tables and not section.cautions:
        return
    console.print(f"\n[bold]{escape(section.heading)}[/]\n[dim]{escape(section.title)}[/]")
    for of in tables:
        table = Table(box=box.HORIZONTALS, title=escape(of.title), title_justify="left", title_style="bold")
        for place, name in enumerate(of.head):
            table.add_column(escape(name), justify="right" if place else "left")
        for row in of.rows:
            table.add_row(*(escape(cell) for cell in row))
        console.print()
        console.print(table)
        for note in of.notes:
            console.print(f"[dim]{escape(note)}[/]")
    for caution in section.cautions:
        console.print(f"[yellow]! {escape(caution)}[/]")


def _table(summary: Summary) -> Table:
    table = Table(
        box=box.HORIZONTALS, title=escape(summary.title), title_justify="left", title_style="dim", show_lines=True
    )
    for name in COLUMNS:
        table.add_column(name, vertical="middle")
    for row in summary.rows:
        technology = f"[bold {LOOKS[row.transport].colour}]{escape(row.technology)}[/]"
        table.add_row(
            technology,
            _cell(row.latency),
            _cell(row.bandwidth),
            escape(f"{row.complexity}\n{row.effort}".strip()),
            escape(row.use_case),
        )
    return table


def _verdicts(summary: Summary) -> Table:
    table = Table(box=box.HORIZONTALS)
    for name in ("Technology", "The article says", "Verdict", "Where", "Because"):
        table.add_column(name)
    for line in summary.verdicts:
        found = [("everywhere", line.functional)] if line.functional else list(line.points.items())
        for place, (where, judgement) in enumerate(found):
            if judgement.word != UNJUDGED:
                first = place == 0
                name = LOOKS[line.claim.transport].name if first else ""
                words = line.claim.words if first else ""
                table.add_row(name, escape(words), f"[bold]{judgement.word}[/]", where, escape(judgement.evidence))
    return table


def _cell(cell: Cell) -> str:
    lines = [f"[bold]{escape(cell.value)}[/] {escape(cell.interval)}"]
    words = [f"[bold cyan]{cell.word}[/]"] if cell.word else []
    words += [f"[dim]({cell.article_note})[/]"] if cell.article_note else []
    lines += [" ".join(words)] if words else []
    lines += [f"[dim]{escape(note)}[/]" for note in cell.notes]
    lines += [f"[yellow]! {escape(caution)}[/]" for caution in cell.cautions]
    return "\n".join(lines)
