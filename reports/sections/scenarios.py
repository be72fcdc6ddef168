"""The scenarios: what each transport makes of them. Reads ``scenario.json``."""

from typing import Final, NamedTuple

from bench.results.catalogue import METRICS
from bench.results.files import SCENARIO_FILE
from bench.results.sweep import SweepResults, SweepTrial
from feed.transports import BASELINE
from reports.blocks import Blocks, first_arms
from reports.formats import NOT_MEASURED, counted, parts, with_interval
from reports.layout import Cell, FigureSpec, Section, Table
from reports.statistics import Estimate, estimate
from reports.style import LOOKS
from reports.table.run import RunFolder
from reports.table.suits import RULES, Rule, Standing, Suits, judge

NOTES: Final = (
    "Whoever lost, repeated or mixed up something does not suit. Of the others, those are best for the user that none "
    "is better than in what the user notices: seen by the last member, key to others, input to snapshot, notified, "
    "staleness, token latency.",
    "Cheapest: none of these moves fewer bytes, and then none takes less server CPU, which is that of these "
    "implementations. What is equal, or not settled, is a tie.",
)


DRAWING: Final = "scenarios.draw_suits"


class Judged(NamedTuple):
    """One scenario's verdict."""

    name: str
    rule: Rule
    suits: Suits
    standings: list[Standing]


class Asked(NamedTuple):
    """What a scenario's section asks, and the metrics that answer it."""

    heading: str
    question: str
    metrics: tuple[str, ...]
    drawn: tuple[str, str]
    """The two of them that its figure has."""


class Mark(NamedTuple):
    """A number in a scenario's figure."""

    transport: str
    arm: int
    """Its place among the arms; the first has blocks."""
    value: Estimate


class Picture(NamedTuple):
    """A scenario's figure: by metric, all transports and arms."""

    heading: str
    arms: list[str]
    panels: dict[str, list[Mark]]


ASKED: Final = {
    "chat": Asked(
        "Chat: rooms of people who write now and then",
        "How soon is a message stored, and seen by everybody?",
        (
            "ack_ms_p50",
            "ack_ms_p95",
            "seen_by_all_ms_p50",
            "seen_by_all_ms_p95",
            "typing_ms_p50",
            "wire_bytes_per_message",
            "server_cpu_us_per_message",
            "messages_unacknowledged",
            "messages_lost",
            "messages_repeated",
            "messages_out_of_order",
            "connections_broken",
        ),
        ("seen_by_all_ms_p95", "wire_bytes_per_message"),
    ),
    "collab": Asked(
        "Collaborative editing: three who type in one document",
        "How soon is a key visible to others, and do all end with the same text?",
        (
            "visible_ms_p50",
            "visible_ms_p95",
            "key_ack_ms_p50",
            "wire_bytes_per_key",
            "server_cpu_us_per_key",
            "keys_unacknowledged",
            "keys_lost",
            "keys_repeated",
            "documents_apart",
            "characters_apart",
            "connections_broken",
        ),
        ("visible_ms_p95", "characters_apart"),
    ),
    "game": Asked(
        "Game: matches of 16, shown tick by tick",
        "How soon does a player see what it did, and how many frames are late?",
        (
            "input_to_snapshot_ms_p50",
            "input_to_snapshot_ms_p95",
            "snapshot_ms_p50",
            "late_frame_share",
            "jitter_ms_p99",
            "wire_bytes_per_s",
            "sent_bytes_per_s",
            "server_cpu_us_per_snapshot",
            "inputs_unanswered",
            "inputs_unshown",
            "snapshots_lost",
            "snapshots_repeated",
            "connections_broken",
        ),
        ("input_to_snapshot_ms_p95", "late_frame_share"),
    ),
    "notifications": Asked(
        "Notifications: one user at a time, most of them idle",
        "How soon is a user notified, what does an idle one cost, and what does an absent one miss?",
        (
            "notification_ms_p50",
            "notification_ms_p95",
            "idle_bytes_per_user_hour",
            "idle_cpu_us_per_user_hour",
            "rss_bytes_per_connection",
            "notifications_unacknowledged",
            "notifications_lost",
            "notifications_repeated",
            "notifications_missed",
            "connections_broken",
        ),
        ("notification_ms_p50", "idle_bytes_per_user_hour"),
    ),
    "ticker": Asked(
        "Ticker: quotes that change at their own rates",
        "How old is what a reader shows?",
        (
            "staleness_ms_mean",
            "staleness_ms_p95",
            "stale_share",
            "quotes_per_s",
            "wire_bytes_per_s",
            "server_cpu_us_per_quote",
            "connections_broken",
        ),
        ("staleness_ms_mean", "wire_bytes_per_s"),
    ),
    "tokens": Asked(
        "Tokens: an answer that comes a few bytes at a time",
        "How soon, how evenly, and at what cost per token?",
        (
            "first_token_ms_mean",
            "token_latency_ms_p50",
            "token_latency_ms_p95",
            "inter_token_ms_p50",
            "inter_token_ms_p99",
            "tokens_per_read",
            "wire_bytes_per_token",
            "wire_bytes_per_silent_minute",
            "server_cpu_us_per_token",
            "tokens_lost",
            "tokens_repeated",
            "connections_broken",
        ),
        ("inter_token_ms_p99", "wire_bytes_per_token"),
    ),
}
"""By scenario, in the order of the report."""


