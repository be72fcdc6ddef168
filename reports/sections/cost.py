"""What a delivery costs the server: CPU, memory, how cost grows, and the goals. Reads ``cost.json``."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bench.results.files import COST_FILE
from bench.results.sweep import SweepResults, SweepTrial
from reports.formats import NOT_MEASURED, counted, listed, number, with_interval
from reports.layout import FigureSpec, Section, Table
from reports.sections.cost_trials import PER_EVENT, Bar, Valid, arm_name, arm_of, size_of
from reports.sections.tls import tls_table
from reports.statistics import Estimate
from reports.style import LOOKS
from reports.table.run import RunFolder

KIB: Final = 1024
PER_REQUEST: Final = "server_cpu_us_per_request"
RSS: Final = "rss_bytes_per_connection"
MANY: Final = 5000
"""From this number of subscribers on, the goals have a row that says whether everything arrived."""
FLAT: Final = 1.25
"""Cost is called flat if the dearest point of a sweep costs at most this multiple of the cheapest."""


class Goal(msgspec.Struct, frozen=True):
    """An upper bound that was set in advance. ``relative``: a multiple of the baseline's cost in the same block."""

    section: str
    arm: str
    metric: str
    limit: float
    unit: str
    relative: bool = False


GOALS: Final = (
    Goal("main", "websocket", PER_EVENT, 2.3, "× baseline", relative=True),
    Goal("main", "sse", PER_EVENT, 3.0, "× baseline", relative=True),
    Goal("main", "websocket:tuned", PER_EVENT, 1.6, "× baseline", relative=True),
    Goal("main", "sse:plain", PER_EVENT, 1.8, "× baseline", relative=True),
    Goal("requests", "long_polling", PER_REQUEST, 120, "µs per request"),
    Goal("requests", "polling", PER_REQUEST, 100, "µs per request"),
    Goal("memory", "websocket", RSS, 24, "KiB per connection"),
    Goal("memory", "sse", RSS, 44, "KiB per connection"),
    Goal("memory", "sse:plain", RSS, 24, "KiB per connection"),
    Goal("memory", "long_polling", RSS, 24, "KiB per connection"),
)
SWEEPS: Final = {
    "subscribers": "subscribers (5,000 deliveries/s in all, 10,000 with 10,000 subscribers)",
    "rate": "events/s (200 subscribers)",
    "payload": "payload in bytes (200 subscribers, 20 events/s)",
}
"""Section -> the quantity that labels its loads, and the condition."""


FIGURES: Final = (
    (
        "cost_cpu",
        "cost.draw_cpu",
        "Server CPU, user and system stacked; hatched: variants. Line at the end: 95 % interval; dotted: the baseline.",
    ),
    ("cost_socketio", "cost.draw_low_rate", "The same with Socket.IO, at a rate that its client can take on one core."),
    ("cost_memory", "cost.draw_memory", "Resident memory per connection; hatched: variants."),
    ("cost_growth", "cost.draw_growth", "Server CPU per delivered event under other loads. Single trials."),
)
"""Name, drawing function, and caption of each figure."""


class CostSummary(msgspec.Struct, frozen=True):
    """The cost section in numbers and tables."""

    title: str
    tables: list[Table]
    cautions: list[str]
    per_event: list[Bar]
    low_rate: list[Bar]
    """CPU per event like ``per_event``, at a rate that Socket.IO's client can take."""
    per_request: list[Bar]
    memory: dict[str, Estimate]
    growth: dict[str, dict[str, dict[str, float]]]
    """Sweep -> arm -> label of the load -> microseconds per delivered event."""


def build(run: RunFolder) -> list[Section]:
    """The section with every table and figure of the benchmark."""
    results = run.read(COST_FILE, SweepResults)
    if results is None:
        return []
    of = summarize_cost(results)
    figures = [FigureSpec(name, caption, drawing, of) for name, drawing, caption in FIGURES]
    return [Section("What a delivery costs the server", of.title, of.cautions, of.tables, figures)]


