"""What the article's word for complexity stands for: the duties of whoever writes a client or deploys a server.

Reads ``results.json``, for the transports that were measured.
"""

from reports.layout import Cell, Section, Table
from reports.style import LOOKS
from reports.table.ratings import ARTICLE
from reports.table.run import RunFolder


def build(run: RunFolder) -> list[Section]:
    """One line per duty, with its source."""
    names = dict.fromkeys(name for of in run.points for name in of.blocks.trials)
    rows: list[list[str | Cell]] = [
        [LOOKS[name].name, ARTICLE[name].complexity.lower(), duty.who, duty.what, Cell(duty.source, url=duty.url)]
        for name in names
        for duty in ARTICLE[name].duties
    ]
    if not rows:
        return []
    head = ["Technology", "Complexity", "Whose duty", "Duty", "Source"]
    table = Table("Duties", head, rows, [], on_terminal=False)
    title = "The article's word, and what the author of a client and the operator of a server must do"
    return [Section("What complexity means", title, [], [table])]
