"""Figure: how long each part of the way took for each transport's slowest events, from due time to application."""

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.panels import new_figure
from reports.formats import number
from reports.sections.ground_truth import Life, TruthSummary
from reports.style import INK, LOOKS, PAPER

PARTS: Final = {
    "publisher_ms": ("due → published", "#E69F00"),
    "server_ms": ("server, kernel and relay (waiting for a poll included)", "#0072B2"),
    "transit_ms": ("network's transit", "#BBBBBB"),
    "client_ms": ("kernel → application", "#D55E00"),
}
"""The parts of a bar, from the left: label and colour. Server and relay work before and after the transit; the figure
draws their time as one part."""
FAR: Final = 3.0
"""The axis cuts off a transport whose slowest event took this many times the next one's: the others stay readable."""
ROOM: Final = 1.3
LAST_LABEL: Final = 0.88
"""Share of the axis: a bar that ends further right leaves no room next to it, so that its number stands on its end."""
GAP: Final = 0.8
"""Gap between two transports, in bar heights."""


def draw(summary: TruthSummary) -> Figure | None:
    """One bar per event, one group of bars per transport."""
    if not summary.lives:
        return None
    figure = new_figure("The life of one late event: the slowest of each transport")
    axes = figure.subplots()
    end_ms = axis_end_ms({name: lives[0].latency_ms for name, lives in summary.lives.items()})
    axes.set_xlim(0, end_ms)
    places = _places(summary.lives)
    for name, lives in summary.lives.items():
        for place, life in zip(places[name], lives, strict=True):
            _draw_bar(axes, place, life, end_ms)
    centres = [sum(of) / len(of) for of in places.values()]
    axes.set_yticks(centres, [LOOKS[name].name.replace(" (", "\n(") for name in places])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_xlabel("milliseconds after the event was due")
    handles = [axes.barh(0, 0, color=colour, label=label) for label, colour in PARTS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=13)
    return figure


def axis_end_ms(slowest_ms: Mapping[str, float]) -> float:
    """The end of the axis: beyond the slowest events of the faster half of the transports, and of those not ``FAR``
    behind it."""
    ranked = sorted(slowest_ms.values())
    half = (len(ranked) - 1) // 2
    shown = ranked[half]
    for latency_ms in ranked[half + 1 :]:
        if latency_ms > FAR * shown:
            break
        shown = latency_ms
    return shown * ROOM


def _places(lives: Mapping[str, Sequence[Life]]) -> dict[str, list[float]]:
    """Transport -> the vertical position of each of its bars."""
    places: dict[str, list[float]] = {}
    at = 0.0
    for name, of in lives.items():
        places[name] = [at + row for row in range(len(of))]
        at += len(of) + GAP
    return places


def _draw_bar(axes: Axes, place: float, life: Life, end_ms: float) -> None:
    left = 0.0
    for part, (_, colour) in PARTS.items():
        width = max(0.0, getattr(life, part))
        axes.barh(place, width, left=left, height=0.78, color=colour)
        left += width
    text = f"{number(life.latency_ms)} ms"
    if life.latency_ms <= LAST_LABEL * end_ms:
        axes.annotate(
            text, xy=(left, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=12, color=INK
        )
        return
    box = {"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"}
    arrow = "→ " if life.latency_ms > end_ms else ""
    axes.text(end_ms, place, arrow + text, ha="right", va="center", fontsize=12, color=INK, bbox=box)
