"""Figure: the comparison table, readable on a slide."""

import textwrap
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.style import CAUTION, FAINT, FIGURE_SIZE_INCHES, LOOKS, RATING_TINTS, RULE
from reports.table.rows import COLUMNS, Measurement, Row
from reports.table.summary import Summary

LEFT: Final = (0.018, 0.155, 0.48, 0.772, 0.888)
"""Left edge of each column, as a share of the width."""
ROW_INCHES: Final = 1.2
HEAD_INCHES: Final = 1.12
FOOT_INCHES: Final = 1.4
"""Heights of a row, of the head and of the foot: the figure grows with the number of rows."""
FOOT_CHARACTERS: Final = 170
CELL_CHARACTERS: Final = 46
MAX_NOTES: Final = 2


def draw(summary: Summary) -> Figure | None:
    """One band per row; a measured cell shows its value, interval, rating, the article's word and small print."""
    height = HEAD_INCHES + ROW_INCHES * len(summary.rows) + FOOT_INCHES
    figure = Figure(figsize=(FIGURE_SIZE_INCHES[0], height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, height))
    axes.axis("off")
    title = "Measured, next to what the article says"
    axes.text(LEFT[0], height - 0.25, title, fontsize=20, fontweight="bold", va="center")
    axes.text(LEFT[0], height - 0.55, summary.title, fontsize=11.5, color=FAINT, va="center")
    for left, name in zip(LEFT, COLUMNS, strict=True):
        axes.text(left, height - HEAD_INCHES + 0.18, name, fontsize=16, fontweight="bold", va="center")
    for place, row in enumerate(summary.rows):
        _row(axes, row, height - HEAD_INCHES - place * ROW_INCHES)
    _foot(axes, summary)
    return figure


def _row(axes: Axes, row: Row, top: float) -> None:
    middle = top - ROW_INCHES / 2
    axes.axhline(top, color=RULE, linewidth=1)
    axes.add_patch(Rectangle((0, top - ROW_INCHES), 0.008, ROW_INCHES, color=LOOKS[row.transport].colour, linewidth=0))
    axes.text(LEFT[0], middle, row.technology.replace(" (", "\n("), fontsize=16, fontweight="bold", va="center")
    _cell(axes, row.latency, LEFT[1], top)
    _cell(axes, row.bandwidth, LEFT[2], top)
    axes.text(LEFT[3], middle, row.complexity, fontsize=15, va="center" if not row.effort else "bottom")
    axes.text(LEFT[3], middle - 0.1, row.effort.replace(": ", ":\n"), fontsize=11, color=FAINT, va="top")
    axes.text(LEFT[4], middle, row.use_case.replace(" ", "\n"), fontsize=15, va="center")


def _cell(axes: Axes, cell: Measurement, left: float, top: float) -> None:
    value = axes.annotate(cell.value, (left, top - 0.2), fontsize=17, fontweight="bold", va="center")
    if cell.interval:
        axes.annotate(
            cell.interval, xy=(1, 0.5), xycoords=value, xytext=(6, 0), textcoords="offset points",
            fontsize=12, color=FAINT, va="center",
        )  # fmt: skip
    _words(axes, cell, left, top - 0.46)
    for place, note in enumerate(cell.notes[:MAX_NOTES]):
        axes.text(left, top - 0.69 - 0.19 * place, note, fontsize=11, va="center")
    cautions = textwrap.shorten("; ".join(cell.cautions), CELL_CHARACTERS, placeholder=" …")
    axes.text(left, top - 1.07, cautions, fontsize=11, color=CAUTION, va="center", fontweight="bold")


def _words(axes: Axes, cell: Measurement, left: float, y: float) -> None:
    article = cell.article_note
    if not cell.word:
        axes.text(left, y, article, fontsize=13, color=FAINT, va="center")
        return
    pill = axes.annotate(
        cell.word, (left + 0.005, y), fontsize=13, fontweight="bold", va="center",
        bbox={"boxstyle": "round,pad=0.22", "facecolor": RATING_TINTS[cell.word], "edgecolor": "none"},
    )  # fmt: skip
    axes.annotate(
        article, xy=(1, 0.5), xycoords=pill, xytext=(12, 0), textcoords="offset points",
        fontsize=13, color=FAINT, va="center",
    )  # fmt: skip


def _foot(axes: Axes, summary: Summary) -> None:
    axes.axhline(FOOT_INCHES, color=RULE, linewidth=1)
    text = "\n".join(summary.rules)
    axes.text(LEFT[0], FOOT_INCHES - 0.08, text, fontsize=10, color=FAINT, va="top", linespacing=1.25)
    reasons = [f"{trial.id} {trial.status}: {'; '.join(trial.reasons)}." for trial in summary.left_out]
    cautions = [
        textwrap.shorten(" ".join(text), FOOT_CHARACTERS, placeholder=" …") for text in (summary.cautions, reasons)
    ]
    axes.text(LEFT[0], 0.08, "\n".join(cautions).strip(), fontsize=10, color=CAUTION, va="bottom", linespacing=1.25)
