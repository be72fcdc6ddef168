"""The comparison table: what was measured in each cell, its rating word, the article's word next to it. Pure."""

from collections.abc import Mapping

import msgspec

from bench.results.run import Counts, Plan, Results, Trial
from reports.blocks import Blocks
from reports.formats import NOT_MEASURED, counted, fixed, number, parts, with_interval
from reports.statistics import Estimate
from reports.style import LOOKS
from reports.table.claims import BYTES, LATENCY
from reports.table.clients import client_lines
from reports.table.ratings import ARTICLE, BANDWIDTH_BOUNDS, LATENCY_BOUNDS, NOT_IN_ARTICLE, rate, rules
from reports.table.verdicts import command_of
from reports.theory.added import predictions

COLUMNS = ("Technology", "Latency", "Bandwidth", "Complexity", "Use case")
NOISY_HICCUP_MS_P99 = 2.0
"""A host that keeps a 1 ms timer waiting longer than this in 1 of 100 cases adds to every latency."""
SINGLE_BLOCK = "1 block: no interval"
POINT_NAMES = {"sparse": "Many quiet rooms", "broadcast": "One busy room"}
"""Operating point -> what it is, for people."""


class Measurement(msgspec.Struct, frozen=True):
    """A measured cell, ready to print: value with unit, interval, rating word, the article's word, small print."""

    value: str
    interval: str
    word: str
    article: str
    notes: list[str]
    cautions: list[str]
    command: str = ""
    """Measures the value again."""

    @property
    def article_note(self) -> str:
        """``article: Low``, or nothing for what is not in the article."""
        return "" if self.article == NOT_IN_ARTICLE else f"article: {self.article}"


class Row(msgspec.Struct, frozen=True):
    """One technology. ``complexity`` and ``use_case`` are the article's words; ``effort`` is counted."""

    transport: str
    technology: str
    latency: Measurement
    bandwidth: Measurement
    complexity: str
    effort: str
    use_case: str


def rows(results: Results, blocks: Blocks) -> list[Row]:
    """One row per transport, the baseline last."""
    theory = predictions(results, blocks)
    return [_row(results, blocks, name, theory.get(name, {})) for name in blocks.trials]


def rating_rules(plan: Plan) -> list[str]:
    """What the words mean, to be printed under the table."""
    if plan.rtt_ms:
        transit = f"one-way transits of {plan.rtt_ms / 2:g} ms, half the round trip"
        latency = f"Latency: median (p50) in {transit}: {rules(LATENCY_BOUNDS)}."
    else:
        latency = "Latency: not rated, as its unit is the one-way transit and this run had no network delay."
    payload = f"the payload of {plan.payload_bytes} B"
    return [
        latency,
        f"Bandwidth: wire bytes per delivered event in multiples of {payload}: {rules(BANDWIDTH_BOUNDS)}.",
        "Complexity and use case: the article's words, not measured; lines of code of the shortest Python client that "
        "misses nothing (docs/clients).",
        "Brackets: 95 % t interval over blocks, if they scatter normally.",
    ]


def _row(results: Results, blocks: Blocks, name: str, theory: Mapping[str, float]) -> Row:
    claim = ARTICLE[name]
    return Row(
        transport=name,
        technology=LOOKS[name].name,
        latency=_latency(results, blocks, name, theory.get(LATENCY)),
        bandwidth=_bandwidth(results.plan, blocks, name, theory.get(BYTES)),
        complexity=claim.complexity,
        effort=_effort(name),
        use_case=claim.use_case,
    )


def _effort(name: str) -> str:
    """What a client takes, or nothing for what has no example."""
    lines = client_lines(name)
    return "" if lines is None else f"client: {lines} lines"


def _latency(results: Results, blocks: Blocks, name: str, predicted_ms: float | None) -> Measurement:
    plan, p50 = results.plan, blocks.estimate(name, "latency_ms_p50")
    p95, counts = blocks.estimate(name, "latency_ms_p95"), blocks.counts(name)
    transit_ms = plan.rtt_ms / 2
    notes, cautions = [], _number_cautions(results, blocks, name)
    word = ""
    if p50 and transit_ms:
        word = rate(p50.value / transit_ms, LATENCY_BOUNDS)
        notes.append(f"{number(p50.value / transit_ms)} one-way transits{_predicted(predicted_ms, transit_ms)}")
        cautions += _border(p50, transit_ms, LATENCY_BOUNDS)
    if p95:
        notes.append(f"p95 {with_interval(p95)} ms")
    if counts:
        notes.append(_arrived(counts))
    cautions += _missing_percentiles(blocks, name) + incomplete(counts) + _noise(blocks.trials[name])
    command = command_of(name, LATENCY, plan)
    return _cell(p50, "ms", word, ARTICLE[name].latency, notes, cautions, command)


