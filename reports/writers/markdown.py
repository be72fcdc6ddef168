"""``report.md``: the table and what qualifies it, for a repository or an issue."""

from collections.abc import Iterable, Sequence

from bench.results.run import Trial
from feed.console.printable import printable
from reports.blocks import PAIRED_METRICS
from reports.figures.draw import FOLDER
from reports.formats import NOT_MEASURED
from reports.layout import Drawn, Section
from reports.style import LOOKS
from reports.table.rows import COLUMNS, Cell, Row
from reports.table.summary import PAIR_TITLES, Summary
from reports.table.verdicts import VERDICT_RULES, Judgement, tally_text


def render(summary: Summary | None, drawn: Sequence[Drawn], sections: Sequence[Section]) -> str:
    """The report as GitHub-flavoured Markdown; figures are named relative to it."""
    parts = [
        "# pushmark: what was measured",
        *(_comparison(summary, drawn) if summary else []),
        *(part for section in sections for part in _section(section)),
        *(_appendix(summary) if summary else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def short_summary(summary: Summary, objectives: Section | None) -> str:
    """The answers, the table and what was to be kept, for the page of a CI run."""
    parts = [
        "# pushmark",
        *_answers(summary),
        _table(COLUMNS, [_row(row) for row in summary.rows]),
        *(_section(objectives) if objectives else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _comparison(summary: Summary, drawn: Sequence[Drawn]) -> list[str]:
    return [
        *_answers(summary),
        _table(COLUMNS, [_row(row) for row in summary.rows]),
        _bullets(summary.rules),
        *_verdicts(summary),
        *_trials("Left out of all averages", summary.left_out),
        *_curve(summary),
        "## Figures",
        *_figures(drawn),
        "## Pairs",
        _pairs(summary),
        _bullets(summary.pair_rules),
    ]


def _answers(summary: Summary) -> list[str]:
    return [
        _escape(summary.quiet),
        *(part for of in summary.points for part in _answer(of)),
        tally_text(summary.verdicts),
    ]


def _answer(of: Summary) -> list[str]:
    return [
        f"**{of.point}.** {_escape(of.title)}.",
        _bullets([f"{part.label}: {part.text}" for part in of.answer]),
        *(f"> **Caution:** {_escape(caution)}" for caution in of.cautions),
    ]


def _verdicts(summary: Summary) -> list[str]:
    if not summary.verdicts:
        return []
    points = summary.point_names
    rows = []
    for line in summary.verdicts:
        found = [line.functional] if line.functional else [line.points[point] for point in points]
        cells = [_verdict(judgement) for judgement in found]
        cells += [""] * (len(points) - len(cells))
        rows.append([LOOKS[line.claim.transport].name, _escape(line.claim.words), *cells])
    head = ("Technology", "The article says", *points.values())
    return ["## A verdict on every claim", _table(head, rows), _bullets(VERDICT_RULES)]


def _verdict(judgement: Judgement) -> str:
    command = f"<br>`{judgement.command}`" if judgement.command else ""
    return f"**{judgement.word}**: {_escape(judgement.evidence)}{command}"


def section_text(section: Section) -> str:
    """One section alone."""
    return "\n\n".join(part for part in _section(section) if part) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {section.heading}", _escape(section.title) + "."]
    parts += [f"> **Caution:** {_escape(caution)}" for caution in section.cautions]
    parts += _figures(section.figures)
    for table in section.tables:
        rows = [[_escape(cell) for cell in row] for row in table.rows]
        parts += [f"### {table.title}", _table(table.head, rows), _bullets(table.notes)]
    return parts


def _figures(drawn: Sequence[Drawn]) -> list[str]:
    return [f"![{figure.caption}]({FOLDER}/{figure.name}.png)" for figure in drawn]


def _appendix(summary: Summary) -> list[str]:
    return [
        "## What complexity means",
        *_duties(summary),
        "## Details",
        *_details(summary),
        "## Facts of the run",
        *_facts(summary),
        *_trials("All trials", summary.results.trials),
    ]


def _row(row: Row) -> list[str]:
    complexity = "<br>".join(filter(None, (_escape(row.complexity), row.effort)))
    return [
        f"**{_escape(row.technology)}**",
        _cell(row.latency),
        _cell(row.bandwidth),
        complexity,
        _escape(row.use_case),
    ]


def _cell(cell: Cell) -> str:
    lines = [f"**{cell.value}** {cell.interval}".strip()]
    rating = [f"*{cell.word}*"] if cell.word else []
    lines += [" ".join([*rating, *([f"({cell.article_note})"] if cell.article_note else [])])]
    lines += cell.notes
    lines += [f"⚠ {caution}" for caution in cell.cautions]
    shown = [line if line.startswith("*") else _escape(line) for line in lines if line]
    return "<br>".join([*shown, *([f"`{cell.command}`"] if cell.command else [])])


def _curve(summary: Summary) -> list[str]:
    if not summary.curve:
        return []
    rows = [
        [f"{point.interval_s:g} s", point.latency_text, point.wire_text, str(point.trials), point.caution]
        for point in summary.curve
    ]
    head = ("Poll interval", "Latency, median", "Wire bytes per event", "Trials", "Caution")
    return ["## Polling over its interval", _table(head, rows)]


def _pairs(summary: Summary) -> str:
    head = ["Pair", *(PAIR_TITLES[metric] for metric in PAIRED_METRICS)]
    rows = [
        [f"{line.a} / {line.b}", *(f"{cell.text}<br>{cell.word}" if cell else NOT_MEASURED for cell in line.cells)]
        for line in summary.pairs
    ]
    return _table(head, rows) if rows else "No two transports have a valid trial of the same block."


def _duties(summary: Summary) -> list[str]:
    found = []
    for row in summary.rows:
        if row.duties:
            lines = [f"- {duty.who}: {duty.what} ([{duty.source}]({duty.url}))" for duty in row.duties]
            found.append(f"**{row.technology}** ({row.complexity.lower()})\n\n" + "\n".join(lines))
    return found


def _details(summary: Summary) -> list[str]:
    names = [LOOKS[name].name for name in summary.blocks.trials]
    found = []
    for group in summary.details:
        rows = [[line.label, line.unit, *line.cells] for line in group.lines]
        found += [f"### {group.title}", _table(["", "Unit", *names], rows)]
    return found


def _facts(summary: Summary) -> list[str]:
    found = []
    for title, facts in summary.facts.items():
        found += [f"### {title}", _table(("", ""), [[name, _escape(value)] for name, value in facts.items()])]
    return found


def _trials(title: str, trials: Sequence[Trial]) -> list[str]:
    rows = [
        [trial.id, str(trial.attempt), trial.purpose, trial.status, _escape("; ".join(trial.reasons))]
        for trial in trials
    ]
    return [f"## {title}", _table(("Trial", "Attempt", "Purpose", "Status", "Reasons"), rows)] if rows else []


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _escape(text: str) -> str:
    """Text that Markdown takes for itself: no markup, no line or column ends."""
    for character in "\\`*_[]<>|":
        text = text.replace(
            character, f"\\{character}" if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character]
        )
    return printable(" ".join(text.split()))
