"""Figure: seconds until half, nine in ten and all of the clients were back, by fault and transport."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.panels import new_figure
from reports.formats import number
from reports.sections.faults import FAULT_NAMES, FaultSummary, Recovery
from reports.style import INK, LOOKS

HALF, MOST = 50, 90
ROOM = 1.35
"""The axis ends at this multiple of the longest recovery, which leaves room for its number."""


def draw(summary: FaultSummary) -> Figure | None:
    """One panel per fault, one line per transport. Every panel has its own scale: recovery differs by fault."""
    faults = [fault for fault in FAULT_NAMES if any(one.fault == fault and one.recover_s for one in summary.recoveries)]
    if not faults:
        return None
    figure = new_figure("How long until clients hear from the server again")
    panels = figure.subplots(1, len(faults), squeeze=False)[0]
    for place, (axes, fault) in enumerate(zip(panels, faults, strict=True)):
        _draw(axes, [one for one in summary.recoveries if one.fault == fault and one.recover_s], place == 0)
        axes.set_title(FAULT_NAMES[fault].replace(" and ", "\nand ").replace(", ", ",\n"), fontsize=15)
        axes.set_xlabel("seconds after the fault was over")
    return figure


def _draw(axes: Axes, recoveries: Sequence[Recovery], named: bool) -> None:
    longest = max(one.recover_s[-1] for one in recoveries)
    for row, one in enumerate(recoveries):
        look, back = LOOKS[one.transport], one.recover_s
        half, most = (float(np.percentile(back, q)) for q in (HALF, MOST))
        axes.plot([half, most], [row, row], color=look.colour, linewidth=7, solid_capstyle="butt")
        axes.plot([most, back[-1]], [row, row], color=look.colour, linewidth=2)
        axes.plot(half, row, color=look.colour, marker=look.marker, markersize=11)
        axes.annotate(
            f"{number(back[-1])} s",
            xy=(back[-1], row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=12,
        )
    axes.set_yticks(range(len(recoveries)), [LOOKS[one.transport].name.replace(" (", "\n(") for one in recoveries])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * ROOM)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelleft=named)
