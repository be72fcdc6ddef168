"""Figure: wire bytes per second and subscriber over a room's event rate, one line per transport."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from feed.transports import POLLING
from reports.figures.panels import label_ends, new_figure
from reports.sections.breakeven import INTERVALS_S, BreakEven
from reports.style import INK, LOOKS
from reports.theory.traffic import Traffic

RATES_HZ = np.geomspace(1e-3, 1e2, 200)


def draw(found: BreakEven) -> Figure | None:
    """Thick lines for the transports, thin ones for polling at other intervals, and markers where it was measured."""
    figure = new_figure("What a subscriber costs the network, by how much happens in the room")
    axes = figure.subplots()
    ends = {}
    for line in found.lines:
        look = LOOKS[line.transport]
        values = [line.bytes_per_s(rate, found.poll_interval_s) for rate in RATES_HZ]
        axes.plot(RATES_HZ, values, color=look.colour, linestyle=look.line, linewidth=2.6)
        ends[line.transport] = (float(RATES_HZ[-1]), values[-1])
        if line.transport == POLLING:
            _intervals(axes, line, found.poll_interval_s, values[0])
    for name, value in found.measured.items():
        look = LOOKS[name]
        axes.plot(found.rate_hz, value, marker=look.marker, markersize=9, color=look.colour, markeredgecolor=INK)
    axes.annotate(
        "measured",
        (found.rate_hz, max(found.measured.values())),
        (0, 14),
        textcoords="offset points",
        ha="center",
        fontsize=12,
    )
    axes.set(xscale="log", yscale="log", xlabel="events per second in the room", ylabel="wire bytes per second (B/s)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    figure.draw_without_rendering()
    label_ends(axes, ends)
    return figure


def _intervals(axes: Axes, line: Traffic, measured_s: float, at_left: float) -> None:
    """Polling's lines at other intervals: thin, each named at its left end."""
    for interval_s in INTERVALS_S:
        if interval_s != measured_s:
            values = [line.bytes_per_s(rate, interval_s) for rate in RATES_HZ]
            axes.plot(RATES_HZ, values, color=LOOKS[POLLING].colour, linewidth=1.0)
            _name(axes, f"every {interval_s:g} s", values[0], "normal", above=interval_s < measured_s)
    _name(axes, f"polling every {measured_s:g} s", at_left, "bold", above=True)


def _name(axes: Axes, text: str, height: float, weight: str, *, above: bool) -> None:
    offset = (-6, 4 if above else -15)
    axes.annotate(
        text, (RATES_HZ[0], height), offset, textcoords="offset points", fontsize=12, fontweight=weight, color=INK
    )
