"""Figures of the scenarios: which transport suits which use, and for each its two most telling numbers."""

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from bench.results.catalogue import METRICS
from feed.transports import BASELINE
from reports.figures.panels import new_figure
from reports.formats import number
from reports.sections.scenarios import Judged, Mark, Picture, title
from reports.style import CAUTION, FAINT, INK, LOOKS, PAPER, RULE, text_colour
from reports.table.suits import EQUAL_FOR_USER, FAILS, PREFERRED, WORSE_FOR_USER, Standing

GAP: Final = 0.03
"""Space around a cell, as a share of its width."""
FRAME_POINTS: Final = 2.5
TINTS: Final = {PREFERRED: "#6aa5d1", EQUAL_FOR_USER: "#d6e6f4", WORSE_FOR_USER: PAPER, FAILS: PAPER, "": PAPER}
"""One hue, so that it reads in grey as well; darker is better."""


def draw_suits(judged: list[Judged]) -> Figure | None:
    """A cell for each scenario and transport: the word, and what the user notices."""
    if not any(one.standings for one in judged):
        return None
    names = [name for name in LOOKS if name != BASELINE]
    figure = new_figure("Which transport suits which use?")
    axes = figure.subplots()
    for row, one in enumerate(judged):
        by_name = {of.transport: of for of in one.standings}
        for column, name in enumerate(names):
            _cell(axes, column, row, one, by_name.get(name))
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(judged), 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([i + 0.5 for i in range(len(names))], [LOOKS[name].name for name in names], fontsize=14)
    axes.xaxis.tick_top()
    for label, name in zip(axes.get_xticklabels(), names, strict=True):
        label.set_color(text_colour(LOOKS[name].colour))
    rows = [f"{title(one.name)}\n{METRICS[one.rule.noticed].label}" for one in judged]
    axes.set_yticks([i + 0.5 for i in range(len(judged))], rows, fontsize=11)
    axes.tick_params(length=0)
    axes.set_xlabel(
        "as good: to the user, at more bytes or CPU; best: at the least of them; framed: the article's choice",
        fontsize=12,
    )
    return figure


def _cell(axes: Axes, column: int, row: int, one: Judged, of: Standing | None) -> None:
    framed = of is not None and of.transport == one.rule.recommended
    axes.add_patch(
        Rectangle(
            (column + GAP, row + GAP),
            1 - 2 * GAP,
            1 - 2 * GAP,
            facecolor=TINTS[of.word] if of else PAPER,
            edgecolor=INK if framed else RULE,
            linewidth=FRAME_POINTS if framed else 0.8,
        )
    )
    centre: dict[str, Any] = {"x": column + 0.5, "ha": "center", "va": "center"}
    if of is None or of.noticed is None:
        axes.text(y=row + 0.5, s="no number", fontsize=10, color=FAINT, **centre)
        return
    colour = CAUTION if of.word == FAILS else INK
    axes.text(y=row + 0.34, s=of.word or "no verdict", fontsize=13, color=colour, **centre)
    said = f"{number(of.noticed.value)} {METRICS[one.rule.noticed].unit}"
    axes.text(y=row + 0.7, s=said, fontsize=11, color=INK, **centre)


MARKERS: Final = ("o", "s", "^", "D", "v", "P")
"""By arm; the first is filled."""
LOG_FROM: Final = 20.0
"""Values that differ by more than so many times stand on a logarithmic axis."""


def draw_scenario(picture: Picture) -> Figure | None:
    """Two metrics of a scenario, by transport: the first arm with its interval, further arms as single trials."""
    panels = {metric: marks for metric, marks in picture.panels.items() if marks}
    if not panels:
        return None
    figure = new_figure(picture.heading)
    for axes, (metric, marks) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        _panel(axes, metric, marks)
    handles = [
        Line2D([], [], color=INK, linestyle="", marker=MARKERS[arm], markersize=10, fillstyle="none" if arm else "full")
        for arm in range(len(picture.arms))
    ]
    figure.legend(handles, picture.arms, loc="outside lower center", ncols=2, frameon=False, fontsize=13)
    return figure


def _panel(axes: Axes, metric: str, marks: list[Mark]) -> None:
    names = [name for name in LOOKS if any(mark.transport == name for mark in marks)]
    for mark in marks:
        of, colour = mark.value, LOOKS[mark.transport].colour
        row = names.index(mark.transport) + 0.12 * mark.arm
        if of.low is not None and of.high is not None:
            axes.plot([of.low, of.high], [row, row], color=colour, linewidth=3)
        shown: dict[str, Any] = {
            "marker": MARKERS[mark.arm],
            "markersize": 10,
            "fillstyle": "none" if mark.arm else "full",
        }
        axes.plot(of.value, row, color=colour, linestyle="", **shown)
    values = [mark.value.value for mark in marks]
    if min(values) > 0 and max(values) / min(values) > LOG_FROM:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    else:
        axes.set_xlim(left=0)
    axes.set_ylim(len(names) - 0.3, -0.5)
    axes.set_yticks(range(len(names)), [LOOKS[name].name for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(text_colour(LOOKS[name].colour))
    axes.set_xlabel(METRICS[metric].title)
