"""Figure: the life of the slowest events of each transport, from due to the application, on one axis."""

from typing import Final

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reports.formats import number
from reports.panels import new_figure
from reports.style import FAINT, INK, LOOKS, PAPER, tint
from reports.verify import VerifySummary

PHASES: Final = {
    "published_ms": ("due, not yet published", 1.0),
    "server_ms": ("in the server, waiting for its turn or for a poll", 0.66),
    "network_ms": ("one transit of the network", 0.3),
    "application_ms": ("in the client's kernel and process", 0.85),
}
HATCHES: Final = {"application_ms": "///"}
BAR: Final = 0.8
GAP: Final = 0.6


def draw(summary: VerifySummary) -> Figure | None:
    """A group of bars per transport; lengths on a linear axis, cut where polling's wait begins to dwarf the rest."""
    trials = [of for of in summary.results.trials if of.late]
    if not trials:
        return None
    figure = new_figure("The life of the latest events")
    axes = figure.subplots()
    row, ticks = 0.0, []
    limit = _limit([sum(_lengths(event).values()) for of in trials for event in of.late])
    for of in trials:
        ticks.append((row + (len(of.late) - 1) / 2, LOOKS[of.trial.transport].name.replace(" (", "\n(")))
        for event in of.late:
            left = 0.0
            for phase, length in _lengths(event).items():
                colour = tint(LOOKS[of.trial.transport].colour, PHASES[phase][1])
                axes.barh(
                    row, length, BAR, left, color=colour, edgecolor=PAPER, linewidth=0.8, hatch=HATCHES.get(phase)
                )
                left += length
            text = f"{number(left)} ms" + (" →" if left > limit else "")
            axes.annotate(
                text,
                (min(left, limit), row),
                (6 if left <= limit else -6, 0),
                textcoords="offset points",
                va="center",
                ha="left" if left <= limit else "right",
                fontsize=12,
                color=INK,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": PAPER, "edgecolor": "none"},
            )
            row += 1
        row += GAP
    axes.set_yticks([place for place, _ in ticks], [name for _, name in ticks], fontsize=15)
    axes.set(xlim=(0, limit * 1.12), xlabel="ms since the event was due")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    patches = [_patch(phase, *PHASES[phase]) for phase in PHASES]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False, fontsize=14)
    return figure


def _patch(phase: str, label: str, strength: float) -> Patch:
    return Patch(facecolor=tint(FAINT, strength), hatch=HATCHES.get(phase), edgecolor=PAPER, label=label)


def _lengths(event: object) -> dict[str, float]:
    return {phase: max(0.0, getattr(event, phase)) for phase in PHASES}


def _limit(totals: list[float]) -> float:
    """The axis ends above the longest bar that others do not dwarf."""
    ordered = sorted(totals)
    kept = [total for total in ordered if total < 3 * ordered[len(ordered) // 2]]
    return max(kept) * 1.15
