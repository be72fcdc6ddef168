"""The table on the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.sections import Section
from reports.style import LOOKS
from reports.summary import Summary
from reports.table import COLUMNS, Cell


def show(summary: Summary, console: Console) -> None:
    """Print the sentence, the table with its rules, and every trial that was left out."""
    console.print(f"\n[bold]{escape(summary.sentence)}[/]\n")
    console.print(_table(summary))
    for rule in summary.rules:
        console.print(f"[dim]{escape(rule)}[/]")
    for caution in summary.cautions:
        console.print(f"[yellow]! {escape(caution)}[/]")
    for trial in summary.left_out:
        reasons = escape("; ".join(trial.reasons))
        console.print(f"[yellow]  {escape(trial.id)} (attempt {trial.attempt}) {escape(trial.status)}: {reasons}[/]")


def show_section(section: Section, console: Console) -> None:
    """Print a section's tables, each with its notes."""
    console.print(f"\n[bold]{escape(section.heading)}[/]\n[dim]{escape(section.title)}[/]")
    for of in section.tables:
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


def _cell(cell: Cell) -> str:
    lines = [f"[bold]{escape(cell.value)}[/] {escape(cell.interval)}"]
    words = [f"[bold cyan]{cell.word}[/]"] if cell.word else []
    words += [f"[dim]({cell.article_note})[/]"] if cell.article_note else []
    lines += [" ".join(words)] if words else []
    lines += [f"[dim]{escape(note)}[/]" for note in cell.notes]
    lines += [f"[yellow]! {escape(caution)}[/]" for caution in cell.cautions]
    return "\n".join(lines)
