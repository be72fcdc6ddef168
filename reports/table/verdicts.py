"""A verdict on every claim of the article, at each operating point. Pure.

*Holds*, *better than claimed* and *worse than claimed* need the whole interval on one side of the bounds; an interval
across a bound is *not settled*. A claimed difference below the committed margin is *no practical difference*. Better is
what serves the user better: every metric that is claimed is a cost, so less of it is better. A claim about a capability
is judged by what its check saw (decisions 0010 and 0011).
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import Final

import msgspec

from bench.results.capabilities import CapabilityCheck
from bench.results.catalogue import METRICS
from bench.results.run import Plan
from feed.transports import BASELINE
from reports.blocks import Blocks
from reports.formats import counted, doubts, hangs, joined, listed, new_run, number, with_interval
from reports.samples import Paired
from reports.statistics import (
    ALPHA,
    DIFFERS,
    EQUAL,
    FEW,
    MARGINS,
    MIN_BLOCKS,
    OPEN,
    Comparison,
    Estimate,
    compare_runs,
    estimate,
    new_run_blocks,
)
from reports.table import suits
from reports.table.answer import prose
from reports.table.claims import BURDENS, BYTES, CLAIMS, LATENCY, ByCheck, ByOrder, ByScenario, ByWord, Claim, Judged
from reports.table.ratings import BANDWIDTH_BOUNDS, HIGHEST, LATENCY_BOUNDS, rate

HOLDS: Final = "holds"
BETTER_THAN_CLAIMED: Final = "better than claimed"
WORSE_THAN_CLAIMED: Final = "worse than claimed"
UNJUDGED: Final = "not judged"
WORDS: Final = (HOLDS, BETTER_THAN_CLAIMED, WORSE_THAN_CLAIMED, EQUAL, OPEN)
"""Every verdict that a claim can get, in the order in which they are counted."""

VERDICT_RULES: Final = (
    f"A rating word (such as low) {HOLDS} if the whole 95 % interval lies within its bounds. If all of it lies "
    f"outside, the claim is {BETTER_THAN_CLAIMED} or {WORSE_THAN_CLAIMED}; an interval across a bound is {OPEN}.",
    "A claim of more or fewer is judged by pairs, with their margins and Holm's procedure over the claim's own pairs. "
    f"A difference within the margin is {EQUAL}.",
    "The intervals assume that blocks scatter normally. 'Hangs on block 3': without this block, the verdict would be "
    f"another. Fewer than {MIN_BLOCKS} valid blocks give no verdict.",
    "Better means better for the user: less latency, fewer bytes and requests, less CPU, one more useful capability.",
    "Claims about capabilities were tried on real servers: yes or no, with what happened.",
    "Complexity is not judged, as it is not a number. Uses are judged by scenarios, where they were measured: agrees, "
    "disagrees or tie (decision 0017).",
)

Bounds = tuple[tuple[float, str], ...]
LOW_TO_HIGH: Final = (*(word for _, word in LATENCY_BOUNDS), HIGHEST)
"""The rating words, best first; bandwidth has the same."""


class Judgement(msgspec.Struct, frozen=True):
    """A verdict, its evidence, and the command that measures it again (empty where nothing was measured)."""

    word: str
    evidence: str
    command: str = ""


class Line(msgspec.Struct, frozen=True):
    """One claim and its judgement per operating point; functional ones have a single judgement, for all points."""

    claim: Claim
    points: dict[str, Judgement]
    functional: Judgement | None = None


class Measured(msgspec.Struct, frozen=True):
    """One operating point: its plan, and the trials that count."""

    plan: Plan
    blocks: Blocks


def judge_all(
    points: Sequence[Measured],
    checks: Sequence[CapabilityCheck] | None,
    scenarios: Mapping[str, Blocks] = MappingProxyType({}),
) -> list[Line]:
    """Every claim about a transport that was measured. ``checks``: ``None`` if none were run.

    ``scenarios``: those that were measured, and their valid trials.
    """
    present = {name for of in points for name in of.blocks.trials}
    return [_line(claim, points, checks, scenarios) for claim in CLAIMS if claim.transport in present]


def tally(lines: Sequence[Line]) -> dict[str, int]:
    """How many judgements have which word; unjudged claims are left out."""
    found = [judgement.word for line in lines for judgement in judgements(line)]
    return {word: found.count(word) for word in WORDS if word in found}


def judgements(line: Line) -> list[Judgement]:
    """A claim's judgements: one per operating point, or the single one of a claim about a capability."""
    return [line.functional] if line.functional else list(line.points.values())


