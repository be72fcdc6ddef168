"""``index.html``: one file that opens from disk and loads nothing."""

from collections.abc import Sequence
from typing import Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from feed.console.printable import printable
from reports import style
from reports.blocks import PAIRED_METRICS
from reports.figures.draw import inline
from reports.layout import Drawn, Section
from reports.sections.breakeven import BreakEven
from reports.statistics import BETTER, EQUAL, WORSE
from reports.table.rows import COLUMNS
from reports.table.summary import PAIR_TITLES, Summary
from reports.table.verdicts import VERDICT_RULES, tally_text
from reports.theory import bytes as theory_bytes

TABLE_FIGURE: Final = "table"


def render(
    summary: Summary | None, drawn: Sequence[Drawn], sections: Sequence[Section], even: BreakEven | None = None
) -> str:
    """The report as a page; the table itself is HTML there, so its figure is left to the folder."""
    environment = Environment(
        loader=PackageLoader("reports.writers"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [(figure, Markup(inline(figure))) for figure in drawn if figure.name != TABLE_FIGURE]
    return environment.get_template("index.html").render(
        summary=summary,
        style=style,
        figures=figures,
        sections=sections,
        picture=lambda figure: Markup(inline(figure)),
        columns=COLUMNS,
        pair_titles=[PAIR_TITLES[metric] for metric in PAIRED_METRICS],
        verdict_classes={BETTER: "differs", WORSE: "differs", EQUAL: "equal"},
        tally=tally_text(summary.verdicts) if summary else "",
        verdict_rules=VERDICT_RULES,
        theory_bytes=theory_bytes,
        even=even,
        even_json=Markup(msgspec.json.encode(even.lines).decode().replace("<", "\\u003c")) if even else "",
        names=[style.LOOKS[name].name for name in summary.blocks.trials] if summary else [],
    )