def build(run: RunFolder) -> list[Section]:
    """A section for each scenario that was measured."""
    results = run.read(SCENARIO_FILE, SweepResults)
    if results is None:
        return []
    measured = {one.section for one in results.trials}
    sections = [scenario_section(results, name) for name in ASKED if name in measured]
    return [verdict_section(results, [name for name in RULES if name in measured]), *sections]


def verdict_section(results: SweepResults, names: list[str]) -> Section:
    """Where each transport stands in each scenario, and what suits it, beside what the article recommends."""
    arms = first_arms(results)
    judged = []
    for name in names:
        rule, blocks = RULES[name], arms.get(name, Blocks({}))
        found = judge(rule, blocks)
        judged.append(Judged(name, rule, found, found.standings(rule, blocks)))
    caption = "Which transport suits which use; framed: what the article recommends"
    return Section(
        "Which transport suits which use?",
        f"The rule was set before the first run (decision 0017); {results.processor}",
        [],
        [_standings(judged), _article(judged)],
        figures=[FigureSpec("suits", caption, DRAWING, judged)],
    )


def _standings(judged: list[Judged]) -> Table:
    names = [name for name in LOOKS if name != BASELINE]
    rows: list[list[str | Cell]] = []
    for one in judged:
        by_name = {of.transport: of for of in one.standings}
        cells = [_standing(by_name.get(name)) for name in names]
        rows.append([f"{title(one.name)}: {METRICS[one.rule.noticed].title}", *cells])
    return Table("Scenario by transport", ["", *(LOOKS[name].name for name in names)], rows, list(NOTES), is_main=True)


def _standing(of: Standing | None) -> str | Cell:
    if of is None or of.noticed is None:
        return NOT_MEASURED
    value, interval = parts(of.noticed.value, of.noticed.low, of.noticed.high)
    return Cell(value, interval, word=of.word)


def _article(judged: list[Judged]) -> Table:
    rows: list[list[str | Cell]] = [
        [
            title(one.name),
            f"{LOOKS[one.rule.recommended].name} ({one.rule.words})",
            Cell("", word=one.suits.word),
            one.suits.why,
            _names(one.suits.equal),
            _names(one.suits.preferred),
        ]
        for one in judged
    ]
    head = ["", "the article says", "verdict", "why", "best for the user", "of them, cheapest"]
    return Table("Against the article", head, rows, [], is_main=True)


def title(name: str) -> str:
    """A scenario's name in a few words."""
    return ASKED[name].heading.partition(":")[0]


def _names(transports: list[str]) -> str:
    return ", ".join(LOOKS[name].name for name in transports) or NOT_MEASURED


def scenario_section(results: SweepResults, name: str) -> Section:
    """The section of one scenario: a table for each arm."""
    asked = ASKED[name]
    trials = [one for one in results.trials if one.section == name]
    valid = [one for one in trials if one.trial.status == "ok"]
    cautions = [] if results.finished else ["The run was interrupted."]
    if results.preset == "smoke":
        cautions.append("The smoke preset shows that everything works; its numbers settle nothing.")
    cautions += [
        f"{one.trial.id} left out: {'; '.join(one.trial.reasons)}." for one in trials if one.trial.status != "ok"
    ]
    arms = list(dict.fromkeys(one.load for one in trials))
    subscribers = max(one.trial.subscribers for one in trials)
    rtts = sorted({one.trial.rtt_ms for one in trials})
    title = (
        f"{asked.question} {counted(subscribers, 'subscriber')}, {', '.join(f'{rtt:g}' for rtt in rtts)} ms round "
        f"trip, seed {results.seed}; {results.processor}"
    )
    tables = [_table(asked, arm, [one for one in valid if one.load == arm], arm == arms[0]) for arm in arms]
    caption = f"{asked.heading}; lines are 95 % intervals, hollow marks single trials"
    picture = Picture(asked.heading, arms, {metric: _marks(metric, arms, valid) for metric in asked.drawn})
    figure = FigureSpec(f"scenario_{name}", caption, "scenarios.draw_scenario", picture)
    return Section(asked.heading, title, cautions, [table for table in tables if table.rows], figures=[figure])


def _marks(metric: str, arms: list[str], trials: list[SweepTrial]) -> list[Mark]:
    found: dict[tuple[str, int], list[float]] = {}
    for one in trials:
        if metric in one.trial.values:
            found.setdefault((one.trial.transport, arms.index(one.load)), []).append(one.trial.values[metric])
    return [Mark(name, arm, estimate(values)) for (name, arm), values in found.items()]


def _table(asked: Asked, arm: str, trials: list[SweepTrial], is_first: bool) -> Table:
    rows = []
    for transport, look in LOOKS.items():
        mine = [one.trial for one in trials if one.trial.transport == transport]
        if mine:
            rows.append([look.name, *(_cell([trial.values.get(name) for trial in mine]) for name in asked.metrics)])
    blocks = max((len({one.trial.block for one in trials if one.trial.transport == name}) for name in LOOKS), default=0)
    notes = ["Single trials: a shape, which settles nothing."] if blocks == 1 else []
    head = ["", *(METRICS[name].title for name in asked.metrics)]
    return Table(arm, head, rows, notes, is_main=is_first)


def _cell(values: list[float | None]) -> str:
    present = [value for value in values if value is not None]
    return with_interval(estimate(present)) if present else NOT_MEASURED