def tally_text(lines: Sequence[Line]) -> str:
    """The tally in one sentence; empty if nothing was judged."""
    found = tally(lines)
    if not found:
        return ""
    said = ", ".join(f"{word} {count}" for word, count in found.items())
    if not tally([line for line in lines if not line.functional]):
        claims = counted(sum(found.values()), "claim")
        return f"None of the article's claims about numbers could be judged. {claims} with a yes or no: {said}."
    return f"{counted(sum(found.values()), 'verdict')} on the article's claims: {said}."


def _line(
    claim: Claim,
    points: Sequence[Measured],
    checks: Sequence[CapabilityCheck] | None,
    scenarios: Mapping[str, Blocks],
) -> Line:
    by: Judged = claim.by
    if isinstance(by, ByWord | ByOrder) and (reason := _unfit(points)):
        return Line(claim, {of.plan.point: Judgement(UNJUDGED, reason) for of in points})
    match by:
        case ByWord():
            return Line(claim, {of.plan.point: _by_word(claim, by, of) for of in points})
        case ByOrder():
            return Line(claim, {of.plan.point: _by_order(claim, by, of) for of in points})
        case ByCheck():
            return Line(claim, {}, _by_check(claim, by, checks))
        case ByScenario():
            return Line(claim, {}, _by_scenario(claim, by, scenarios))
        case _:
            return Line(claim, {}, Judgement(UNJUDGED, by.reason))


def _by_scenario(claim: Claim, by: ByScenario, scenarios: Mapping[str, Blocks]) -> Judgement:
    names = [name for name in by.scenarios if name in scenarios]
    if not names:
        return Judgement(UNJUDGED, "which solution suits which use is a question of scenarios, not of one feed")
    found = [suits.judge(suits.RULES[name]._replace(recommended=claim.transport), scenarios[name]) for name in names]
    said = "; ".join(f"{name}: {of.word}, {of.why}" for name, of in zip(names, found, strict=True))
    return Judgement(" / ".join(dict.fromkeys(of.word for of in found)), said, f"python -m bench scenario {names[0]}")


def _unfit(points: Sequence[Measured]) -> str:
    """Why no number of this run judges the article; empty if they do."""
    if any(of.plan.loss for of in points):
        return "loss is modelled"
    return "a fault was injected into a server" if any(of.plan.inject_fault for of in points) else ""


def _by_word(claim: Claim, by: ByWord, of: Measured) -> Judgement:
    unit, name, bounds = scale(by.metric, of.plan)
    values = of.blocks.values(claim.transport, by.metric) if claim.transport in of.blocks.trials else {}
    if not values:
        return Judgement(UNJUDGED, "not measured")
    if not unit:
        return Judgement(UNJUDGED, "no network delay, so no one-way transit to count in")
    found = estimate(list(values.values()))
    evidence = f"{with_interval(found)} {METRICS[by.metric].unit}, {number(found.value / unit)} {name}"
    command = command_of(claim.transport, by.metric, of.plan)
    if len(values) < MIN_BLOCKS:
        return Judgement(UNJUDGED, f"{evidence}: {FEW}", command)
    words = spanned(found, unit, bounds)
    word = _judged(words, by)
    said = f"{evidence}: {' to '.join(words)}"
    if word == WORSE_THAN_CLAIMED:
        said += _bare(by, of)
    if word == OPEN:
        said += _to_settle(list(values.values()), [bound * unit for bound, _ in bounds])
    others = {f"block {left_out}": [x for block, x in values.items() if block != left_out] for left_out in values}
    names = [name for name, rest in others.items() if _judged(spanned(estimate(rest), unit, bounds), by) != word]
    return Judgement(word, "; ".join([said, *([hangs(names)] if names else [])]), command)


def _judged(words: Sequence[str], by: ByWord) -> str:
    """The verdict on a claimed word, from the words that the interval reaches."""
    if set(words) <= set(by.words):
        return HOLDS
    if set(words) & set(by.words):
        return OPEN
    better = LOW_TO_HIGH.index(words[-1]) < min(LOW_TO_HIGH.index(word) for word in by.words)
    return BETTER_THAN_CLAIMED if better else WORSE_THAN_CLAIMED


def _bare(by: ByWord, of: Measured) -> str:
    """The baseline's number where bare TCP misses the claimed words as well, so that no framing is to blame."""
    found = of.blocks.estimate(BASELINE, by.metric) if BASELINE in of.blocks.trials else None
    unit, name, bounds = scale(by.metric, of.plan)
    if found is None or set(spanned(found, unit, bounds)) & set(by.words):
        return ""
    return f" (bare TCP as well: {number(found.value / unit)} {name})"


