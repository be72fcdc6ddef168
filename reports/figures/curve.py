"""Figure: polling's latency and bytes over its interval, with horizontal lines at the other transports' values."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from feed.transports import POLLING
from reports.figures.panels import label_ends, log_axis, mark_transit, new_figure
from reports.formats import number
from reports.statistics import Estimate
from reports.style import FAINT, INK, LOOKS, text_colour
from reports.table.curve import Point
from reports.table.summary import Summary

PREDICTED: Final[dict[str, Any]] = {"color": INK, "linewidth": 1.1, "linestyle": "dashed"}
ROOM_FOR_NUMBERS: Final = 3.5
"""The axis of intervals ends at this multiple of the longest one, which leaves room for the last number."""


class Panel(msgspec.Struct, frozen=True):
    """One panel: polling's value at each point and its unit, and the metric of the other transports next to it."""

    title: str
    y_label: str
    metric: str
    unit: str
    of: Callable[[Point], Estimate]
    predicted: Callable[[Point], float | None]
    numbers_below: bool
    has_transit: bool


PANELS: Final = (
    Panel(
        title="Latency, median",
        y_label="delivery latency p50 (ms, log scale)",
        metric="latency_ms_p50",
        unit="ms",
        of=lambda point: point.latency_ms,
        predicted=lambda point: point.predicted.get("latency_ms_p50"),
        numbers_below=True,
        has_transit=True,
    ),
    Panel(
        title="Bytes on the wire",
        y_label="wire bytes per event (B, log scale)",
        metric="wire_bytes_per_event",
        unit="B",
        of=lambda point: point.wire_bytes,
        predicted=lambda point: point.predicted.get("wire_bytes_per_event"),
        numbers_below=False,
        has_transit=False,
    ),
)


def draw(summary: Summary) -> Figure | None:
    """Both axes logarithmic; ``None`` if polling was measured at fewer than two intervals."""
    if not summary.curve:
        return None
    figure = new_figure("Polling trades latency against bytes")
    all_axes = figure.subplots(1, len(PANELS))
    ends = [_draw(axes, panel, summary) for axes, panel in zip(all_axes, PANELS, strict=True)]
    if any(point.trials == 1 for point in summary.curve):
        figure.supxlabel("Hollow: a single trial, no interval.", fontsize=13, color=FAINT, x=0.012, ha="left")
    if any(point.predicted for point in summary.curve):
        figure.legend(
            [Line2D([], [], **PREDICTED)], ["polling, predicted by theory"], loc="outside lower right",
            frameon=False, fontsize=13,
        )  # fmt: skip
    figure.draw_without_rendering()
    for axes, marks in zip(all_axes, ends, strict=True):
        label_ends(axes, marks)
    return figure


def _draw(axes: Axes, panel: Panel, summary: Summary) -> dict[str, tuple[float, float]]:
    """Draw one panel; returns where the other transports' lines end."""
    transit_ms = summary.results.plan.rtt_ms / 2 if panel.has_transit else 0.0
    points = [(point, panel.of(point)) for point in summary.curve]
    others = {name: summary.blocks.estimate(name, panel.metric) for name in summary.blocks.trials if name != POLLING}
    levels = {name: of.value for name, of in others.items() if of}
    axes.set(title=panel.title, ylabel=panel.y_label)
    _interval_axis(axes, [point.interval_s for point in summary.curve])
    log_axis(axes, [*(of.value for _, of in points), *levels.values(), transit_ms])
    _polling(axes, panel, points)
    theory = {point.interval_s: value for point, _ in points if (value := panel.predicted(point)) is not None}
    axes.plot(list(theory), list(theory.values()), zorder=5, **PREDICTED)
    if transit_ms:
        mark_transit(axes, transit_ms, 0.03)
    for name, level in levels.items():
        axes.axhline(level, color=LOOKS[name].colour, linestyle=LOOKS[name].line, linewidth=1.8, zorder=2)
    return {name: (axes.get_xlim()[1], level) for name, level in levels.items()}


def _interval_axis(axes: Axes, intervals_s: Sequence[float]) -> None:
    axes.set(xscale="log", xlabel="poll interval (s, log scale)")
    axes.set_xlim(intervals_s[0] / 1.5, intervals_s[-1] * ROOM_FOR_NUMBERS)
    axes.xaxis.set_major_locator(FixedLocator(intervals_s))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _polling(axes: Axes, panel: Panel, points: Sequence[tuple[Point, Estimate]]) -> None:
    colour, marker = LOOKS[POLLING].colour, LOOKS[POLLING].marker
    x = [point.interval_s for point, _ in points]
    axes.plot(x, [of.value for _, of in points], color=colour, linewidth=2.6, zorder=3)
    for point, of in points:
        fill = colour if point.trials > 1 else axes.get_facecolor()
        axes.plot(point.interval_s, of.value, marker, color=colour, markerfacecolor=fill, markersize=11, zorder=4)
        if of.low is not None and of.high is not None:
            axes.plot([point.interval_s] * 2, [of.low, of.high], color=colour, linewidth=5, zorder=4)
        axes.annotate(
            f"{number(of.value)} {panel.unit}",
            xy=(point.interval_s, of.value),
            xytext=(10, -8 if panel.numbers_below else 8),
            textcoords="offset points",
            va="top" if panel.numbers_below else "bottom",
            fontsize=14,
            fontweight="bold",
            color=text_colour(colour),
        )