def summarize_cost(results: SweepResults) -> CostSummary:
    """The section in numbers and tables."""
    valid = Valid(results.trials)
    per_event, low_rate = valid.bars("main", PER_EVENT), valid.bars("low_rate", PER_EVENT)
    per_request = valid.bars("requests", PER_REQUEST)
    memory = {arm: valid.estimate("memory", arm, RSS) for arm in valid.arms("memory")}
    growth = {sweep: valid.growth(sweep) for sweep in SWEEPS if valid.arms(sweep)}
    tables = [
        _goals(valid, results.trials),
        _per_event(valid, "main", "20,000 deliveries/s", per_event),
        _per_event(valid, "low_rate", "4,000 deliveries/s, Socket.IO among them", low_rate),
        _per_request(per_request),
        _memory(valid),
    ]
    tables += [_growth(sweep, arms) for sweep, arms in growth.items()]
    tables.append(tls_table(valid))
    return CostSummary(
        title=_title(results),
        tables=[table for table in tables if table.rows],
        cautions=_cautions(results),
        per_event=per_event,
        low_rate=low_rate,
        per_request=per_request,
        memory={arm: of for arm, of in memory.items() if of is not None},
        growth=growth,
    )


def _title(results: SweepResults) -> str:
    plans = [plan for loads in results.loads.values() for plan in loads.values()]
    payloads = sorted({plan.payload_bytes for plan in plans})
    blocks = max((one.trial.block for one in results.trials), default=0)
    return (
        f"Loopback, no network delay, one room, payload {listed([f'{size:,}' for size in payloads])} B, "
        f"{counted(blocks, 'block')}, seed {results.seed}, idle server subtracted"
    )


def _cautions(results: SweepResults) -> list[str]:
    found = [] if results.finished else [f"Interrupted: only {counted(len(results.trials), 'trial')} are here."]
    if results.preset == "smoke":
        found.append("The smoke preset shows that everything works; its numbers settle nothing.")
    for one in results.trials:
        if one.trial.status != "ok":
            found.append(f"{one.trial.id} left out: {'; '.join(one.trial.reasons)}.")
    return found


def _goals(valid: Valid, trials: Sequence[SweepTrial]) -> Table:
    rows = []
    for goal in GOALS:
        of = (valid.ratio if goal.relative else valid.estimate)(goal.section, goal.arm, goal.metric)
        if of is None:
            if any(one.section == goal.section and arm_of(one) == goal.arm for one in trials):
                rows.append([arm_name(goal.arm), f"at most {goal.limit:g} {goal.unit}", NOT_MEASURED, "missed"])
            continue
        of = in_kib(of) if goal.metric == RSS else of
        rows.append(
            [arm_name(goal.arm), f"at most {goal.limit:g} {goal.unit}", with_interval(of), reached(of, goal.limit)]
        )
    rows += _everything_arrived(trials)
    notes = ["Reached: the 95 % interval lies at or below the goal; missed: above it; open: the goal lies inside it."]
    return Table("Goals", ["", "Goal", "Measured [95 %]", ""], rows, notes)


def reached(of: Estimate, limit: float) -> str:
    """Whether the interval lies within an upper bound: *reached*, *missed*, or *open* if it contains the bound."""
    low, high = (of.value, of.value) if of.low is None or of.high is None else (of.low, of.high)
    if high <= limit:
        return "reached"
    return "missed" if low > limit else "open"


def _everything_arrived(trials: Sequence[SweepTrial]) -> list[list[str]]:
    """Rows on completeness with many subscribers. Invalid trials are included: a trial that lost something is one."""
    many = [one for one in trials if one.section == "subscribers" and one.trial.subscribers >= MANY]
    rows = []
    for one in sorted(many, key=lambda one: (one.trial.subscribers, list(LOOKS).index(one.trial.transport))):
        counts = one.trial.counts
        text = f"{counts.delivered:,} of {counts.expected:,} delivered" if counts else "; ".join(one.trial.reasons)
        word = "reached" if counts and not counts.lost else "missed"
        rows.append([arm_name(arm_of(one)), f"{one.load} subscribers, nothing lost", text, word])
    return rows


