"""Where polling begins to pay, and what an idle user costs. Reads ``results.json``."""

from typing import Final

import msgspec

from bench.results.run import Idle, Results
from bench.theory import bytes as theory_bytes
from feed.transports import POLLING, TRANSPORTS
from reports.blocks import Blocks
from reports.formats import joined, number, with_interval
from reports.layout import FigureSpec, Section, Table, Widget
from reports.statistics import Estimate, estimate
from reports.style import LOOKS
from reports.table.answer import prose
from reports.table.run import RunFolder
from reports.theory.traffic import (
    HIGHEST_HZ,
    LOWEST_HZ,
    RADIO_SLEEPS_AFTER_S,
    Traffic,
    average,
    break_even,
    month_mb,
    traffic,
    wake_ups_per_hour,
)

INTERVALS_S: Final = (0.2, 1.0, 5.0, 30.0)
RIVALS: Final = ("long_polling", "sse", "websocket", "socketio")
NEVER: Final = "never"
ALWAYS: Final = "always"
AWAKE: Final = "awake all the time"
HEADING: Final = "Where polling begins to pay"
CAPTION: Final = (
    "Wire bytes per second and subscriber. Lines: from the coefficients that were measured; markers: measured as such."
)
SLIDER_CONSTANTS: Final = {
    "empty_answer_bytes": theory_bytes.EMPTY_ANSWER_BYTES,
    "mss_bytes": theory_bytes.MSS_BYTES,
    "segment_bytes": theory_bytes.SEGMENT_BYTES,
}


class BreakEven(msgspec.Struct, frozen=True):
    """Everything the section, its figure and its sliders show. ``lines``: a transport's coefficients, averaged."""

    poll_interval_s: float
    rate_hz: float
    lines: list[Traffic]
    measured: dict[str, float]
    """Bytes per second and subscriber at the operating point, by transport."""
    tables: list[Table]


def build(run: RunFolder) -> list[Section]:
    """One section, of the first operating point where polling and its idle cycle were measured."""
    found = ((of, break_evens(of.results, of.blocks)) for of in run.points)
    summary, even = next(((of, even) for of, even in found if even), (None, None))
    if summary is None or even is None:
        return []
    lines = {LOOKS[line.transport].name: msgspec.to_builtins(line) for line in even.lines}
    sliders = Widget("sliders.html", {"lines": lines, "constants": SLIDER_CONSTANTS})
    figures = [FigureSpec("break_even", CAPTION, "breakeven.draw", even)]
    return [Section(HEADING, f"{summary.point}: {summary.title}", [], even.tables, figures, widget=sliders)]


def break_evens(results: Results, blocks: Blocks) -> BreakEven | None:
    """``None`` if polling or its idle cycle was not measured."""
    by_block = {name: traffic(results, blocks, name) for name in blocks.contenders}
    by_block = {name: found for name, found in by_block.items() if found}
    if POLLING not in by_block or len(by_block) < 2:
        return None
    plan = results.plan
    lines = [average(found) for found in by_block.values()]
    rate_hz = plan.rate_hz / plan.rooms
    measured = {
        name: of.value * rate_hz
        for name in by_block
        if (of := blocks.estimate(name, "wire_bytes_per_event")) is not None
    }
    tables = [_table(by_block, plan.poll_interval_s), _idle(results, list(by_block))]
    return BreakEven(plan.poll_interval_s, rate_hz, lines, measured, tables)


def _table(by_block: dict[str, dict[int, Traffic]], poll_interval_s: float) -> Table:
    intervals = sorted({*INTERVALS_S, poll_interval_s})
    rivals = [name for name in RIVALS if name in by_block]
    rows = []
    for interval_s in intervals:
        median_ms = average(by_block[POLLING]).latency_ms(1.0, interval_s)
        cells = [_cell(by_block, name, interval_s) for name in rivals]
        rows.append([f"polling every {interval_s:g} s", f"{number(median_ms)} ms", *cells])
    head = ["", "its median latency", *(f"fewer bytes than {prose(name)} above" for name in rivals)]
    notes = [
        "Events per second in a room, above which polling at this interval moves fewer wire bytes, with the 95 % "
        f"interval over blocks; {NEVER}: not below {HIGHEST_HZ:g} events/s.",
        "Coefficients: bytes per cycle of polls and per event of streams, measured; an event's share of an answer and "
        "requests per event, by theory. Intervals are of the scatter between blocks, not of what theory leaves out.",
    ]
    return Table(HEADING, head, rows, notes)


def _cell(by_block: dict[str, dict[int, Traffic]], rival: str, interval_s: float) -> str:
    found = break_even(by_block[POLLING], by_block[rival], interval_s)
    if found is not None:
        return f"{joined(found.value, found.low, found.high)} events/s"
    polling, other = (average(by_block[name]).bytes_per_s(LOWEST_HZ, interval_s) for name in (POLLING, rival))
    return ALWAYS if polling < other else NEVER


def _month_mb(idle: Idle) -> Estimate:
    """Megabytes of an idle month, with the interval over the subscribers whose cycles count; older files have none."""
    cycles_bytes = [one.cycle_bytes for one in idle.counting] or [idle.cycle_bytes]
    return estimate([month_mb(cycle_bytes / idle.period_s) for cycle_bytes in cycles_bytes])


def _left_out(name: str, idle: Idle) -> list[str]:
    reasons = [one.reason for one in idle.repeats if one.reason]
    if not reasons:
        return []
    return [f"{LOOKS[name].name}: {len(reasons)} of {len(idle.repeats)} subscribers do not count: {reasons[0]}."]


def _idle(results: Results, names: list[str]) -> Table:
    rows = []
    for name in names:
        idle = results.idle[name]
        wakes = wake_ups_per_hour(idle.period_s)
        rows.append(
            [
                LOOKS[name].name,
                f"{with_interval(_month_mb(idle))} MB",
                AWAKE if wakes is None else number(wakes),
                f"{idle.period_s:g} s",
                TRANSPORTS[name].heartbeat,
            ]
        )
    notes = [
        "Wire bytes of a subscriber without events, both directions, TCP/IP included; the last column says what "
        f"moves each period. A wake-up is a burst more than {RADIO_SLEEPS_AFTER_S:g} s after the last, as a phone's "
        "radio stays awake about that long after it was used (developer.android.com, Optimize network access).",
        *(note for name in names for note in _left_out(name, results.idle[name])),
    ]
    head = ["", "wire bytes a month", "network wake-ups an hour", "period", "each period"]
    return Table("Per idle user", head, rows, notes)
