"""What to do after a comparison: the commands that settle it, look closer, or guard it in CI. Pure."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from bench.results.run import Plan
from reports.compare.runs import Change, PointChanges
from reports.formats import counted
from reports.statistics import EQUAL, FEW, MIN_BLOCKS, OPEN, WORSE


def after_comparing(a: Path, b: Path, plan: Plan, points: Sequence[PointChanges], *, is_limited: bool) -> list[str]:
    """One line per step. ``plan``: that of B's first operating point. ``is_limited``: limits were given already."""
    changes = [(of.point, change) for of in points for change in of.changes]
    steps = _settle(plan, [change for _, change in changes])
    if changes:
        point, change = min(changes, key=lambda of: _rank(of[1]))
        steps.append(f"measure one cell again and hold it against A: {_cell(change, point, a)}")
        if not is_limited:
            limit = f"{change.transport}/{change.metric} > 10%"
            command = shlex.join(["python", "-m", "reports", "compare", str(a), str(b), "--fail-on", limit])
            steps.append(f"fail a build if a metric gets worse: {command} --junit compare.xml (docs/ci.md)")
    return steps or ["measure both runs again with the same plan: python -m bench run --out FOLDER"]


def after_agreeing(published: Path, fresh: Path, plan: Plan, change: Change) -> str:
    """The one step after a cell was measured again. ``plan``: that of the fresh run."""
    word, planned = change.comparison.word, change.comparison.verdict.new_run_blocks
    if word == EQUAL:
        return f"compare all its metrics with the published run's: {_compare(published, fresh)}"
    if planned or word == FEW:
        again = f"{_cell(change, plan.point, published)} --blocks {planned or MIN_BLOCKS}"
        return f"measure it once more and let the new run decide by itself: {again}"
    if word == OPEN:
        return f"leave it open, as blocks added until a word appears prove nothing: {_compare(published, fresh)}"
    return f"see what differs in host, versions and options: {_compare(published, fresh)}"


def _settle(plan: Plan, changes: Sequence[Change]) -> list[str]:
    """How many metrics are not settled, and of how many blocks two new runs settle half of those that blocks can."""
    unsettled = [change for change in changes if change.comparison.word in (OPEN, FEW)]
    planned = [blocks for change in unsettled if (blocks := change.comparison.verdict.new_run_blocks)]
    if not unsettled:
        return []
    said = f"{len(unsettled)} of {counted(len(changes), 'metric')} not settled"
    anew = f"{said}: measure both runs anew with --blocks"
    if planned:
        half = sorted(planned)[(len(planned) - 1) // 2]
        settled = sum(blocks <= half for blocks in planned)
        return [f"{anew} {half}, which would settle about {settled}, and let the new runs decide by themselves"]
    if any(change.comparison.word == FEW for change in unsettled):
        return [f"{anew} {MIN_BLOCKS}"]
    return [f"{said}, and runs of this size plan no others: leave it open"]


def _rank(change: Change) -> tuple[int, float]:
    """Worse metrics first, by size; then those that are not settled."""
    word = change.comparison.word
    return (0, -change.worse) if word == WORSE else (1 if word in (OPEN, FEW) else 2, 0.0)


def _cell(change: Change, point: str, of: Path) -> str:
    name = f"{change.transport}/{change.metric}"
    return shlex.join(["python", "-m", "bench", "cell", name, "--point", point, "--of", str(of)])


def _compare(a: Path, b: Path) -> str:
    return shlex.join(["python", "-m", "reports", "compare", str(a), str(b)])
