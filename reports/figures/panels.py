"""Shared parts of figures: an empty figure, names next to lines instead of a legend, the log axis, the transit."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports.style import FAINT, FIGURE_SIZE_INCHES, LOOKS, PADDING_INCHES, TITLE, text_colour

MAX_DECADES_WITH_STEPS: Final = 5
LOWEST_LABEL: Final = 0.03
"""Lowest position of a label, as a share of the panel's height: a lower one would touch the name of the x axis."""


def new_figure(title: str) -> Figure:
    """An empty figure with a heading, whose layout makes room for what is drawn into it."""
    layout = ConstrainedLayoutEngine(w_pad=PADDING_INCHES, h_pad=PADDING_INCHES)
    figure = Figure(figsize=FIGURE_SIZE_INCHES, layout=layout)
    figure.suptitle(title, **TITLE)
    return figure


def spread(wanted: Sequence[float], gap: float, floor: float = -math.inf) -> list[float]:
    """Positions as near as possible to the wanted ones, at least ``gap`` apart, none of them below ``floor``."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    clusters: list[list[float]] = []  # centre, members
    for place in order:
        clusters.append([wanted[place], 1])
        while len(clusters) > 1 and _touch(clusters[-2], clusters[-1], gap):
            (a, n), (b, m) = clusters.pop(-2), clusters.pop()
            clusters.append([(a * n + b * m) / (n + m), n + m])
    placed = [centre + gap * (i - (count - 1) / 2) for centre, count in clusters for i in range(int(count))]
    placed = [max(position, floor + gap * i) for i, position in enumerate(placed)]
    found = [0.0] * len(wanted)
    for place, position in zip(order, placed, strict=True):
        found[place] = position
    return found


def _touch(below: list[float], above: list[float], gap: float) -> bool:
    return above[0] - below[0] < gap * (below[1] + above[1]) / 2


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, float]], gap: float = 0.075) -> None:
    """Name each transport's line to the right of the panel. ``ends``: transport -> its last point, in data units."""
    to_fraction = axes.transData + axes.transAxes.inverted()
    points = {name: to_fraction.transform(end) for name, end in ends.items()}
    heights = spread([float(y) for _, y in points.values()], gap, LOWEST_LABEL)
    for (name, (x, y)), height in zip(points.items(), heights, strict=True):
        look = LOOKS[name]
        axes.annotate(
            look.name.replace(" (", "\n("),
            xy=(x, y),
            xytext=(1.06, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=text_colour(look.colour),
            fontweight="bold",
            fontsize=14,
            linespacing=0.95,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": look.colour,
                "linewidth": 1,
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def log_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make y logarithmic, with room around all values above zero, and ticks at 1, 2 and 5 or only at powers of ten."""
    shown = [value for value in values if value > 0]
    low, high = min(shown) / 1.5, max(shown) * 1.8
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= MAX_DECADES_WITH_STEPS else (1,)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([step * 10.0**decade for decade in decades for step in steps]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def mark_transit(axes: Axes, transit_ms: float, x: float) -> None:
    """Mark the lowest latency that the network allows: half a round trip."""
    axes.axhline(transit_ms, color=FAINT, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    axes.annotate(
        f"one-way transit, {transit_ms:g} ms",
        xy=(x, transit_ms),
        xycoords=("axes fraction", "data"),
        xytext=(0, -5),
        textcoords="offset points",
        va="top",
        color=FAINT,
        fontsize=13,
    )
