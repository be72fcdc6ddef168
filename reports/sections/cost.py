"""What a delivery costs the server: CPU, memory, how cost grows, and the goals. Reads ``cost.json``."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from bench.results.files import COST_FILE
from bench.results.sweep import SweepResults, SweepTrial
from feed.transports import BASELINE
from reports.formats import NOT_MEASURED, counted, listed, number, with_interval
from reports.layout import FigureSpec, Section, Table
from reports.sections.cost_load import load_table, split
from reports.sections.cost_trials import FLOOR_ARM, PER_EVENT, Bar, Found, Valid, arm_name, arm_of, size_of
from reports.sections.tls import tls_table
from reports.statistics import Estimate
from reports.style import LOOKS
from reports.table.run import RunFolder

KIB: Final = 1024
PER_REQUEST: Final = "server_cpu_us_per_request"
RSS: Final = "rss_bytes_per_connection"
MANY: Final = 5000
"""From this number of subscribers on, the goals have a row that says whether everything arrived."""
MOST_NAMED: Final = 3
"""More trials than these that were left out get a table instead of a caution each."""
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

    def found(self, valid: Valid) -> Found:
        """What it bounds, of each run."""
        if self.relative:
            return valid.ratios(self.section, self.arm, self.metric, BASELINE)
        return valid.values(self.section, self.arm, self.metric)


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
    "subscribers": "subscribers (the more, the fewer events/s)",
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
    (
        "cost_growth",
        "cost.draw_growth",
        "Server CPU per delivered event under other loads; paler: tuned collector, floor.",
    ),
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
    return [cost_section(summarize_cost(results))]


def summarize_cost(*runs: SweepResults) -> CostSummary:
    """The section in numbers and tables, of one run or of several (``Valid``)."""
    valid, trials = Valid(*runs), [one for of in runs for one in of.trials]
    per_event, low_rate = valid.bars("main", PER_EVENT), valid.bars("low_rate", PER_EVENT)
    per_request = valid.bars("requests", PER_REQUEST)
    memory = {arm: valid.estimate("memory", arm, RSS) for arm in valid.arms("memory")}
    growth = {sweep: valid.growth(sweep) for sweep in SWEEPS if valid.arms(sweep)}
    tables = [
        _goals(valid, trials),
        _per_event(valid, "main", "20,000 deliveries/s", per_event),
        _per_event(valid, "low_rate", "4,000 deliveries/s, Socket.IO among them", low_rate),
        _per_request(per_request),
        _memory(valid),
    ]
    tables += [_growth(sweep, arms) for sweep, arms in growth.items()]
    tables += [load_table(valid, sweep, SWEEPS[sweep]) for sweep in growth]
    tables.append(tls_table(valid))
    if len(left_out := _left_out(runs)) > MOST_NAMED:
        tables.append(Table("Left out of all averages", ["Trial", "Status", "Reasons"], left_out, []))
    return CostSummary(
        title=_title(runs),
        tables=[table for table in tables if table.rows],
        cautions=_cautions(runs),
        per_event=per_event,
        low_rate=low_rate,
        per_request=per_request,
        memory={arm: of for arm, of in memory.items() if of is not None},
        growth=growth,
    )


def cost_section(of: CostSummary) -> Section:
    """The section with every table and figure."""
    figures = [FigureSpec(name, caption, drawing, of) for name, drawing, caption in FIGURES]
    return Section("What a delivery costs the server", of.title, of.cautions, of.tables, figures)


def _title(runs: Sequence[SweepResults]) -> str:
    plans = [plan for results in runs for loads in results.loads.values() for plan in loads.values()]
    payloads = sorted({plan.payload_bytes for plan in plans})
    blocks = max((one.trial.block for results in runs for one in results.trials), default=0)
    seeds = ", ".join(dict.fromkeys(str(results.seed) for results in runs))
    how_often = (
        counted(blocks, "block") if len(runs) == 1 else f"{len(runs)} runs of at most {counted(blocks, 'block')}"
    )
    return (
        f"Loopback, no network delay, one room, payload {listed([f'{size:,}' for size in payloads])} B, "
        f"{how_often}, seed {seeds}, idle server subtracted; {'; '.join(dict.fromkeys(of.processor for of in runs))}"
    )


def _cautions(runs: Sequence[SweepResults]) -> list[str]:
    found = []
    for place, results in enumerate(runs, 1):
        run = f"Run {place}: " if len(runs) > 1 else ""
        if not results.finished:
            found.append(f"{run}Interrupted: only {counted(len(results.trials), 'trial')} are here.")
        if results.preset == "smoke":
            found.append(f"{run}The smoke preset shows that everything works; its numbers settle nothing.")
    left_out = _left_out(runs)
    if len(left_out) <= MOST_NAMED:
        return found + [f"{trial} left out: {reasons}." for trial, _, reasons in left_out]
    sections = dict.fromkeys(one.section for of in runs for one in of.trials if one.trial.status != "ok")
    share = f"{len(left_out)} of {sum(len(of.trials) for of in runs)}"
    where = f"of {listed(list(sections))}: the last table has each with its reason"
    return [*found, f"{share} trials left out, {where}."]


def _left_out(runs: Sequence[SweepResults]) -> list[list[str]]:
    """Trial, status and reasons."""
    return [
        [
            f"Run {place}: {one.trial.id}" if len(runs) > 1 else one.trial.id,
            one.trial.status,
            "; ".join(one.trial.reasons),
        ]
        for place, results in enumerate(runs, 1)
        for one in results.trials
        if one.trial.status != "ok"
    ]


def _goals(valid: Valid, trials: Sequence[SweepTrial]) -> Table:
    rows = []
    for goal in GOALS:
        found = goal.found(valid)
        of, wanted = valid.average(found), f"at most {goal.limit:g} {goal.unit}"
        if of is None:
            if any(one.section == goal.section and arm_of(one) == goal.arm for one in trials):
                rows.append([arm_name(goal.arm), wanted, NOT_MEASURED, "missed"])
            continue
        of = in_kib(of) if goal.metric == RSS else of
        missing = [str(run) for run, values in found.items() if not values]
        text = with_interval(of) + (f", not measured in run {listed(missing)}" if missing else "")
        word = "open" if missing else reached(of, goal.limit)
        rows.append([arm_name(goal.arm), wanted, text, word])
    rows += _everything_arrived(trials)
    notes = [
        "Reached: the 95 % interval lies at or below the goal; missed: above it; open: the goal lies inside it, or "
        "there is none."
    ]
    return Table("Goals", ["", "Goal", "Measured [95 %]", ""], rows, notes)


def reached(of: Estimate, limit: float) -> str:
    """Whether the interval lies within an upper bound: *reached*, *missed*, or *open* if it contains the bound.

    A single block has no interval, so that it leaves the goal open.
    """
    if of.low is None or of.high is None or of.low <= limit < of.high:
        return "open"
    return "reached" if of.high <= limit else "missed"


def _everything_arrived(trials: Sequence[SweepTrial]) -> list[list[str]]:
    """Rows on completeness with many subscribers. Invalid trials are included: a trial that lost something is one."""
    many: dict[tuple[int, int, str], list[SweepTrial]] = {}
    for one in trials:
        if one.section == "subscribers" and one.trial.subscribers >= MANY:
            place = one.trial.subscribers, list(LOOKS).index(one.trial.transport), arm_of(one)
            many.setdefault(place, []).append(one)
    rows = []
    for (_, _, arm), of in sorted(many.items()):
        counts = [one.trial.counts for one in of if one.trial.counts]
        delivered, expected = (sum(getattr(count, name) for count in counts) for name in ("delivered", "expected"))
        said = [f"{delivered:,} of {expected:,} delivered"] if counts else []
        said += ["; ".join(one.trial.reasons) for one in of if not one.trial.counts]
        word = "reached" if len(counts) == len(of) and not any(count.lost for count in counts) else "missed"
        rows.append([arm_name(arm), f"{of[0].load} subscribers, nothing lost", "; ".join(said), word])
    return rows


def _per_event(valid: Valid, section: str, load: str, bars: Sequence[Bar]) -> Table:
    rows = [
        [
            arm_name(bar.arm),
            with_interval(bar.total),
            *split(bar),
            with_interval(bar.ratio),
            with_interval(bar.of_floor),
            with_interval(valid.estimate(section, bar.arm, "events_per_response")),
            with_interval(valid.estimate(section, bar.arm, "segments_per_event")),
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
        "× floor",
        "events per response",
        "segments per event",
        "of a core",
    ]
    notes = [
        "A stream writes once per delivery. A poll's answer carries all newer events, so that its cost per event is "
        "that of a request divided by the events in its answer; the price is latency.",
        *_on_the_floor(valid, section),
    ]
    return Table(f"CPU per delivered event at {load}", head, rows, notes)


def _on_the_floor(valid: Valid, section: str) -> list[str]:
    """What the floor is, and which checks of the contract it did not have to pass."""
    floor, baseline = valid.of(section, FLOOR_ARM), valid.of(section, BASELINE)
    if not floor:
        return []
    skipped = [name for one in baseline[:1] for name in one.trial.preflight if name not in floor[0].trial.preflight]
    said = f", so that {listed(skipped)} of the contract's checks do not apply to it" if skipped else ""
    return [
        "The floor is a baseline too, and no bound: a server that only writes bytes which exist already, to every "
        f"connection. It keeps no history{said}."
    ]


def _per_request(bars: Sequence[Bar]) -> Table:
    rows = [[arm_name(bar.arm), with_interval(bar.total), *split(bar)] for bar in bars]
    notes = ["Each answer carries about one event. A held request counts once, with the CPU of its hold."]
    return Table(
        "CPU per request of the polls", ["", "Server CPU per request, µs", "user, µs", "system, µs"], rows, notes
    )


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
        ["By default one trial in each run, which shows the shape; the third digit means nothing."],
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
