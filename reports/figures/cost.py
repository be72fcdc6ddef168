"""Figures of the cost section: CPU above the baseline, memory per connection, and how cost grows."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from feed.transports import BASELINE
from reports.figures.panels import log_axis, new_figure
from reports.formats import number
from reports.sections.cost import KIB, SWEEPS, CostSummary, in_kib
from reports.sections.cost_trials import Bar, arm_name, size_of, transport_of
from reports.statistics import Estimate
from reports.style import FAINT, INK, LOOKS, PAPER, tint

USER, SYSTEM, VARIANT = 1.0, 0.5, "//"
"""Strength of a bar's two tints (user and system time), and the hatching of variants."""
BAR = 0.62
LEGEND_COLUMNS = 4
"""More entries of a legend than this stand in several lines, and smaller."""
MANY_LOADS = 4
"""The labels of more loads than this are slanted."""
LONGEST_WHISKER = 1.6
"""A number stands to the right of its interval, but at most at this multiple of the longest bar: two blocks can have
an interval of any width."""
ROOM = 1.95
"""The axis ends at this multiple of the longest bar, which leaves room for its number."""


def draw_cpu(summary: CostSummary) -> Figure | None:
    """Server CPU: of streams per delivered event on the left, of polls per request on the right."""
    return _cpu(
        "What a delivery costs the server, above a bare TCP server",
        ("Streams, per delivered event", _streams(summary.per_event), "server CPU per event (µs)"),
        ("Polls, per request", summary.per_request, "server CPU per request (µs)"),
    )


def draw_low_rate(summary: CostSummary) -> Figure | None:
    """Server CPU of all streams per delivered event, at a rate that Socket.IO's client can take."""
    return _cpu(
        "What a delivery costs the server, Socket.IO among them",
        (
            "Streams, per delivered event, at 4,000 deliveries/s",
            _streams(summary.low_rate),
            "server CPU per event (µs)",
        ),
    )


def _streams(bars: Sequence[Bar]) -> list[Bar]:
    return [bar for bar in bars if "polling" not in bar.arm]


def _cpu(heading: str, *wanted: tuple[str, Sequence[Bar], str]) -> Figure | None:
    views = [view for view in wanted if view[1]]
    if not views:
        return None
    figure = new_figure(heading)
    panels = figure.subplots(1, len(views), squeeze=False)[0]
    for axes, (title, bars, unit) in zip(panels, views, strict=True):
        axes.set_title(title)
        _stacked(axes, bars)
        axes.set_xlabel(unit)
    _legend(figure)
    return figure


def _stacked(axes: Axes, bars: Sequence[Bar]) -> None:
    longest = max(bar.total.value for bar in bars)
    for row, bar in enumerate(bars):
        colour, hatch = _paint(bar.arm)
        user = bar.total.value if bar.user is None else bar.user
        axes.barh(row, user, BAR, color=tint(colour, USER), hatch=hatch, edgecolor=PAPER)
        axes.barh(row, bar.total.value - user, BAR, user, color=tint(colour, SYSTEM), hatch=hatch, edgecolor=PAPER)
        ratio = f"\n{number(bar.ratio.value)} × baseline" if bar.ratio else ""
        _number(axes, row, bar.total, f"{number(bar.total.value)} µs{ratio}", longest)
        if bar.arm == BASELINE:
            axes.axvline(bar.total.value, color=FAINT, linewidth=1.5, linestyle=(0, (2, 2)), zorder=0)
    _rows(axes, [bar.arm for bar in bars], longest)


def draw_memory(summary: CostSummary) -> Figure | None:
    """Resident memory per connection, in KiB."""
    if not summary.memory:
        return None
    figure = new_figure("What a connection costs the server in memory")
    axes = figure.subplots()
    longest = max(of.value for of in summary.memory.values()) / KIB
    for row, (arm, of) in enumerate(summary.memory.items()):
        colour, hatch = _paint(arm)
        axes.barh(row, of.value / KIB, BAR, color=colour, hatch=hatch, edgecolor=PAPER)
        _number(axes, row, in_kib(of), f"{number(of.value / KIB)} KiB", longest)
    _rows(axes, list(summary.memory), longest)
    axes.set_xlabel("resident memory per connection (KiB)")
    return figure


def draw_growth(summary: CostSummary) -> Figure | None:
    """Server CPU per delivered event over subscribers, rate and payload, one panel each."""
    if not summary.growth:
        return None
    figure = new_figure("How the cost of a delivery grows")
    panels = figure.subplots(1, len(summary.growth), squeeze=False, sharey=True)[0]
    for axes, (sweep, arms) in zip(panels, summary.growth.items(), strict=True):
        _lines(axes, arms)
        label, _, condition = SWEEPS[sweep].partition(" (")
        axes.set_xlabel(label)
        axes.set_title(condition.removesuffix(")").replace(", ", ",\n"), fontsize=14, fontweight="normal")
    log_axis(panels[0], [us for arms in summary.growth.values() for of in arms.values() for us in of.values()])
    panels[0].set_ylabel("server CPU per delivered event (µs, log scale)")
    handles, labels = panels[0].get_legend_handles_labels()
    columns, size = (len(labels), 15) if len(labels) <= LEGEND_COLUMNS else (LEGEND_COLUMNS, 12)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=size)
    return figure


def _lines(axes: Axes, arms: Mapping[str, Mapping[str, float]]) -> None:
    axes.set_xscale("log")
    loads = sorted({load for of in arms.values() for load in of}, key=size_of)
    for arm, of in arms.items():
        look = LOOKS[transport_of(arm)]
        colour = look.colour if arm in LOOKS else tint(look.colour, SYSTEM)
        sizes = [size_of(load) for load in of]
        axes.plot(sizes, list(of.values()), color=colour, linestyle=look.line, marker=look.marker, label=arm_name(arm))
    axes.set_xticks([size_of(load) for load in loads], loads)
    if len(loads) > MANY_LOADS:
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="right", rotation_mode="anchor")
    axes.minorticks_off()


def _paint(arm: str) -> tuple[str, str]:
    return LOOKS[transport_of(arm)].colour, "" if arm in LOOKS else VARIANT


def _number(axes: Axes, row: int, of: Estimate, text: str, longest: float) -> None:
    """The interval and, beyond its end if the axis reaches so far, the number."""
    if of.low is not None and of.high is not None:
        ends = [[max(0.0, of.value - of.low)], [max(0.0, of.high - of.value)]]
        axes.errorbar(of.value, row, xerr=ends, color=INK, elinewidth=1.5, capsize=5, capthick=1.5)
    place = (min(of.high or of.value, LONGEST_WHISKER * longest), row)
    axes.annotate(
        text, xy=place, xytext=(8, 0), textcoords="offset points", va="center", fontsize=13, fontweight="bold"
    )


def _rows(axes: Axes, arms: Sequence[str], longest: float) -> None:
    axes.set_yticks(range(len(arms)), [arm_name(arm).replace(", ", ",\n").replace(" (", "\n(") for arm in arms])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * ROOM)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)


def _legend(figure: Figure) -> None:
    patches = [
        Patch(facecolor=tint(FAINT, USER), label="user mode (Python)"),
        Patch(facecolor=tint(FAINT, SYSTEM), label="system (the kernel's TCP)"),
        Patch(facecolor=tint(FAINT, USER), hatch=VARIANT, edgecolor=PAPER, label="variant"),
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=15)
