"""A verdict on every claim of the article. Reads ``results.json`` of each operating point and ``capabilities.json``."""

from reports.layout import Cell, Part, Section, Table
from reports.style import LOOKS
from reports.table.run import RunFolder
from reports.table.verdicts import VERDICT_RULES, Judgement, Line, tally_text


def build(run: RunFolder) -> list[Section]:
    """One table; a column per operating point."""
    if not run.verdicts:
        return []
    names = {of.results.plan.point: of.point for of in run.points}
    head = ["Technology", "The article says", *names.values()]
    rows = [_row(line, list(names)) for line in run.verdicts]
    table = Table("Claim by claim", head, rows, list(VERDICT_RULES))
    tally = tally_text(run.verdicts)
    statements = [Part("Article", tally)] if tally else []
    title = "What was measured here, against the words of the article"
    return [Section("A verdict on every claim", title, [], [table], statements=statements)]


def _row(line: Line, points: list[str]) -> list[str | Cell]:
    """A claim about a capability has one verdict, which stands in the first column and holds for all points."""
    found = [line.functional] if line.functional else [line.points[point] for point in points]
    commands = tuple(judgement.command for judgement in found if judgement.command)
    look = LOOKS[line.claim.transport]
    cells: list[str | Cell] = [_cell(judgement) for judgement in found]
    cells += [""] * (len(points) - len(cells))
    return [Cell(look.name, colour=look.colour, commands=commands), line.claim.words, *cells]


def _cell(judgement: Judgement) -> Cell:
    return Cell("", word=judgement.word, notes=(judgement.evidence,))
