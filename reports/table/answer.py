"""Which transport? The answer at one operating point, in at most five lines, for readers without statistics. Pure.

It names the transports that are equal for the user and by which factor the others differ, what each costs, when polling
is enough, and what the run did not settle. Every word is derived from the measurement; the intervals stand in the table
of pairs, and the margins that "equal" rests on in docs/method.md (Statistics).
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from bench.results.catalogue import METRICS
from bench.results.metric import BELOW_NOISE
from bench.results.run import Plan, Results
from feed.transports import POLLING
from reports.blocks import Blocks, find
from reports.formats import counted, listed, new_run, number
from reports.layout import Part
from reports.statistics import DIFFERS, EQUAL, FEW, Comparison
from reports.style import LOOKS
from reports.theory.traffic import HIGHEST_HZ, average, break_even_hz, traffic


class Wording(msgspec.Struct, frozen=True):
    """How the answer speaks of one metric. ``{names}`` and ``{size}`` are filled in."""

    label: str
    metric: str
    equal: str
    """Several transports are practically equal over ``{blocks}``, and none is better."""
    lowest: str
    """One transport has the lowest number."""
    verb: str
    factor: str
    """Follows the factors of the transports that differ."""
    topic: str
    """What the metric is called where it is not settled."""


WORDINGS = (
    Wording(
        label="Latency",
        metric="latency_ms_p50",
        equal="{names} are equal for the user over {blocks}: half of all events arrive within {size}",
        lowest="{names} has the lowest latency as measured: half of its events arrive within {size}",
        verb="takes",
        factor="as long",
        topic="latency",
    ),
    Wording(
        label="Bytes",
        metric="wire_bytes_per_event",
        equal="{names} are equal in bytes over {blocks}: each moves {size} per event",
        lowest="{names} moves the fewest bytes as measured, {size} per event",
        verb="moves",
        factor="as many",
        topic="bytes",
    ),
    Wording(
        label="CPU",
        metric="server_cpu_us_per_event",
        equal="{names} cost the server the same CPU over {blocks}, {size}",
        lowest="{names} costs the server the least CPU as measured, {size}",
        verb="takes",
        factor="as much",
        topic="server CPU",
    ),
)
NETWORK = ", of which the network takes {:g} ms"
IMPLEMENTATIONS = "CPU is the cost of these implementations, not of the protocols."
NOT_SETTLED = "Not settled"


class Finding(msgspec.Struct, frozen=True):
    """What is known of one metric: the leaders, and each other transport next to the first of them."""

    leaders: list[str]
    levels: dict[str, float]
    others: dict[str, Comparison | None]
    """``None``: the two have no block in common."""
    blocks: int
    """The fewest blocks on which the equality of two leaders rests."""

    def of_word(self, word: str) -> dict[str, Comparison]:
        """The transports whose comparison with the first leader came out so."""
        return {name: of for name, of in self.others.items() if of is not None and of.verdict.word == word}

    @property
    def open(self) -> dict[str, Comparison | None]:
        """The transports whose comparison with the first leader is not settled."""
        settled = (*self.of_word(DIFFERS), *self.of_word(EQUAL))
        return {name: of for name, of in self.others.items() if name not in settled}


def answer(results: Results, blocks: Blocks, comparisons: Mapping[str, Sequence[Comparison]]) -> list[Part]:
    """Latency, bytes and CPU of all transports but the baseline; polling; and what is not settled."""
    if not any(blocks.values(name, WORDINGS[0].metric) for name in blocks.contenders):
        return [Part("Result", "There is no valid measurement to compare.")]
    if max(len(blocks.trials[name]) for name in blocks.contenders) == 1:
        measured = [Part(wording.label, _measured(blocks, wording.metric)) for wording in WORDINGS]
        return [*measured, Part(NOT_SETTLED, "A single block has no intervals, so it settles nothing.")]
    found = {wording: _finding(blocks, wording.metric, comparisons[wording.metric]) for wording in WORDINGS}
    said = [Part(wording.label, _said(wording, of, results.plan)) for wording, of in found.items() if of]
    said += _polling(results, blocks)
    unsettled = [_unsettled(wording, of) for wording, of in found.items() if of and of.open]
    return said + ([Part(NOT_SETTLED, _sentence("; ".join(unsettled)))] if unsettled else [])


def prose(transport: str) -> str:
    """A transport's name inside a sentence."""
    name = LOOKS[transport].name
    return name if name[1:] != name[1:].lower() else name.lower()


