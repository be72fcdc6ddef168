"""Figures of sensitivity: heat maps with each transport's rating word and number in each setting."""

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.figures.panels import new_figure
from reports.sections.sensitivity import BANDWIDTH, LATENCY, Line, Map, Rated, Scale, SensitivitySummary, is_articles
from reports.style import FAINT, INK, LOOKS, PAPER, RATING_TINTS, RULE, text_colour

GAP: Final = 0.03
"""Space around a cell, as a share of its width."""
FRAME_POINTS: Final = 2.5


def draw_latency(summary: SensitivitySummary) -> Figure | None:
    """The words for latency over the grid."""
    return _draw(summary, LATENCY)


def draw_bandwidth(summary: SensitivitySummary) -> Figure | None:
    """The words for bandwidth over the grid."""
    return _draw(summary, BANDWIDTH)


def _draw(summary: SensitivitySummary, scale: Scale) -> Figure | None:
    shown = next(one for one in summary.maps if one.scale is scale)
    if not any(line.cells for line in shown.lines):
        return None
    figure = new_figure(f"{scale.title} in {scale.unit}, setting by setting")
    axes = figure.subplots()
    for row, line in enumerate(shown.lines):
        for column, setting in enumerate(shown.settings):
            _cell(axes, column, row, line, line.cells.get(setting))
    _label(axes, shown)
    return figure


def _cell(axes: Axes, column: int, row: int, line: Line, rated: Rated | None) -> None:
    framed = rated is not None and is_articles(line, rated)
    axes.add_patch(
        Rectangle(
            (column + GAP, row + GAP),
            1 - 2 * GAP,
            1 - 2 * GAP,
            facecolor=RATING_TINTS[rated.word] if rated else PAPER,
            edgecolor=INK if framed else RULE,
            linewidth=FRAME_POINTS if framed else 0.8,
        )
    )
    centre: dict[str, Any] = {"x": column + 0.5, "ha": "center", "va": "center"}
    if rated is None:
        axes.text(y=row + 0.5, s="no number", fontsize=10, color=FAINT, **centre)
        return
    axes.text(y=row + 0.34, s=rated.word, fontsize=13, fontweight="bold" if framed else "normal", **centre)
    axes.text(y=row + 0.7, s=rated.numbers, fontsize=10.5, **centre)


def _label(axes: Axes, shown: Map) -> None:
    columns, rows = len(shown.settings), len(shown.lines)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([i + 0.5 for i in range(columns)], [f"{setting.rate_hz:g}/s" for setting in shown.settings])
    axes.set_yticks([i + 0.5 for i in range(rows)], [_named(line) for line in shown.lines], fontsize=12)
    axes.tick_params(length=0)
    for label, line in zip(axes.get_yticklabels(), shown.lines, strict=True):
        label.set_color(text_colour(LOOKS[line.transport].colour))
    axes.set_xlabel(
        "events per second for each subscriber; framed: the article's word; in brackets: predicted; one trial per cell",
        fontsize=13,
    )
    _head(axes, shown)


def _named(line: Line) -> str:
    article = "" if line.article == "-" else f"\narticle: {line.article.lower()}"
    return line.name + article


def _head(axes: Axes, shown: Map) -> None:
    """Write each round trip over its columns."""
    for rtt_ms in dict.fromkeys(setting.rtt_ms for setting in shown.settings):
        places = [i for i, setting in enumerate(shown.settings) if setting.rtt_ms == rtt_ms]
        middle = (places[0] + places[-1] + 1) / 2
        axes.text(middle, -0.12, f"{rtt_ms:g} ms round trip", ha="center", va="bottom", fontsize=15, fontweight="bold")
        if places[0]:
            axes.axvline(places[0], color=FAINT, linewidth=1.5)
