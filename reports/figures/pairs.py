"""Figure: every pair of transports on every compared metric, as a matrix of ratios and verdicts."""

from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from reports.blocks import PAIRED_METRICS, find
from reports.figures.panels import new_figure
from reports.formats import parts
from reports.statistics import DIFFERS, EQUAL, OPEN, Comparison
from reports.style import FAINT, INK, LOOKS, PAPER, RULE
from reports.table.summary import PAIR_TITLES, Summary

LOWER: Final = "#9ecae1"
HIGHER: Final = "#fdbe85"
GREY: Final = "#d9d9d9"
WORDS: Final = {
    LOWER: "row has less",
    HIGHER: "row has more",
    GREY: EQUAL,
    PAPER: f"{OPEN} (n: blocks of a new run)",
}
"""Colour -> its meaning. Every kind of colour vision can tell light orange from light blue."""
MANY_COLUMNS: Final = 5
SHORT: Final = {"long_polling": "Long p.", "raw": "Raw TCP"}


def draw(summary: Summary) -> Figure | None:
    """One matrix per metric. Only its upper half is drawn: the lower half would repeat it."""
    names = [name for name in summary.blocks.trials if summary.blocks.trials[name]]
    shown = [metric for metric in PAIRED_METRICS if summary.comparisons[metric]]
    if len(names) < 2 or not shown:
        return None
    figure = new_figure("Pair by pair: row divided by column")
    panels = figure.subplots(2, 2, squeeze=False).flat
    for axes, metric in zip(panels, PAIRED_METRICS, strict=True):
        if metric in shown:
            _matrix(axes, names, summary.comparisons[metric], PAIR_TITLES[metric])
        else:
            axes.set_axis_off()
    patches = [Patch(facecolor=colour, edgecolor=FAINT, label=word) for colour, word in WORDS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=13)
    return figure


def _matrix(axes: Axes, names: list[str], comparisons: list[Comparison], title: str) -> None:
    rows, columns = names[:-1], names[1:]
    size = 9.5 if len(columns) < MANY_COLUMNS else 8.5
    for y, a in enumerate(rows):
        for x, b in enumerate(columns[y:], y):
            found = find(comparisons, a, b)
            colour, text = ("none", "") if found is None else _cell(found)
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor=RULE, linewidth=1.2))
            axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size, color=INK)
    axes.set(title=title, xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_xticks([x + 0.5 for x in range(len(columns))], [_name(name) for name in columns], fontsize=11)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [_name(name) for name in rows], fontsize=12)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _name(name: str) -> str:
    return SHORT.get(name, LOOKS[name].name)


def _cell(found: Comparison) -> tuple[str, str]:
    value, interval = parts(found.factor, found.low, found.high)
    planned = f" n={found.verdict.new_run_blocks}" if found.verdict.new_run_blocks else ""
    return _colour(found), f"{value}{' ×' if found.is_ratio else ' more'}{planned}\n{interval}".rstrip()


def _colour(found: Comparison) -> str:
    if found.verdict.word == DIFFERS:
        return HIGHER if found.a_is_more else LOWER
    return GREY if found.verdict.word == EQUAL else PAPER
