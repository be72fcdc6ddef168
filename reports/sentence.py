"""The result in one sentence: what is practically equal, what differs by which factor, how sure that is. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from bench.results import METRICS, Plan
from reports.blocks import Blocks, find
from reports.formats import counted, joined, listed, number, parts
from reports.statistics import DIFFERS, EQUAL, Comparison
from reports.style import LOOKS


class Wording(msgspec.Struct, frozen=True):
    """How the sentence speaks of one metric."""

    metric: str
    equal: str
    least: str
    differs: str
    """``{}`` is what differs and by which factor; the leader's name follows."""


LATENCY = Wording(
    "latency_ms_p50",
    "show no practical difference in median latency",
    "has the lowest measured median latency",
    "{} as long as",
)
BANDWIDTH = Wording(
    "wire_bytes_per_event",
    "show no practical difference in wire bytes",
    "moves the fewest measured wire bytes",
    "{} as many as",
)
VERBS = {LATENCY.metric: "takes", BANDWIDTH.metric: "moves"}


def sentence(plan: Plan, blocks: Blocks, comparisons: Mapping[str, Sequence[Comparison]]) -> str:
    """One sentence on latency and bandwidth of all transports but the baseline."""
    network = _network(plan)
    most = max((len(trials) for trials in blocks.trials.values()), default=0)
    if not any(blocks.values(name, LATENCY.metric) for name in blocks.contenders):
        return "There is no valid measurement to compare."
    if most == 1:
        measured = "; ".join(_measured(blocks, wording.metric) for wording in (LATENCY, BANDWIDTH))
        return f"{network}, with a single block and so without intervals, nothing is settled: {measured}."
    latency = _clause(LATENCY, blocks, comparisons[LATENCY.metric])
    bandwidth = _clause(BANDWIDTH, blocks, comparisons[BANDWIDTH.metric])
    sure = f"{counted(most, 'block')}, 95 % confidence over all pairs"
    return f"{network}, {latency}; per delivered event, {bandwidth} ({sure})."


def _network(plan: Plan) -> str:
    if not plan.rtt_ms:
        return "Without network delay"
    return f"Across a round trip of {plan.rtt_ms:g} ms" if plan.between.is_plain else f"Across {plan.between.words}"


def prose(transport: str) -> str:
    """A transport's name inside a sentence."""
    name = LOOKS[transport].name
    return name if name[1:] != name[1:].lower() else name.lower()


def _measured(blocks: Blocks, metric: str) -> str:
    title = {"latency_ms_p50": "median latency", "wire_bytes_per_event": "wire bytes per event"}[metric]
    found = [(name, blocks.estimate(name, metric)) for name in blocks.contenders]
    unit = METRICS[metric].unit
    return f"{title} " + listed([f"{prose(name)} {number(of.value)} {unit}" for name, of in found if of])


def _clause(wording: Wording, blocks: Blocks, comparisons: Sequence[Comparison]) -> str:
    found = {name: blocks.estimate(name, wording.metric) for name in blocks.contenders}
    levels = {name: of.value for name, of in found.items() if of}
    names = sorted(levels, key=levels.__getitem__)
    if not names:
        return "wire bytes were not measured"
    group = _equals(names, comparisons)
    others = [(name, find(comparisons, name, names[0])) for name in names if name not in group]
    parts = [_leaders(wording, group, levels)]
    parts += _differing(wording, names[0], others)
    parts += [_unsettled(name, names[0], found) for name, found in others if found is None or _is_open(found)]
    return f"{parts[0]}, while {', '.join(parts[1:])}" if len(parts) > 1 else parts[0]


def _is_open(of: Comparison) -> bool:
    return of.verdict.word != DIFFERS or not of.is_ratio


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


def _differing(wording: Wording, leader: str, others: list[tuple[str, Comparison | None]]) -> list[str]:
    factors = [
        f"{prose(name)} {VERBS[wording.metric] + ' ' if place == 0 else ''}{_times(of)}"
        for place, (name, of) in enumerate((name, of) for name, of in others if of is not None and not _is_open(of))
    ]
    return [f"{wording.differs.format(listed(factors))} {prose(leader)}"] if factors else []


def _times(of: Comparison) -> str:
    value, interval = parts(of.factor, of.low, of.high)
    return f"{value} times {interval}".rstrip()


def _unsettled(name: str, leader: str, of: Comparison | None) -> str:
    pair = f"{prose(name)} against {prose(leader)}"
    if of is None:
        return f"{pair} has no block in common"
    if not of.is_ratio:
        return f"{pair} {of.verdict.word} (by {joined(of.factor, of.low, of.high)})"
    if of.verdict.word == EQUAL:
        return f"{pair} shows {of.verdict.word} ({_times(of)})"
    more = f", about {counted(of.verdict.more_blocks, 'more block')}" if of.verdict.more_blocks else ""
    return f"{pair} is {of.verdict.word} ({_times(of)}{more})"
