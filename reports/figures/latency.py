"""Figure: latency percentiles, one line per transport, the interval over blocks as a band."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from bench.theory.latency import predict_latency
from bench.theory.predict import conditions, is_plain
from feed.transports import POLLS
from reports.figures.panels import label_ends, log_axis, mark_transit, new_figure
from reports.statistics import Estimate
from reports.style import INK, LOOKS
from reports.table.summary import Summary

TICKS: Final = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
CLOSE: Final = 3.0
"""Transports whose median is within this factor of the lowest are drawn a second time, enlarged."""
ENLARGED_UP_TO: Final = 90.0
"""The enlarged panel shows every line in full up to this percentile."""
ENLARGED_ROOM: Final = 0.3
"""Room for bands above and below, as a share of the lines' height; fixed, as two blocks can have bands of any width."""

Curves = Mapping[str, Mapping[float, Estimate]]


def draw(summary: Summary) -> Figure | None:
    """Latency on a log axis over percentiles on a logit axis (both tails stretched); enlarged where lines coincide.

    A transport that has only a median gets no line; the table has its median.
    """
    found = {name: summary.blocks.percentiles(name) for name in summary.blocks.trials}
    curves = {name: curve for name, curve in found.items() if len(curve) > 1 and 50.0 in curve}
    curves = {name: curve for name, curve in curves.items() if all(of.value > 0 for of in curve.values())}
    if not curves:
        return None
    lowest = min(curve[50.0].value for curve in curves.values())
    close = {name: curve for name, curve in curves.items() if curve[50.0].value <= CLOSE * lowest}
    views = [
        view for view, wanted in ((_overview, close.keys() != curves.keys()), (_enlarged, len(close) > 1)) if wanted
    ]
    figure = new_figure("How late events arrive: receive time minus due time")
    panels = figure.subplots(1, len(views) or 1, squeeze=False)[0]
    transit_ms = summary.results.plan.rtt_ms / 2
    shown = [view(axes, curves, close, transit_ms) for axes, view in zip(panels, views or [_overview], strict=True)]
    if is_plain(summary.results.plan):
        _theory(figure, list(zip(panels, shown, strict=True)), summary)
    figure.draw_without_rendering()
    for axes, lines in zip(panels, shown, strict=True):
        _name_lines(axes, lines)
    return figure


def _theory(figure: Figure, shown: list[tuple[Axes, Curves]], summary: Summary) -> None:
    """Add the predicted curves of the polls; the marked transit is already the prediction for streams."""
    plan, lines = summary.results.plan, []
    for axes, curves in shown:
        for name in POLLS:
            if name in curves:
                qs = sorted(curves[name])
                of_blocks = [conditions(plan, trial) for trial in summary.blocks.trials[name].values()]
                predicted = np.mean(
                    [predict_latency(name, of).quantile_ms([q / 100 for q in qs]) for of in of_blocks], axis=0
                )
                (line,) = axes.plot([_logit(q) for q in qs], predicted, color=INK, linewidth=1.1, linestyle="dashed")
                lines = [line]
    if lines:
        label = "predicted by theory: polling, long polling (streams: the one-way transit)"
        figure.legend(lines, [label], loc="outside lower center", frameon=False, fontsize=14)


def _overview(axes: Axes, curves: Curves, close: Curves, transit_ms: float) -> Curves:
    _panel(axes, curves, transit_ms)
    log_axis(axes, [transit_ms, *(of.value for curve in curves.values() for of in curve.values())])
    axes.set(title="All transports", ylabel="delivery latency (ms, log scale)")
    return curves


def _enlarged(axes: Axes, curves: Curves, close: Curves, transit_ms: float) -> Curves:
    _panel(axes, close, transit_ms)
    shown = [of for curve in close.values() for q, of in curve.items() if q <= ENLARGED_UP_TO]
    low, high = min(of.value for of in shown), max(of.value for of in shown)
    low = min(low, transit_ms) if transit_ms else low
    room = ENLARGED_ROOM * (high - low)
    axes.set_ylim(low - room, high + room)
    title = "" if close.keys() == curves.keys() else "Enlarged: where lines coincide"
    axes.set(title=title, ylabel="delivery latency (ms, linear scale)")
    return close


def _panel(axes: Axes, curves: Curves, transit_ms: float) -> None:
    for name, curve in curves.items():
        look, x = LOOKS[name], [_logit(q) for q in curve]
        estimates = list(curve.values())
        axes.plot(
            x,
            [of.value for of in estimates],
            color=look.colour,
            linestyle=look.line,
            linewidth=2.6,
            marker=look.marker,
            markersize=6,
            markevery=(1, 4),
        )
        if all(of.low is not None for of in estimates):
            low, high = [of.low or 0.0 for of in estimates], [of.high or 0.0 for of in estimates]
            axes.fill_between(x, low, high, color=look.colour, alpha=0.2, linewidth=0)
    percentiles = sorted({q for curve in curves.values() for q in curve})
    ticks = [q for q in TICKS if percentiles[0] <= q <= percentiles[-1]]
    axes.xaxis.set_major_locator(FixedLocator([_logit(q) for q in ticks]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, place: f"{ticks[place]:g}" if place is not None else ""))
    axes.set_xlabel("percentile (% of events that arrive sooner)")
    if transit_ms:
        mark_transit(axes, transit_ms, 0.03)


def _name_lines(axes: Axes, curves: Curves) -> None:
    """Name every line at the right edge; a line that leaves the panel, where it leaves."""
    bottom, top = axes.get_ylim()
    ends = {}
    for name, curve in curves.items():
        inside = [(q, of.value) for q, of in curve.items() if bottom <= of.value <= top]
        q, value = inside[-1]
        ends[name] = (_logit(q), value)
    label_ends(axes, ends)


def _logit(percentile: float) -> float:
    share = percentile / 100
    return float(np.log(share / (1 - share)))
