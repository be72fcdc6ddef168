"""The result at an operating point, in a few lines: what is practically equal, what differs by which factor, what is
not settled, and how sure all that is. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from bench.results.catalogue import METRICS
from reports.blocks import Blocks, find
from reports.formats import counted, listed, number, parts
from reports.statistics import ALPHA, DIFFERS, EQUAL, Comparison
from reports.style import LOOKS


class Part(msgspec.Struct, frozen=True):
    """One line: what it is about, and what is said of it."""

    label: str
    text: str


class Wording(msgspec.Struct, frozen=True):
    """How the answer speaks of one metric."""

    label: str
    metric: str
    equal: str
    least: str
    verb: str
    differs: str
    """Follows the factors; the leader's name follows it."""


WORDINGS = (
    Wording(
        label="Latency",
        metric="latency_ms_p50",
        equal="show no practical difference in the median",
        least="has the lowest measured median",
        verb="takes",
        differs="as long as",
    ),
    Wording(
        label="Wire bytes",
        metric="wire_bytes_per_event",
        equal="show no practical difference per event",
        least="moves the fewest measured per event",
        verb="moves",
        differs="as many as",
    ),
)
NOT_SETTLED = "Not settled"


def answer(blocks: Blocks, comparisons: Mapping[str, Sequence[Comparison]]) -> list[Part]:
    """Latency and bandwidth of all transports but the baseline."""
    counts = sorted({len(blocks.trials[name]) for name in blocks.contenders})
    if not any(blocks.values(name, WORDINGS[0].metric) for name in blocks.contenders):
        return [Part("Result", "There is no valid measurement to compare.")]
    if counts[-1] == 1:
        measured = [Part(wording.label, _measured(blocks, wording.metric)) for wording in WORDINGS]
        return [*measured, Part(NOT_SETTLED, "Anything: a single block has no intervals.")]
    said, unsettled = [], []
    for wording in WORDINGS:
        clause, open_ = _said(wording, blocks, comparisons[wording.metric])
        said.append(Part(wording.label, clause))
        unsettled += [f"{wording.label.lower()} of {pair}" for pair in open_]
    said += [Part(NOT_SETTLED, _sentence("; ".join(unsettled)))] if unsettled else []
    return [*said, Part("How sure", _sure(counts))]


def _sure(counts: Sequence[int]) -> str:
    valid = counted(counts[-1], "valid block") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} valid blocks"
    return (
        f"{valid} of each; brackets are the intervals that the verdicts rest on. Over all pairs of a metric, the "
        f"chance of any false difference is at most {100 * ALPHA:g} %."
    )


def prose(transport: str) -> str:
    """A transport's name inside a sentence."""
    name = LOOKS[transport].name
    return name if name[1:] != name[1:].lower() else name.lower()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _measured(blocks: Blocks, metric: str) -> str:
    found = [(name, blocks.estimate(name, metric)) for name in blocks.contenders]
    unit = METRICS[metric].unit
    return _sentence(listed([f"{prose(name)} {number(of.value)} {unit}" for name, of in found if of]))


def _said(wording: Wording, blocks: Blocks, comparisons: Sequence[Comparison]) -> tuple[str, list[str]]:
    """What is known of a metric, as a sentence; and the pairs of which it is not."""
    found = {name: blocks.estimate(name, wording.metric) for name in blocks.contenders}
    levels = {name: of.value for name, of in found.items() if of}
    alone = {name for name, of in found.items() if of and of.low is None}  # a single block, which leads nobody
    names = sorted(levels, key=lambda name: (name in alone, levels[name]))
    if not names:
        return "Not measured.", []
    group = _equals(names, comparisons)
    others = {name: find(comparisons, name, names[0]) for name in names if name not in group}
    clauses = [_leaders(wording, group, levels)]
    known = [(name, of) for name, of in others.items() if of is not None]
    clauses += _differing(wording, names[0], [(name, of) for name, of in known if of.verdict.word == DIFFERS])
    clauses += [
        f"{prose(name)} and {prose(names[0])} show {EQUAL} ({_times(of)})"
        for name, of in known
        if of.verdict.word == EQUAL
    ]
    unsettled = [
        _unsettled(name, names[0], of)
        for name, of in others.items()
        if of is None or of.verdict.word not in (DIFFERS, EQUAL)
    ]
    return _sentence("; ".join(clauses)), unsettled


def _equals(names: list[str], comparisons: Sequence[Comparison]) -> list[str]:
    """The leader and those that are practically equal to it and to each other."""
    group = names[:1]
    for name in names[1:]:
        found = [find(comparisons, name, member) for member in group]
        if all(of is not None and of.verdict.word == EQUAL for of in found):
            group.append(name)
    return group


def _leaders(wording: Wording, group: list[str], levels: Mapping[str, float]) -> str:
    unit = METRICS[wording.metric].unit
    low, high = number(levels[group[0]]), number(levels[group[-1]])
    if len(group) == 1:
        return f"{prose(group[0])} {wording.least} ({low} {unit})"
    span = low if low == high else f"{low} to {high}"
    return f"{listed([prose(name) for name in group])} {wording.equal} ({span} {unit})"


def _differing(wording: Wording, leader: str, others: list[tuple[str, Comparison]]) -> list[str]:
    factors = [
        f"{prose(name)} {'' if place else wording.verb + ' '}{_times(of)}" for place, (name, of) in enumerate(others)
    ]
    return [f"{listed(factors)} {wording.differs} {prose(leader)}"] if factors else []


def _times(of: Comparison) -> str:
    value, interval = parts(of.factor, of.low, of.high)
    return f"{value} times {interval}".rstrip()


def _unsettled(name: str, leader: str, of: Comparison | None) -> str:
    pair = f"{prose(name)} against {prose(leader)}"
    if of is None:
        return f"{pair} (no block in common)"
    more = f", about {counted(of.verdict.more_blocks, 'more block')}" if of.verdict.more_blocks else ""
    return f"{pair} ({_times(of)}{more})"
