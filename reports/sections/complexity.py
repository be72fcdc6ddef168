"""What the article's word for complexity stands for: what the author of a client or the deployer of a server must do.

Reads ``results.json``, for the transports that were measured.
"""

from reports.layout import Cell, Section, Table
from reports.style import LOOKS
from reports.table.ratings import ARTICLE
from reports.table.run import RunFolder


def build(run: RunFolder) -> list[Section]:
    """One line per requirement, with its source."""
    names = dict.fromkeys(name for of in run.points for name in of.blocks.trials)
    rows: list[list[str | Cell]] = [
        [LOOKS[name].name, ARTICLE[name].complexity.lower(), one.role, one.what, Cell(one.source, url=one.url)]
        for name in names
        for one in ARTICLE[name].requirements
    ]
    if not rows:
        return []
    head = ["Technology", "Complexity", "Role", "Requirement", "Source"]
    table = Table("Requirements", head, rows, [], on_terminal=False)
    title = "The article's word, and what the author of a client and the deployer of a server must do"
    return [Section("What complexity means", title, [], [table])]
