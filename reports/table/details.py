"""Everything else that was measured, one column per transport. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.results.catalogue import METRICS
from bench.results.metric import COST
from bench.results.run import Counts
from feed.transports import BASELINE
from reports.blocks import SERVER_CPU, Blocks, find
from reports.formats import NOT_MEASURED, joined
from reports.statistics import Comparison

CPU: Final = SERVER_CPU

COUNTS: Final[dict[str, str]] = {
    "expected": "deliveries expected",
    "delivered": "delivered",
    "lost": "lost",
    "duplicate": "duplicate",
    "out_of_order": "out of order",
    "late": "over 100 ms later than the protocol allows",
    "gaps": "gaps told of",
    "reconnects": "reconnections",
}


class Line(msgspec.Struct, frozen=True):
    """One line: what it is, in words and unit, its full meaning, and a text per transport."""

    label: str
    unit: str
    meaning: str
    cells: list[str]


class Group(msgspec.Struct, frozen=True):
    """Lines under one heading."""

    title: str
    lines: list[Line]


def groups(blocks: Blocks, cpu: Sequence[Comparison]) -> list[Group]:
    """All lines in which at least one transport has a number; completeness first after latency.

    ``cpu``: the comparisons of server CPU per event, from which the ratios to the baseline are taken.
    """
    found = [Group(title, _lines(blocks, title)) for title in dict.fromkeys(of.group for of in METRICS.values())]
    by_title = {group.title: group for group in found}
    by_title[COST].lines[1:1] = _ratios(blocks, cpu)
    found.insert(1, Group("Completeness, all subscribers and blocks", _completeness(blocks)))
    return [group for group in found if group.lines]


def _lines(blocks: Blocks, title: str) -> list[Line]:
    lines = []
    for name, metric in METRICS.items():
        if metric.group == title:
            cells = [blocks.text(transport, name) for transport in blocks.trials]
            if any(cell != NOT_MEASURED for cell in cells):
                lines.append(Line(metric.label, metric.unit, metric.meaning, cells))
    return lines


def _ratios(blocks: Blocks, cpu: Sequence[Comparison]) -> list[Line]:
    found = [find(cpu, name, BASELINE) for name in blocks.trials]
    if not any(found):
        return []
    cells = [NOT_MEASURED if of is None or not of.is_ratio else joined(of.factor, of.low, of.high) for of in found]
    meaning = "server CPU per event as a multiple of the baseline's, paired by block, Holm-corrected"
    return [Line("ratio to the baseline", "×", meaning, cells)]


def _completeness(blocks: Blocks) -> list[Line]:
    counts = [blocks.counts(name) for name in blocks.trials]
    if not any(counts):
        return []
    meaning = Counts.__doc__ or ""
    return [
        Line(label, "", meaning, [_count(None if of is None else getattr(of, field)) for of in counts])
        for field, label in COUNTS.items()
    ]


def _count(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,}"