def _names(transports: Sequence[str]) -> str:
    return listed([prose(name) for name in transports])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _measured(blocks: Blocks, metric: str) -> str:
    found = [(name, blocks.estimate(name, metric)) for name in blocks.contenders]
    unit = METRICS[metric].unit
    said = [
        f"{prose(name)} {BELOW_NOISE if METRICS[metric].is_below_noise(of.value) else f'{number(of.value)} {unit}'}"
        for name, of in found
        if of
    ]
    return _sentence(listed(said) or "not measured")


def _finding(blocks: Blocks, metric: str, comparisons: Sequence[Comparison]) -> Finding | None:
    found = {name: blocks.estimate(name, metric) for name in blocks.contenders}
    levels = {name: of.value for name, of in found.items() if of}
    alone = {name for name, of in found.items() if of and of.low is None}  # a single block leads nobody
    names = sorted(levels, key=lambda name: (name in alone, levels[name]))
    if not names:
        return None
    leaders = _leaders(names, comparisons)
    others = {name: find(comparisons, name, names[0]) for name in names if name not in leaders}
    within = [of.verdict.blocks for of in comparisons if of.a in leaders and of.b in leaders]
    return Finding(leaders, levels, others, min(within, default=0))


def _leaders(names: list[str], comparisons: Sequence[Comparison]) -> list[str]:
    """The first, and those that are practically equal to it and to each other."""
    group = names[:1]
    for name in names[1:]:
        found = [find(comparisons, name, member) for member in group]
        if all(of is not None and of.verdict.word == EQUAL for of in found):
            group.append(name)
    return group


def _said(wording: Wording, of: Finding, plan: Plan) -> str:
    """What is known of a metric."""
    metric, sizes = METRICS[wording.metric], [number(of.levels[name]) for name in of.leaders]
    size = f"{sizes[0]} to {sizes[-1]} {metric.unit}" if sizes[0] != sizes[-1] else f"{sizes[0]} {metric.unit}"
    if metric.less_idle:
        size = BELOW_NOISE if metric.is_below_noise(of.levels[of.leaders[0]]) else f"{size} per event"
    first = (wording.equal if len(of.leaders) > 1 else wording.lowest).format(
        names=_names(of.leaders), size=size, blocks=counted(of.blocks, "block")
    )
    if wording.label == "Latency" and plan.rtt_ms:
        first += NETWORK.format(plan.rtt_ms / 2)
    clauses = [first, *_differing(wording, of)]
    clauses += [f"{prose(name)} is equal to {prose(of.leaders[0])}" for name in of.of_word(EQUAL)]
    said = _sentence("; ".join(clauses))
    return f"{said} {IMPLEMENTATIONS}" if wording.label == "CPU" else said


def _differing(wording: Wording, of: Finding) -> list[str]:
    """The ratios to the leader in one clause. Two kinds have clauses of their own: a difference, which replaces a
    ratio to 0 or below, and a transport that has less than the leader in the blocks that they share."""
    ratios: list[str] = []
    own: list[str] = []
    for name, found in of.of_word(DIFFERS).items():
        larger = found.larger()
        said = f"{wording.verb} {_size(wording, larger)}"
        if larger.a != name:
            factor = f" {wording.factor}" if found.is_ratio else ""
            own.append(f"{prose(larger.a)} {said}{factor} as {prose(name)} in the blocks that they share")
        elif found.is_ratio:
            ratios.append(f"{prose(name)} {said.removeprefix(f'{wording.verb} ') if ratios else said}")
        else:
            own.append(f"{prose(name)} {said}")
    return ([f"{listed(ratios)} {wording.factor}"] if ratios else []) + own


