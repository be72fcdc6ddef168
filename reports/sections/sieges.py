"""What bad peers cost, and whether good ones notice, as a table from faults.json. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from bench.results.reliability import HostileTrial
from reports.formats import number
from reports.layout import Table
from reports.style import LOOKS

KIB: Final = 1024
MOST_KIB_PER_PEER: Final = 64.0
MOST_TIMES: Final = 2.0
MOST_MORE_MS: Final = 5.0
"""The good ones' p99 under siege may be so many times what it is in peace, and so many milliseconds more."""
SIEGE_NAMES: Final = {
    "half_open_handshake": "never finish the handshake",
    "slowloris": "send 1 byte a second",
    "non_reading": "stop reading",
    "reset_mid_message": "cut in mid-message",
}


def siege_table(sieges: Sequence[HostileTrial]) -> Table:
    """A line per siege and transport; medians over repeats, lowest to highest in brackets."""
    found: dict[tuple[str, str], list[HostileTrial]] = {}
    for one in sieges:
        found.setdefault((one.attack, one.transport), []).append(one)
    kinds, transports = list(SIEGE_NAMES), list(LOOKS)
    order = sorted(found, key=lambda key: (kinds.index(key[0]), transports.index(key[1])))
    rows = [_row(found[key]) for key in order]
    head = ["Bad peers", "Transport", "KiB per bad peer", "p99 in peace, ms", "p99 under siege, ms", "Delivered", ""]
    notes = [
        f"Held: at most {MOST_KIB_PER_PEER:g} KiB of the server's resident memory per bad peer, and a p99 of the good "
        f"clients of at most {MOST_TIMES:g} times that in peace plus {MOST_MORE_MS:g} ms, medians of the repeats; "
        "nothing lost. Polling's latency is its interval of 0.2 s.",
    ]
    return Table("Bad peers beside good ones", head, rows, notes)


def _row(of: Sequence[HostileTrial]) -> list[str]:
    first = of[0]
    rate = " a second" if first.attack == "reset_mid_message" else ""
    peers = f"{first.hostile_clients:,}{rate} {SIEGE_NAMES[first.attack]}"
    return [
        peers,
        LOOKS[first.transport].name,
        _spread([one.rss_bytes_per_hostile_client / KIB for one in of]),
        _spread([one.baseline_ms_p99 for one in of]),
        _spread([one.attack_ms_p99 for one in of]),
        f"{sum(one.delivered for one in of):,} of {sum(one.expected for one in of):,}",
        "held" if held(of) else "not held",
    ]


def held(of: Sequence[HostileTrial]) -> bool:
    """Are the bounds kept, in the middle of the repeats?"""
    memory_kib = median(one.rss_bytes_per_hostile_client for one in of) / KIB
    calm_ms, siege_ms = median(one.baseline_ms_p99 for one in of), median(one.attack_ms_p99 for one in of)
    complete = all(one.delivered == one.expected for one in of)
    return complete and memory_kib <= MOST_KIB_PER_PEER and siege_ms <= MOST_TIMES * calm_ms + MOST_MORE_MS


def _spread(values: Sequence[float]) -> str:
    middle = number(median(values))
    return f"{middle} [{number(min(values))}, {number(max(values))}]" if len(values) > 1 else middle
