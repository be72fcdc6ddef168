"""The figures of a report: which there are, and how they are written."""

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

import matplotlib
import msgspec
from matplotlib.figure import Figure

from reports.figures import breakeven as draw_breakeven
from reports.figures import bytes as draw_bytes
from reports.figures import cost as draw_cost
from reports.figures import curve as draw_curve
from reports.figures import faults as draw_faults
from reports.figures import ground_truth as draw_life
from reports.figures import latency as draw_latency
from reports.figures import pairs as draw_pairs
from reports.figures import sensitivity as draw_sensitivity
from reports.figures import table as draw_table
from reports.layout import Drawn
from reports.sections.breakeven import BreakEven
from reports.sections.cost import CostSummary
from reports.sections.faults import FaultSummary
from reports.sections.ground_truth import TruthSummary
from reports.sections.sensitivity import SensitivitySummary
from reports.style import PNG_DPI, RC
from reports.table.summary import Summary

FOLDER: Final = "figures"
S = TypeVar("S")
"""What is drawn: a ``Summary`` or a ``CostSummary``."""


class Plate(msgspec.Struct, Generic[S], frozen=True):
    """One kind of figure: file name, what it shows in words, and its drawing function."""

    name: str
    caption: str
    draw: Callable[[S], Figure | None]


PLATES: Final[tuple[Plate[Summary], ...]] = (
    Plate("table", "The comparison table as a picture.", draw_table.draw),
    Plate(
        "latency_percentiles",
        "Latency percentiles. Line: geometric mean over blocks; band: its 95 % interval. Thin dashes: predicted.",
        draw_latency.draw,
    ),
    Plate(
        "wire_bytes",
        "Wire bytes per delivered event by cause. Line at the end: 95 % interval. Triangle: predicted.",
        draw_bytes.draw,
    ),
    Plate("pairs", "Every pair of transports: row against column, with its verdict.", draw_pairs.draw),
    Plate(
        "polling_curve",
        "Polling over its interval, beside the other transports. Bars: 95 % interval over blocks; dashes: predicted.",
        draw_curve.draw,
    ),
)


COST_PLATES: Final[tuple[Plate[CostSummary], ...]] = (
    Plate(
        "cost_cpu",
        "Server CPU, user and system stacked; hatched: variants. Line at the end: 95 % interval; dotted: the baseline.",
        draw_cost.draw_cpu,
    ),
    Plate(
        "cost_socketio",
        "The same with Socket.IO, at a rate that its client can take on one core.",
        draw_cost.draw_low_rate,
    ),
    Plate("cost_memory", "Resident memory per connection; hatched: variants.", draw_cost.draw_memory),
    Plate(
        "cost_growth",
        "Server CPU per delivered event under other loads. Single trials.",
        draw_cost.draw_growth,
    ),
)


FAULT_PLATES: Final[tuple[Plate[FaultSummary], ...]] = (
    Plate(
        "recovery",
        "When clients heard from the server again: half, nine in ten, and the last of them.",
        draw_faults.draw,
    ),
)


SENSITIVITY_PLATES: Final[tuple[Plate[SensitivitySummary], ...]] = (
    Plate(
        "sensitivity_latency",
        "Latency's word in each setting: median over the one-way transit, in brackets predicted. Framed: the article's "
        "word. Single trials.",
        draw_sensitivity.draw_latency,
    ),
    Plate(
        "sensitivity_bandwidth",
        "Bandwidth's word in each setting: wire bytes per event over the payload, in brackets predicted. Framed: the "
        "article's word. Single trials.",
        draw_sensitivity.draw_bandwidth,
    ),
)

TRUTH_PLATES: Final[tuple[Plate[TruthSummary], ...]] = (
    Plate(
        "late_events",
        "The slowest events of each transport, from due to application. An arrow: the bar goes on beyond the axis.",
        draw_life.draw,
    ),
)


BREAK_EVEN_PLATES: Final[tuple[Plate[BreakEven], ...]] = (
    Plate(
        "break_even",
        "Wire bytes per second and subscriber: from the coefficients that were measured; markers: measured as such.",
        draw_breakeven.draw,
    ),
)


def draw_all(plates: Sequence[Plate[S]], summary: S, folder: Path, prefix: str = "") -> list[Drawn]:
    """Write every figure there are numbers for as PNG and SVG. Raises ``OSError`` if the folder cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plate in plates:
        with matplotlib.rc_context(rc=RC):
            figure = plate.draw(summary)
            if figure is not None:
                name = prefix + plate.name
                figure.savefig(folder / f"{name}.png", dpi=PNG_DPI)
                svg = _svg(figure)
                (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
                drawn.append(Drawn(name, plate.caption, svg))
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
