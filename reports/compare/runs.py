"""Run B next to run A: per transport and metric the ratio with its interval and a verdict. Pure.

Runs with the same seed had the same schedules, so their blocks are compared in pairs; otherwise the means are compared
(Welch). Neither covers what differs between two hours of one machine: that is one observation, whatever the blocks say.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Final

import msgspec

from bench.results.catalogue import METRICS
from bench.results.files import ResultsError
from bench.results.run import Results
from bench.results.thresholds import ChangeLimit
from reports.blocks import Blocks, apart_sentences, main_blocks
from reports.formats import NOT_MEASURED, doubts, joined, verdict_text
from reports.layout import Case, Table
from reports.statistics import BETTER, EQUAL, FEW, MARGINS, OPEN, WORSE, Comparison, compare_runs
from reports.style import LOOKS

COMPARED: Final = tuple(name for name, metric in METRICS.items() if metric.compared)
MAY_DIFFER: Final = frozenset(
    {
        "preset",
        "transports",
        "blocks",
        "seed",
        "duration_s",
        "measured_events",
        "warmup_events",
        "curve_intervals_s",
        "curve_repeats",
        "loopback_too",
        "max_reruns",
        "spare_blocks",
        "idle_measure_s",
        "slo",
        "inject_fault",
    }
)
"""Names of a plan that two runs need not share: how long and how often was measured, and planted faults."""
CAUTION: Final = (
    "The intervals cover the spread over blocks within the runs, not what differs between two hours of one machine, or "
    "between two machines: for that, compare several runs."
)
NOTHING: Final = "nothing to compare: no metric was measured validly in both runs"


class Change(msgspec.Struct, frozen=True):
    """B against A for one transport and metric."""

    transport: str
    metric: str
    before: str
    after: str
    comparison: Comparison
    level: float
    """A's mean."""
    doubts: list[str]
    """What speaks against resting on the verdict."""

    @property
    def worse(self) -> float:
        """The share by which B is above A, negative if it is below. Less is better in every compared metric."""
        if self.comparison.is_ratio:
            return self.comparison.factor - 1
        difference = self.comparison.factor
        return difference / self.level if self.level > 0 else math.copysign(math.inf, difference)


class PointChanges(msgspec.Struct, frozen=True):
    """Everything compared at one operating point."""

    point: str
    changes: list[Change]
    missing: list[str]
    """Transports that only one of the runs has."""
    gone: list[tuple[str, str]]
    """Transports and metrics that A has and B has not."""
    apart: list[str] = []
    """Blocks of either run that stand apart, a sentence each."""


def unlike(a: Results, b: Results) -> list[str]:
    """What the plans have set differently that changes what is measured, ready to print; empty if they are alike."""
    of_a, of_b = (msgspec.to_builtins(of.plan) for of in (a, b))
    return _differences(of_a, of_b, of_a.keys() - MAY_DIFFER)


def environment(a: Results, b: Results) -> list[str]:
    """What differs in host, versions, options and planted faults."""
    volatile = {"load_average_1m", "cpu_mhz"}
    found = _differences(a.host, b.host, (a.host.keys() | b.host.keys()) - volatile)
    found += _differences(a.versions, b.versions, a.versions.keys() | b.versions.keys())
    found += _differences(a.options, b.options, a.options.keys() | b.options.keys())
    return found + _differences(
        {"inject_fault": a.plan.inject_fault}, {"inject_fault": b.plan.inject_fault}, ["inject_fault"]
    )


def common(a: Sequence[Results], b: Sequence[Results]) -> list[tuple[Results, Results]]:
    """The operating points that both have; of two runs that have one each, these. Raises ``ResultsError``."""
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    of_b = {of.plan.point: of for of in b}
    found = [(of, of_b[of.plan.point]) for of in a if of.plan.point in of_b]
    if not found:
        names = [", ".join(of.plan.point for of in points) for points in (a, b)]
        raise ResultsError(f"the runs have no operating point in common: A has {names[0]}, B has {names[1]}")
    return found


def compare_all(a: Sequence[Results], pairs: Sequence[tuple[Results, Results]]) -> list[PointChanges]:
    """Compare two runs in the ``pairs`` of points that they have in common, and say what else A has."""
    alone = [of for of in a if all(of is not first for first, _ in pairs)]
    return [compare_point(*pair) for pair in pairs] + [
        PointChanges(of.plan.point, [], [], _measured(main_blocks(of))) for of in alone
    ]


def _measured(blocks: Blocks) -> list[tuple[str, str]]:
    return [(name, metric) for name in blocks.trials for metric in COMPARED if blocks.values(name, metric)]


def compare_point(a: Results, b: Results) -> PointChanges:
    """Compare two runs at one operating point."""
    of_a, of_b = main_blocks(a), main_blocks(b)
    both = [name for name in of_a.trials if of_b.trials.get(name) and of_a.trials[name]]
    paired = a.plan.seed == b.plan.seed
    changes = [change for metric in COMPARED for change in _changes(of_a, of_b, both, metric, paired)]
    missing = sorted({name for of in (of_a, of_b) for name, found in of.trials.items() if found} - set(both))
    of_both = set(_measured(of_b))
    gone = [of for of in _measured(of_a) if of not in of_both]
    apart = [f"{run}: {said}" for run, of in (("A", of_a), ("B", of_b)) for said in apart_sentences(of)]
    return PointChanges(a.plan.point, changes, missing, gone, apart)


