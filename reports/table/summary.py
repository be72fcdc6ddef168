"""Everything that the report says about one operating point, from its results. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from bench.results.capabilities import CapabilityCheck
from bench.results.catalogue import METRICS
from bench.results.run import Results, Trial
from reports.blocks import PAIRED_METRICS, Blocks, apart_sentences, left_out, main_blocks, noise_sentences
from reports.formats import counted, joined, listed, verdict_text
from reports.layout import Part
from reports.statistics import ALPHA, BETTER, DECIDING_BLOCKS, EQUAL, MARGINS, MIN_BLOCKS, OPEN, WORSE, Comparison
from reports.style import LOOKS
from reports.table.answer import answer
from reports.table.curve import Point, points
from reports.table.details import CPU, Group, groups
from reports.table.rows import POINT_NAMES, Row, incomplete, rating_rules, rows
from reports.table.verdicts import Line, Measured, judge_all

PAIR_TITLES = {name: METRICS[name].label for name in PAIRED_METRICS}

LOSS_IS_MODELLED = (
    "Loss is modelled (docs/method.md, Network): it shows what stalls look like; no claim is judged on it."
)


class PairCell(msgspec.Struct, frozen=True):
    """A pair on one metric: the ratio with its interval, and the verdict."""

    text: str
    word: str


class PairLine(msgspec.Struct, frozen=True):
    """A pair of transports, judged on each of ``PAIRED_METRICS``; ``None`` where a metric is missing."""

    a: str
    b: str
    cells: list[PairCell | None]


class Summary(msgspec.Struct, frozen=True):
    """One operating point as text and numbers. Sections and figures only lay it out."""

    results: Results
    blocks: Blocks
    point: str
    """The operating point in words."""
    title: str
    answer: list[Part]
    cautions: list[str]
    rows: list[Row]
    rules: list[str]
    comparisons: dict[str, list[Comparison]]
    pairs: list[PairLine]
    pair_rules: list[str]
    details: list[Group]
    curve: list[Point]
    left_out: list[Trial]
    facts: dict[str, dict[str, str]]


def summarize(results: Results) -> Summary:
    """The summary of one operating point."""
    blocks = main_blocks(results)
    comparisons = {metric: blocks.compare(metric) for metric in PAIRED_METRICS}
    least = min((of for trials in blocks.trials.values() if (of := len(trials)) >= MIN_BLOCKS), default=MIN_BLOCKS)
    return Summary(
        results=results,
        blocks=blocks,
        point=POINT_NAMES.get(results.plan.point, results.plan.point),
        title=_title(results),
        answer=answer(results, blocks, comparisons),
        cautions=_cautions(results, blocks),
        rows=rows(results, blocks),
        rules=[*rating_rules(results.plan), unseen(least)],
        comparisons=comparisons,
        pairs=_pairs(comparisons),
        pair_rules=_pair_rules(least),
        details=groups(blocks, comparisons[CPU]),
        curve=points(results),
        left_out=left_out(results),
        facts=_facts(results),
    )


def judge(
    points: Sequence[Summary],
    checks: Sequence[CapabilityCheck] | None,
    scenarios: Mapping[str, Blocks] = MappingProxyType({}),
) -> list[Line]:
    """A verdict on every claim of the article, as ``reports.table.verdicts.judge_all``."""
    return judge_all([Measured(of.results.plan, of.blocks) for of in points], checks, scenarios)


def _title(results: Results) -> str:
    plan = results.plan
    network = plan.between.words if plan.rtt_ms else "loopback, no network delay"
    return (
        f"{counted(plan.subscribers, 'subscriber')} in {counted(plan.rooms, 'room')}, {plan.rate_hz:g} events/s "
        f"in all, {plan.payload_bytes} B payload, {network}, polling every {plan.poll_interval_s:g} s, "
        f"{counted(plan.blocks, 'block')}"
    )


def _cautions(results: Results, blocks: Blocks) -> list[str]:
    """Cautions about the run as a whole; a caution about one number stands in its cell."""
    found = []
    if not results.finished:
        found.append(f"The run was interrupted: only {counted(len(results.trials), 'trial')} of it are here.")
    for name in blocks.trials:
        counts = blocks.counts(name)
        if counts and (wrong := incomplete(counts)):
            said = ", ".join(wrong)
            found.append(f"{LOOKS[name].name} did not deliver as it must: {said}, of {counts.expected:,} deliveries.")
    found += [*_spare(results), *apart_sentences(blocks), *noise_sentences(blocks)]
    for name, fault in results.plan.inject_fault.items():
        found.append(f"A fault ({fault}) was injected into {LOOKS[name].name}'s server: no claim is judged.")
    if results.plan.blocks == 1:
        found.append("A single block has no intervals: it shows that everything works, and settles nothing.")
    elif results.plan.blocks < MIN_BLOCKS:
        found.append(f"{results.plan.blocks} blocks have intervals and give no verdict: that takes {MIN_BLOCKS}.")
    if not results.plan.rtt_ms:
        found.append("Loopback only: without network delay, latencies show the software alone and are not rated.")
    if results.plan.loss:
        found.append(LOSS_IS_MODELLED)
    out = left_out(results)
    if out:
        found.append(f"{counted(len(out), 'trial')} left out of all averages, with reasons in the report.")
    if {trial.purpose for trial in results.trials} == {"loopback"}:
        found.append("Only loopback checks were run; they never count in the table.")
    return found


def _spare(results: Results) -> list[str]:
    """The spare blocks that were measured."""
    planned = results.plan.blocks
    spare = sorted({f"block {of.block}" for of in results.trials if of.purpose == "main" and of.block > planned})
    few = f"fewer than {counted(planned, 'block')} had a valid trial of every transport"
    return [f"Measured as spare, because {few}: {listed(spare)}."] if spare else []


def _pairs(comparisons: dict[str, list[Comparison]]) -> list[PairLine]:
    names = dict.fromkeys((found.a, found.b) for of in comparisons.values() for found in of)
    lines = []
    for a, b in names:
        cells = [_pair_cell(metric, comparisons[metric], a, b) for metric in PAIRED_METRICS]
        lines.append(PairLine(LOOKS[a].name, LOOKS[b].name, cells))
    return lines


def _pair_cell(metric: str, of: Sequence[Comparison], a: str, b: str) -> PairCell | None:
    found = next((comparison for comparison in of if (comparison.a, comparison.b) == (a, b)), None)
    if found is None:
        return None
    size = joined(found.factor, found.low, found.high)
    return PairCell(f"{size} ×" if found.is_ratio else f"{size} {METRICS[metric].unit} more", verdict_text(found))


def _pair_rules(least: int) -> list[str]:
    relative = {name: f"{100 * margin.relative:g} %" for name, margin in MARGINS.items()}
    latency = f"the larger of {relative['latency']} and {MARGINS['latency'].absolute:g} ms"
    return [
        "The ratio of the first to the second, paired by block. Margins of no practical interest: "
        f"latency {latency}, bytes {relative['bytes']}, CPU {relative['cpu']}.",
        f"Interval wholly outside the margin: the first is {BETTER} or {WORSE} than the second (less is better in "
        f"every column); wholly inside: {EQUAL}; else {OPEN}. Holm's procedure sets each interval's level, so that "
        f"over all pairs of a metric the chance of any false '{BETTER}' or '{WORSE}' is at most {100 * ALPHA:g} %, and "
        f"so is that of any false '{EQUAL}'.",
        *_block_rules(least),
    ]


def unseen(blocks: int) -> str:
    """What so few blocks cannot see."""
    return (
        f"A verdict holds for blocks like those measured: what happens in one block of ten is in none of {blocks} "
        f"blocks {100 * 0.9**blocks:.0f} % of the time."
    )


def _block_rules(least: int) -> list[str]:
    """What verdicts from ``least`` blocks assume, how that was looked at, and what they cannot see."""
    return [
        "The t intervals assume that differences between blocks scatter normally. A permutation test over blocks "
        "assumes no distribution; with 5 blocks its smallest p is 1/16, reached when no block speaks against the "
        "verdict. 'Hangs on block 3': without this block, the verdict would be another.",
        f"{unseen(least)} Fewer than {MIN_BLOCKS} valid blocks give no verdict.",
        "One new run of so many blocks settles the pair by itself, with odds of four to one. It is judged alone, and "
        f"what it leaves open stays open: a run of {DECIDING_BLOCKS} blocks or more plans no other. Blocks added until "
        "a word appears would make false words more frequent.",
    ]


OF_SCENARIOS: Final = frozenset(
    {
        "scenario",
        "scenario_options",
        "scenario_begin_s",
        "service_options",
        "server_options",
        "store",
        "users",
    }
)
"""Of a plan: what the table's trials have nothing of."""


def _facts(results: Results) -> dict[str, dict[str, str]]:
    run = {
        "created": results.created_at,
        "command": " ".join(results.command),
        "finished": "yes" if results.finished else "no, interrupted",
        "seed": str(results.plan.seed),
        "pushmark": results.pushmark_version,
    }
    plan = msgspec.to_builtins(results.plan)
    return {
        "Run": run,
        "Plan": {name: _text(value) for name, value in plan.items() if name not in OF_SCENARIOS},
        "Host": {name: _text(value) for name, value in _flat(results.host).items()},
        "Versions": dict(results.versions),
        "Options": {name: _text(value) for name, value in _flat(results.options).items()},
    }


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options as one level, names joined by dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    return str(value)
