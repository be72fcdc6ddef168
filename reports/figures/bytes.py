"""Figure: wire bytes per delivered event, stacked by cause; a second panel enlarges bars that a longer one dwarfs."""

import math
from typing import Any, Final

import msgspec
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.results.catalogue import METRICS
from reports.figures.panels import new_figure
from reports.formats import fixed, number, with_interval
from reports.statistics import Estimate
from reports.style import FAINT, INK, LOOKS, PAPER, on_top, tint
from reports.table.summary import Summary
from reports.theory.added import predictions

CAUSES: Final = {
    "payload_bytes_per_event": 1.0,
    "framing_bytes_per_event": 0.66,
    "tcp_ip_bytes_per_event": 0.38,
    "heartbeat_bytes_per_event": 0.16,
}
"""Metric of a cause -> strength of its tint of the transport's colour (0 to 1)."""
DWARFED: Final = 2.0
"""A bar that is this many times the next shorter one dwarfs it: a second panel then enlarges the shorter bars."""
CHARACTER_WIDTH: Final = 0.02
"""Width of a digit as a share of the enlarged axis: a segment shows its number where it fits."""
BAR: Final = 0.62
ROOM_FOR_MULTIPLES: Final = 1.32
ROOM_FOR_TOTALS: Final = 1.75
"""An axis ends at this multiple of the longest bar shown in full, which leaves room for the text at the bar's end."""
ROUND_BYTES: Final = 50
LONGEST_WHISKER: Final = 1.15
"""A total stands to the right of its interval, but at most at this multiple of the bar: two blocks can have an interval
of any width."""


PREDICTED: Final[dict[str, Any]] = {"marker": "^", "markersize": 9, "color": INK, "linestyle": "none"}
"""A mark below the bar at the predicted bytes, where the bar would end if the implementation added nothing."""


class Bar(msgspec.Struct, frozen=True):
    """A transport's bytes per event: by cause, in total, and predicted."""

    name: str
    parts: dict[str, float]
    total: Estimate
    predicted: float | None


def draw(summary: Summary) -> Figure | None:
    """Horizontal bars in the table's order; ``None`` if no transport has a total."""
    bars = _bars(summary)
    if not bars:
        return None
    payload_bytes = summary.results.plan.payload_bytes
    limit = enlarged_up_to([bar.total.value for bar in bars])
    figure = new_figure("Bytes on the wire per delivered event, both directions")
    ratios = [0.34, 0.66] if limit else [1]
    panels = figure.subplots(1, len(ratios), squeeze=False, sharey=True, gridspec_kw={"width_ratios": ratios})[0]
    longest = max(bar.total.value for bar in bars)
    if limit:
        _panel(panels[0], bars, longest * ROOM_FOR_MULTIPLES)
        for row, bar in enumerate(bars):
            _total(panels[0], row, bar, _multiple(bar, payload_bytes))
        panels[0].set_title("Full length")
        panels[1].set_title(f"Enlarged: the first {limit:,} B")
    shown = limit or longest * ROOM_FOR_TOTALS
    _panel(panels[-1], bars, shown)
    for row, bar in enumerate(bars):
        _numbers(panels[-1], row, bar, shown, payload_bytes)
    panels[0].set_yticks(range(len(bars)), [LOOKS[bar.name].name.replace(" (", "\n(") for bar in bars], fontsize=16)
    panels[0].invert_yaxis()
    _legend(figure, bars)
    return figure


def enlarged_up_to(totals: list[float]) -> int | None:
    """The end of the enlarged axis in bytes; ``None`` if no bar dwarfs the others."""
    ordered = sorted(totals)
    gaps = [place for place in range(1, len(ordered)) if ordered[place] > DWARFED * ordered[place - 1]]
    return math.ceil(ordered[gaps[0] - 1] * ROOM_FOR_TOTALS / ROUND_BYTES) * ROUND_BYTES if gaps else None


def _bars(summary: Summary) -> list[Bar]:
    blocks, bars, theory = summary.blocks, [], predictions(summary.results, summary.blocks)
    for name in blocks.trials:
        total = blocks.estimate(name, "wire_bytes_per_event")
        found = {cause: blocks.estimate(name, cause) for cause in CAUSES}
        if total and total.value > 0:
            predicted = theory.get(name, {}).get("wire_bytes_per_event")
            bars.append(Bar(name, {cause: of.value for cause, of in found.items() if of}, total, predicted))
    return bars


def _panel(axes: Axes, bars: list[Bar], limit: float) -> None:
    for row, bar in enumerate(bars):
        left = 0.0
        for cause, size in bar.parts.items():
            colour = tint(LOOKS[bar.name].colour, CAUSES[cause])
            axes.barh(row, size, BAR, left, color=colour, edgecolor=PAPER, linewidth=1.2)
            left += size
        of = bar.total
        if of.low is not None and of.high is not None:
            ends = [[max(0.0, of.value - of.low)], [max(0.0, of.high - of.value)]]
            axes.errorbar(of.value, row, xerr=ends, color=INK, elinewidth=1.5, capsize=5, capthick=1.5)
        if bar.predicted is not None and bar.predicted <= limit:
            axes.plot(bar.predicted, row + BAR / 2, **PREDICTED, clip_on=False)
    axes.set_xlim(0, limit)
    axes.xaxis.set_major_locator(MaxNLocator(3 if limit > 5000 else 6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("bytes per event (B)")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)


def _multiple(bar: Bar, payload_bytes: int) -> str:
    return f"{number(bar.total.value / payload_bytes)} × payload"


def _in_full(bar: Bar, payload_bytes: int) -> str:
    return f"{with_interval(bar.total)} B\n{_multiple(bar, payload_bytes)}"


def _total(axes: Axes, row: int, bar: Bar, text: str) -> None:
    axes.annotate(
        text,
        xy=(min(bar.total.high or bar.total.value, bar.total.value * LONGEST_WHISKER), row),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=14,
        fontweight="bold",
    )


def _numbers(axes: Axes, row: int, bar: Bar, limit: float, payload_bytes: int) -> None:
    left = 0.0
    for cause, size in bar.parts.items():
        text = fixed(size, 0)
        width = CHARACTER_WIDTH * len(text) * limit
        whisker = bar.total.low if bar.total.low is not None else bar.total.value
        if left + size <= limit and size >= width and left + (size + width) / 2 <= whisker:
            colour = on_top(tint(LOOKS[bar.name].colour, CAUSES[cause]))
            axes.text(left + size / 2, row, text, ha="center", va="center", fontsize=13, color=colour)
        left += size
    if bar.total.value < limit:
        _total(axes, row, bar, _in_full(bar, payload_bytes))
    else:
        axes.annotate(
            f"continues to {with_interval(bar.total)} B →",
            xy=(1, row),
            xycoords=("axes fraction", "data"),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=14,
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.3", "facecolor": PAPER, "edgecolor": "none"},
        )


def _legend(figure: Figure, bars: list[Bar]) -> None:
    """The legend of causes: each tint of grey stands for that tint of a transport's colour."""
    patches: list[Artist] = [
        Patch(facecolor=tint(FAINT, strength), label=METRICS[cause].label) for cause, strength in CAUSES.items()
    ]
    if any(bar.predicted is not None for bar in bars):
        patches.append(Line2D([], [], **PREDICTED, label="predicted"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=15)