def _unsettled(wording: Wording, of: Finding) -> str:
    """The transports that may or may not differ from the leader, the measured sizes, and what would tell."""
    verb = "differ" if len(of.open) > 1 else "differs"
    found = [(name, comparison and comparison.larger()) for name, comparison in of.open.items()]
    sizes = [_size(wording, larger) for _, larger in found]
    if all(larger and larger.is_ratio and larger.a == name for name, larger in found):  # "1.01, 1.10 and 1.16 times"
        sizes[:-1] = [size.removesuffix(" times") for size in sizes[:-1]]
    else:
        sizes = [
            f"{prose(larger.a)} {size}" if larger and larger.a != name else size
            for (name, larger), size in zip(found, sizes, strict=True)
        ]
    needed = [comparison.verdict.new_run_blocks if comparison else None for comparison in of.open.values()]
    known = [blocks for blocks in needed if blocks]
    tell = f"; {new_run(max(known))}" if len(known) == len(needed) else ""
    if any(comparison and comparison.verdict.word == FEW for comparison in of.open.values()):
        tell = f"; {FEW}"
    return (
        f"whether {_names(list(of.open))} {verb} from {prose(of.leaders[0])} in {wording.topic} ({listed(sizes)}{tell})"
    )


def _size(wording: Wording, of: Comparison | None) -> str:
    if of is None:
        return "no block in common"
    return f"{number(of.factor)} times" if of.is_ratio else f"{number(of.factor)} {METRICS[wording.metric].unit} more"


def _polling(results: Results, blocks: Blocks) -> list[Part]:
    """When polling is enough: how late it is, and the event rate from which it moves the fewest bytes."""
    median = blocks.estimate(POLLING, WORDINGS[0].metric) if POLLING in blocks.trials else None
    if median is None:
        return []
    interval_s = results.plan.poll_interval_s
    said = (
        f"Polling is enough where events may come half a polling interval late: with a poll every {interval_s:g} s, "
        f"half of all events arrive within {number(median.value)} ms."
    )
    above_hz = fewest_bytes_above_hz(results, blocks)
    return [Part("Polling", said if above_hz is None else f"{said} {_pays(above_hz, results.plan)}")]


def _pays(above_hz: float, plan: Plan) -> str:
    here = f"{plan.rate_hz / plan.rooms:.3g} events/s"
    if math.isinf(above_hz):
        return f"It never moves the fewest bytes at that interval, however many events a room has (here {here})."
    if not above_hz:
        return f"At that interval it moves the fewest bytes, however few events a room has (here {here})."
    return f"It moves the fewest bytes only in rooms with more than {number(above_hz)} events/s (here {here})."


def fewest_bytes_above_hz(results: Results, blocks: Blocks) -> float | None:
    """Events per second in a room above which polling moves fewer bytes than every other transport.

    0: at any rate. Infinity: at none. ``None``: the idle cost of polling, or every rival, was not measured.
    """
    found = {name: traffic(results, blocks, name) for name in blocks.contenders}
    lines = {name: average(of) for name, of in found.items() if of}
    polling = lines.pop(POLLING, None)
    if polling is None or not lines:
        return None
    interval_s = results.plan.poll_interval_s
    limits = []
    for rival in lines.values():
        never = polling.bytes_per_s(HIGHEST_HZ, interval_s) >= rival.bytes_per_s(HIGHEST_HZ, interval_s)
        limits.append(math.inf if never else break_even_hz(polling, rival, interval_s) or 0.0)
    return max(limits)
