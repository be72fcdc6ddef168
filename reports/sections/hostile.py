"""What hostile clients cost the server, and whether well-behaved ones notice: a table of the section on faults."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from bench.results.reliability import HostileTrial
from reports.formats import number
from reports.layout import Table
from reports.style import LOOKS

KIB: Final = 1024
MAX_KIB_PER_CLIENT: Final = 64.0
"""Resident memory that a hostile client may cost the server, in KiB."""
MAX_FACTOR: Final = 2.0
MAX_ADDED_MS: Final = 5.0
"""Under attack the well-behaved clients' p99 may be at most this factor times the baseline p99, plus this many ms."""
ATTACK_NAMES: Final = {
    "half_open_handshake": "half-open handshake",
    "slowloris": "slowloris: 1 byte a second",
    "non_reading": "non-reading",
    "reset_mid_message": "reset mid-message",
}


def hostile_table(trials: Sequence[HostileTrial]) -> Table:
    """A line per attack and transport; medians over repeats, lowest to highest in brackets."""
    found: dict[tuple[str, str], list[HostileTrial]] = {}
    for one in trials:
        found.setdefault((one.attack, one.transport), []).append(one)
    attacks, transports = list(ATTACK_NAMES), list(LOOKS)
    order = sorted(found, key=lambda key: (attacks.index(key[0]), transports.index(key[1])))
    rows = [_row(found[key]) for key in order]
    head = [
        "Attack",
        "Clients",
        "Transport",
        "KiB per hostile client",
        "Baseline p99, ms",
        "p99 under attack, ms",
        "Delivered",
        "",
    ]
    notes = [
        f"Held: at most {MAX_KIB_PER_CLIENT:g} KiB of the server's resident memory per hostile client, and a p99 of "
        f"the well-behaved clients under attack of at most {MAX_FACTOR:g} times the baseline p99 plus "
        f"{MAX_ADDED_MS:g} ms, medians of the repeats; nothing lost. Polling's latency is its interval of 0.2 s.",
    ]
    return Table("Hostile clients", head, rows, notes)


def _row(of: Sequence[HostileTrial]) -> list[str]:
    first = of[0]
    rate = " a second" if first.attack == "reset_mid_message" else ""
    return [
        ATTACK_NAMES[first.attack],
        f"{first.hostile_clients:,}{rate}",
        LOOKS[first.transport].name,
        _spread([one.rss_bytes_per_hostile_client / KIB for one in of]),
        _spread([one.baseline_ms_p99 for one in of]),
        _spread([one.attack_ms_p99 for one in of]),
        f"{sum(one.delivered for one in of):,} of {sum(one.expected for one in of):,}",
        "held" if held(of) else "not held",
    ]


def held(of: Sequence[HostileTrial]) -> bool:
    """Are the bounds kept by the medians of the repeats, and was everything delivered?"""
    memory_kib = median(one.rss_bytes_per_hostile_client for one in of) / KIB
    baseline_ms, attack_ms = median(one.baseline_ms_p99 for one in of), median(one.attack_ms_p99 for one in of)
    complete = all(one.delivered == one.expected for one in of)
    return complete and memory_kib <= MAX_KIB_PER_CLIENT and attack_ms <= MAX_FACTOR * baseline_ms + MAX_ADDED_MS


def _spread(values: Sequence[float]) -> str:
    middle = number(median(values))
    return f"{middle} [{number(min(values))}, {number(max(values))}]" if len(values) > 1 else middle
