"""``index.html``: one file that opens from disk and loads nothing."""

import re
from collections.abc import Sequence
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from feed.console.printable import printable
from reports.layout import Drawn, Figure
from reports.style import LOOKS, RATING_TINTS

INTERVAL: Final = re.compile(r"\[-?[\d.,]+, (?:-?[\d.,]+|∞)\]")


def render(report: Sequence[Drawn]) -> str:
    """The whole report. What sections say in words stands on the first screen, before all tables and figures."""
    environment = Environment(
        loader=PackageLoader("reports.writers"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"grey": _grey, "inline": _inline, "css": lambda word: re.sub("[^a-z]+", "-", word.lower())}
    return environment.get_template("index.html").render(report=report, looks=LOOKS, tints=RATING_TINTS)


def _grey(text: str) -> Markup:
    """Text with its intervals in grey, none of them broken over two lines."""
    safe = str(escape(printable(text)))
    return Markup(INTERVAL.sub(lambda found: f'<span class="interval">{found[0]}</span>', safe))


def _inline(figure: Figure) -> Markup:
    """The SVG as an element of a page: no prolog or metadata, names of its parts made unique to it."""
    svg = figure.svg[figure.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{figure.name}-", svg)
    label = escape(figure.caption)
    return Markup(re.sub(r'<svg width="[^"]*" height="[^"]*"', f'<svg role="img" aria-label="{label}"', svg, count=1))