def _changes(
    a: Blocks, b: Blocks, names: Sequence[str], metric: str, paired: bool, a_stays: bool = False
) -> list[Change]:
    margin = MARGINS[METRICS[metric].margin]
    values = {name: (b.values(name, metric), a.values(name, metric)) for name in names}
    found = compare_runs(
        {name: of for name, of in values.items() if all(of)},
        margin,
        paired=paired,
        runs=("B", "A"),
        second_stays=a_stays,
    )
    return [
        Change(
            name,
            metric,
            a.text(name, metric),
            b.text(name, metric),
            of,
            fmean(a.values(name, metric).values()),
            doubts(of),
        )
        for name, of in found.items()
    ]


def compare_cell(published: Results, fresh: Results, transport: str, metric: str) -> Change:
    """One metric of one transport, measured again: the fresh value over the published. Raises ``ResultsError``."""
    margin = METRICS[metric].margin
    if not margin:
        judged = ", ".join(name for name, of in METRICS.items() if of.margin)
        raise ResultsError(f"{metric} has no margin to be judged by: allowed are {judged}")
    of_a, of_b = main_blocks(published), main_blocks(fresh)
    for name, of in (("published", of_a), ("fresh", of_b)):
        if not of.trials.get(transport) or not of.values(transport, metric):
            raise ResultsError(f"the {name} run has no valid {transport}/{metric}")
    (found,) = _changes(of_a, of_b, [transport], metric, paired=False, a_stays=True)
    return found


AGREES: Final = {
    EQUAL: "agrees",
    BETTER: "better than published",
    WORSE: "worse than published",
    OPEN: OPEN,
    FEW: FEW,
}


def agreement(of: Change) -> str:
    """The outcome in one line."""
    unit, found = METRICS[of.metric].unit, of.comparison
    said = "; ".join([AGREES[found.word], *of.doubts])
    return (
        f"{of.transport}/{of.metric}: {said}. Published {of.before} {unit}, measured again "
        f"{of.after} {unit}: {_size(found)}"
    )


def cases(points: Sequence[PointChanges], limits: Sequence[ChangeLimit]) -> list[Case]:
    """One case per compared metric, and one per limit that nothing was compared for.

    A case fails if the metric is worse (Holm-corrected, with its margin) by more than a limit allows, or if B lacks
    what a limit is about, or the blocks for a verdict on it. What is not settled is skipped. A comparison without any
    metric fails as a whole.
    """
    found = [_changed(of.point, change, limits) for of in points for change in of.changes]
    found += [_gone(of.point, *name, limits) for of in points for name in of.gone]
    found += [_empty(limit) for limit in limits if not _is_about_any(limit, points)]
    if not any(of.changes for of in points) and not any(case.failure for case in found):
        found.append(Case("comparison", "metrics", NOT_MEASURED, failure=NOTHING))
    return found


def failures(points: Sequence[PointChanges], limits: Sequence[ChangeLimit]) -> list[str]:
    """Why a build fails, one line per case."""
    return [case.failure for case in cases(points, limits) if case.failure]


def _changed(point: str, change: Change, limits: Sequence[ChangeLimit]) -> Case:
    name, found = LOOKS[change.transport].name, change.comparison
    about = [limit.share for limit in limits if limit.is_about(change.transport, change.metric)]
    failure = ""
    if found.word == WORSE and about and change.worse > min(about):
        failure = (
            f"{point}: {name} {change.metric} is {100 * change.worse:+.1f} % ({change.before} -> {change.after}), "
            f"allowed {100 * min(about):g} %"
        )
    if found.word == FEW and about:
        failure = f"{point}: {name} {change.metric}: {FEW}"
    said = f"{verdict_text(found)}: {change.before} -> {change.after}, B / A {_size(found)}"
    return Case(f"{point}.{change.transport}", change.metric, said, failure, said if found.word in (OPEN, FEW) else "")


def _gone(point: str, transport: str, metric: str, limits: Sequence[ChangeLimit]) -> Case:
    said = f"{point}: {LOOKS[transport].name} {metric} was measured in A and not in B"
    is_limited = any(limit.is_about(transport, metric) for limit in limits)
    return Case(f"{point}.{transport}", metric, NOT_MEASURED, said if is_limited else "", said)


def _is_about_any(limit: ChangeLimit, points: Sequence[PointChanges]) -> bool:
    measured = {(change.transport, change.metric) for of in points for change in of.changes}
    return any(limit.is_about(*name) for name in measured.union(*(of.gone for of in points)))


def _empty(limit: ChangeLimit) -> Case:
    scope = limit.transport or "any transport"
    failure = f"{limit.metric} of {scope}: nothing was compared (compared is what A has of {', '.join(COMPARED)})"
    return Case("limits", f"{limit.metric} of {scope}", NOT_MEASURED, failure)


def table(of: PointChanges) -> Table:
    """The changes, ready to lay out."""
    rows = [
        [
            LOOKS[change.transport].name,
            f"{change.metric}{f' ({unit})' if (unit := METRICS[change.metric].unit) else ''}",
            change.before,
            change.after,
            _size(change.comparison),
            verdict_text(change.comparison),
        ]
        for change in of.changes
    ]
    notes = [f"Only in one of the two: {', '.join(of.missing)}."] if of.missing else []
    notes += of.apart
    if not rows:
        notes.append("Only in A." if of.gone else "Nothing was measured in both.")
    return Table(f"B against A: {of.point}", ["Transport", "Metric", "A", "B", "B / A", "Verdict"], rows, notes)


def _size(of: Comparison) -> str:
    size = joined(of.factor, of.low, of.high)
    return f"{size} ×" if of.is_ratio else f"{size} more"


def _differences(a: dict[str, Any], b: dict[str, Any], names: Any) -> list[str]:
    return [f"{name}: {a.get(name)} / {b.get(name)}" for name in sorted(names) if a.get(name) != b.get(name)]