def spanned(of: Estimate, unit: float, bounds: Bounds) -> list[str]:
    """The rating words that an interval reaches, from its low end to its high one."""
    order = [*(word for _, word in bounds), HIGHEST]
    low = of.value if of.low is None else of.low
    high = of.value if of.high is None else of.high
    return order[order.index(rate(low / unit, bounds)) : order.index(rate(high / unit, bounds)) + 1]


def scale(metric: str, plan: Plan) -> tuple[float, str, Bounds]:
    """The unit that a rating counts in (its size in the metric's own unit, and its name), and the bounds."""
    if metric == LATENCY:
        return plan.rtt_ms / 2, "one-way transits", LATENCY_BOUNDS
    assert metric == BYTES
    return float(plan.payload_bytes), "× payload", BANDWIDTH_BOUNDS


def _to_settle(values: list[float], bounds: list[float]) -> str:
    """How many blocks one new run needs to bring the interval clear of the nearest bound."""
    distances = [[math.log(value / bound) for value in values] for bound in bounds]
    nearest = min(distances, key=lambda of: abs(fmean(of)))
    needed = new_run_blocks(Paired(nearest, 0.0), ALPHA)
    return f"; {new_run(needed)}" if needed else ""


def _by_order(claim: Claim, by: ByOrder, of: Measured) -> Judgement:
    """One rival with as much, or on the other side, refutes the claim; for it to hold, every pair must be settled."""
    names = [name for name in (claim.transport, *by.rivals) if name in of.blocks.trials]
    values = {name: of.blocks.values(name, by.metric) for name in names}
    own = values.get(claim.transport, {})
    if not all(own.keys() & values.get(name, {}).keys() for name in by.rivals):
        return Judgement(UNJUDGED, "not measured side by side")
    margin = MARGINS[METRICS[by.metric].margin]
    known = compare_runs({name: (own, values[name]) for name in by.rivals}, margin, paired=True)
    evidence = listed([_ratio(claim.transport, name, found) for name, found in known.items()])
    if few := [name for name, found in known.items() if found.verdict.word == FEW]:
        return Judgement(UNJUDGED, f"{evidence}; {FEW} next to {listed([prose(name) for name in few])}")
    refuted = BETTER_THAN_CLAIMED if by.more else WORSE_THAN_CLAIMED
    sides = [_side(found, by.more, refuted) for found in known.values()]
    word = next((word for word in (refuted, EQUAL, OPEN) if word in sides), HOLDS)
    more = [_more(list(known.values()))] if word == OPEN else []
    doubtful = [
        f"{prose(name)}: {listed(doubts(found))}"
        for (name, found), side in zip(known.items(), sides, strict=True)
        if side == word and doubts(found)
    ]
    said = "; ".join(filter(None, [evidence, *more, *doubtful]))
    return Judgement(word, said, command_of(claim.transport, by.metric, of.plan))


def _side(found: Comparison, more: bool, refuted: str) -> str:
    if found.verdict.word != DIFFERS:
        return found.verdict.word
    return HOLDS if found.a_is_more == more else refuted


def _ratio(own: str, rival: str, found: Comparison) -> str:
    """``WebSocket 1.20 × SSE``, the larger one first."""
    larger = found.larger()
    first, second = (own, rival) if larger is found else (rival, own)
    by = "×" if found.is_ratio else "more than"
    return f"{prose(first)} {joined(larger.factor, larger.low, larger.high)} {by} {prose(second)}"


def _more(known: Sequence[Comparison]) -> str:
    needed = [found.verdict.new_run_blocks for found in known if found.verdict.new_run_blocks]
    return new_run(max(needed)) if needed else ""


def _by_check(claim: Claim, by: ByCheck, checks: Sequence[CapabilityCheck] | None) -> Judgement:
    command = f"python -m bench capabilities --transports {claim.transport}"
    found = next((of for of in checks or () if (of.transport, of.check) == (claim.transport, by.check)), None)
    if found is None:
        return Judgement(UNJUDGED, "not tried in this run", command)
    if found.holds is None:
        return Judgement(OPEN, found.evidence, command)
    if found.holds == by.answer:
        return Judgement(HOLDS, found.evidence, command)
    better = found.holds != (by.check in BURDENS)
    return Judgement(BETTER_THAN_CLAIMED if better else WORSE_THAN_CLAIMED, found.evidence, command)


def command_of(transport: str, metric: str, plan: Plan) -> str:
    """The command that measures one cell of the table again, at the same operating point."""
    return f"python -m bench cell {transport}/{metric} --point {plan.point} --seed {plan.seed + 1}"