def _per_event(valid: Valid, section: str, load: str, bars: Sequence[Bar]) -> Table:
    rows = [
        [
            arm_name(bar.arm),
            with_interval(bar.total),
            *_split(bar),
            with_interval(bar.ratio),
            with_interval(valid.estimate(section, bar.arm, "events_per_response")),
            with_interval(valid.estimate(section, bar.arm, "server_cpu_share")),
        ]
        for bar in bars
    ]
    head = [
        "",
        "Server CPU per delivered event, µs",
        "user, µs",
        "system, µs",
        "× baseline",
        "events per response",
        "of a core",
    ]
    notes = [
        "A stream writes once per delivery. A poll's answer carries all newer events, so that its cost per event is "
        "that of a request divided by the events in its answer; the price is latency.",
    ]
    return Table(f"CPU per delivered event at {load}", head, rows, notes)


def _per_request(bars: Sequence[Bar]) -> Table:
    rows = [[arm_name(bar.arm), with_interval(bar.total), *_split(bar)] for bar in bars]
    notes = ["Each answer carries about one event. A held request counts once, with the CPU of its hold."]
    return Table(
        "CPU per request of the polls", ["", "Server CPU per request, µs", "user, µs", "system, µs"], rows, notes
    )


def _split(bar: Bar) -> list[str]:
    if bar.user is None:
        return [NOT_MEASURED, NOT_MEASURED]
    return [number(bar.user), number(bar.total.value - bar.user)]


def _memory(valid: Valid) -> Table:
    rows = []
    for arm in valid.arms("memory"):
        rss, kernel = (valid.estimate("memory", arm, name) for name in (RSS, "kernel_bytes_per_connection"))
        rows.append([arm_name(arm), with_interval(rss and in_kib(rss)), with_interval(kernel and in_kib(kernel))])
    notes = [
        "Resident: growth of the server's resident memory from no connection to all of them, in a server that the "
        "contract checks have warmed up and that has delivered events. Kernel: buffers of all TCP sockets of the host, "
        "in pages of 4 KiB (/proc/net/sockstat), near 0 while nothing waits; the sockets' structures are not included."
    ]
    return Table("Memory per connection", ["", "Resident, KiB", "Kernel buffers, KiB"], rows, notes)


def in_kib(of: Estimate) -> Estimate:
    """An estimate in bytes as one in KiB."""
    low, high = (None if end is None else end / KIB for end in (of.low, of.high))
    return Estimate(of.value / KIB, low, high, of.blocks)


def _growth(sweep: str, arms: Mapping[str, Mapping[str, float]]) -> Table:
    labels = sorted({label for of in arms.values() for label in of}, key=size_of)
    rows = [
        [arm_name(arm), *(number(of[label]) if label in of else NOT_MEASURED for label in labels), _flatness(of)]
        for arm, of in arms.items()
    ]
    return Table(
        f"Server CPU per delivered event (µs) over {SWEEPS[sweep]}",
        ["", *labels, ""],
        rows,
        ["Single trials show the shape; the third digit means nothing."],
    )


def _flatness(of: Mapping[str, float]) -> str:
    if len(of) < 2 or min(of.values()) <= 0:
        return ""
    cheapest, dearest = min(of, key=of.__getitem__), max(of, key=of.__getitem__)
    factor = of[dearest] / of[cheapest]
    return "flat" if factor <= FLAT else f"not flat: {number(factor)} × at {dearest} what it is at {cheapest}"


def to_json(summary: CostSummary) -> str:
    """The summary as one JSON object."""
    return json.dumps(msgspec.to_builtins(summary), indent=1)
