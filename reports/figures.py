"""The figures of a report: which there are, and how they are written."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import matplotlib
import msgspec
from matplotlib.figure import Figure

from reports import draw_bytes, draw_curve, draw_latency, draw_table
from reports.style import PNG_DPI, RC
from reports.summary import Summary

FOLDER: Final = "figures"


class Plate(msgspec.Struct, frozen=True):
    """One kind of figure: file name, what it shows in words, and its drawing function."""

    name: str
    caption: str
    draw: Callable[[Summary], Figure | None]


PLATES: Final = (
    Plate("table", "The comparison table as a picture.", draw_table.draw),
    Plate(
        "latency_percentiles",
        "Latency percentiles. Line: geometric mean over blocks; band: its 95 % interval.",
        draw_latency.draw,
    ),
    Plate("wire_bytes", "Wire bytes per delivered event by cause. Line at the end: 95 % interval.", draw_bytes.draw),
    Plate(
        "polling_curve",
        "Polling over its interval, beside the other transports. Bars: 95 % interval over blocks.",
        draw_curve.draw,
    ),
)


class Drawn(msgspec.Struct, frozen=True):
    """A figure that was written: its name, caption and SVG text."""

    name: str
    caption: str
    svg: str


def draw_all(summary: Summary, folder: Path) -> list[Drawn]:
    """Write every figure there are numbers for as PNG and SVG. Raises ``OSError`` if the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plate in PLATES:
        with matplotlib.rc_context(rc=RC):
            figure = plate.draw(summary)
            if figure is not None:
                figure.savefig(folder / f"{plate.name}.png", dpi=PNG_DPI)
                svg = _svg(figure)
                (folder / f"{plate.name}.svg").write_text(svg, encoding="utf-8")
                drawn.append(Drawn(plate.name, plate.caption, svg))
    return drawn


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def inline(drawn: Drawn) -> str:
    """The SVG as an element of a page: no prolog or metadata, names of its parts made unique to it."""
    svg = drawn.svg[drawn.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{drawn.name}-", svg)
    return re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg role="img"', svg, count=1) if " role=" not in svg else svg