def _predicted(value: float | None, unit: float) -> str:
    """What theory says, in the same unit, where it says something."""
    return "" if value is None else f", predicted {number(value / unit)}"


def _bandwidth(plan: Plan, blocks: Blocks, name: str, predicted_bytes: float | None) -> Measurement:
    wire, payload = blocks.estimate(name, "wire_bytes_per_event"), plan.payload_bytes
    notes, cautions = [], [] if wire is None else _single(wire)
    word = ""
    if wire:
        word = rate(wire.value / payload, BANDWIDTH_BOUNDS)
        notes.append(f"{number(wire.value / payload)} × payload{_predicted(predicted_bytes, payload)}")
        cautions += _border(wire, payload, BANDWIDTH_BOUNDS)
    setup, idle = blocks.estimate(name, "setup_bytes_per_connection"), blocks.estimate(name, "idle_bytes_per_s")
    if setup:
        notes.append(f"set-up {number(setup.value)} B/connection")
    if idle:
        notes.append(f"idle {number(idle.value)} B/s")
    command = command_of(name, BYTES, plan)
    return _cell(wire, "B/event", word, ARTICLE[name].bandwidth, notes, cautions, command)


def _cell(
    of: Estimate | None, unit: str, word: str, article: str, notes: list[str], cautions: list[str], command: str
) -> Measurement:
    if of is None:
        return Measurement(NOT_MEASURED, "", word, article, notes, cautions)
    value, interval = parts(of.value, of.low, of.high)
    return Measurement(f"{value} {unit}", interval, word, article, notes, cautions, command)


def _arrived(counts: Counts) -> str:
    if counts.delivered == counts.expected and not counts.duplicate and not counts.out_of_order and not counts.late:
        return f"all {counts.expected:,} delivered once, in order"
    return (
        f"{counts.delivered:,} of {counts.expected:,} delivered: {counts.lost:,} lost, "
        f"{counts.duplicate:,} duplicate, {counts.out_of_order:,} out of order"
        + ("" if counts.late is None else f", {counts.late:,} late")
    )


def _number_cautions(results: Results, blocks: Blocks, name: str) -> list[str]:
    """How many blocks stand behind the row, where that is fewer than were planned."""
    valid, planned = len(blocks.trials[name]), results.plan.blocks
    tried = any(trial.transport == name and trial.purpose == "main" for trial in results.trials)
    if not valid:
        return ["no valid trial" if tried else "not measured"]
    few = [f"{valid} of {counted(planned, 'block')} valid"] if valid < planned else []
    modelled = ["loss is modelled"] if results.plan.loss else []
    return few + ([SINGLE_BLOCK] if valid == 1 else []) + modelled


def _single(of: Estimate) -> list[str]:
    return [SINGLE_BLOCK] if of.blocks == 1 else []


def _missing_percentiles(blocks: Blocks, name: str) -> list[str]:
    if not blocks.trials[name]:
        return []
    missing = [q for q in ("p50", "p95") if not blocks.values(name, f"latency_ms_{q}")]
    return [f"{' and '.join(missing)}: n too small"] if missing else []


def incomplete(counts: Counts | None) -> list[str]:
    """What was not delivered once, in order and in time, ready to print."""
    if counts is None:
        return []
    wrong = {
        "lost": counts.lost,
        "duplicate": counts.duplicate,
        "out of order": counts.out_of_order,
        "late": counts.late,
    }
    return [f"{count:,} {what}" for what, count in wrong.items() if count]


def _noise(trials: dict[int, Trial]) -> list[str]:
    worst = max((trial.values.get("hiccup_ms_p99", 0.0) for trial in trials.values()), default=0.0)
    return [f"noisy host: 1 ms timer {fixed(worst, 1)} ms late (p99)"] if worst > NOISY_HICCUP_MS_P99 else []


def _border(of: Estimate, unit: float, bounds: tuple[tuple[float, str], ...]) -> list[str]:
    """A rating word that the interval does not settle."""
    if of.low is None or of.high is None:
        return []
    words = rate(of.low / unit, bounds), rate(of.high / unit, bounds)
    return [f"interval: {words[0]} to {words[1]}"] if words[0] != words[1] else []
