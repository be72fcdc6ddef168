"""The events' data: ``synthetic`` records of a chosen size, a ``replay`` of a recorded file, or the ``host``'s load.

A source yields ``Item``s: when an event is due (nanoseconds after the start), in which room, and how to make its data.
The data of a synthetic event is exactly ``payload_bytes`` long, its ``n`` and ``due_ns`` included.
"""

import math
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psutil

from feed.envelope import JSON_ENCODE
from feed.instruments.clock import NS_PER_S
from feed.rooms import DEFAULT_ROOM, RoomNameError, check_room, room_name
from feed.schedule import Schedule, dues
from feed.strict import JsonError, decode_strictly

MIN_PAYLOAD_BYTES: Final = 96
MAX_PAYLOAD_BYTES: Final = 65_536
MAX_REPLAY_BYTES: Final = 256 << 20
MAX_INSTANT_S: Final = 3e9
"""Longest play of a recording: a century, which fits 64 bits in nanoseconds."""
_LAST_INSTANT_NS: Final = 2**63 - 1
"""An instant with the most digits."""
_VENUES: Final = ("XLON", "XETR", "XPAR", "XNAS", "XTKS")
_SYMBOLS: Final = ("ACME", "BOLT", "CRUX", "DYNE", "ECHO", "FLUX", "GRID", "HALO")
_WORDS: Final = (
    "order fill partial quote cancel replace market limit stop opening closing auction halted resumed crossed "
    "booked routed dark lit block iceberg hidden midpoint peg sweep odd round lot spread depth level trade print "
    "late corrected busted cleared settled margin hedge delta gamma basis carry roll swap forward option strike"
).split()


class SourceError(ValueError):
    """The source cannot be used; the message names the file, line or option and what is allowed."""


class Item(NamedTuple):
    """One planned event. ``make`` turns its due time (CLOCK_MONOTONIC, ns) into its data as JSON text.

    ``live`` data is a reading and must be made at the due time; other data can be made ahead of it.
    """

    offset_ns: int
    room: str
    make: Callable[[int], bytes]
    live: bool = False


def synthetic_data(seed: int, room: str, n: int, payload_bytes: int, due_ns: int) -> bytes:
    """A trade record of exactly ``payload_bytes`` bytes, drawn from (seed, room, n), without constant filler."""
    draw = random.Random(f"{seed}-{room}-{n}")
    record: dict[str, Any] = {"n": n, "due_ns": due_ns}
    extra = {
        "symbol": draw.choice(_SYMBOLS),
        "price": round(draw.uniform(5, 500), 2),
        "size": draw.randrange(1, 10_000),
        "side": draw.choice(("buy", "sell")),
        "venue": draw.choice(_VENUES),
    }
    for name, value in extra.items():
        if len(JSON_ENCODE({**record, name: value, "note": ""})) > payload_bytes:
            break
        record[name] = value
    record["note"] = _text(draw, payload_bytes - len(JSON_ENCODE({**record, "note": ""})))
    return JSON_ENCODE(record)


def recorded_data(n: int, data: dict[str, Any], due_ns: int) -> bytes:
    """Recorded data, with new ``n`` and ``due_ns``."""
    return JSON_ENCODE({**data, "n": n, "due_ns": due_ns})


def host_data(n: int, due_ns: int) -> bytes:
    """This machine's load, read through psutil when it is published."""
    memory, disk, net = psutil.virtual_memory(), psutil.disk_io_counters(), psutil.net_io_counters()
    return JSON_ENCODE(
        {
            "n": n,
            "due_ns": due_ns,
            "cpu_percent": psutil.cpu_percent(interval=None),
            "memory_percent": memory.percent,
            "memory_used_bytes": memory.used,
            "network_sent_bytes": net.bytes_sent if net else 0,
            "network_received_bytes": net.bytes_recv if net else 0,
            "disk_read_bytes": disk.read_bytes if disk else 0,
            "disk_written_bytes": disk.write_bytes if disk else 0,
        }
    )


def check_payload_bytes(payload_bytes: int) -> int:
    """Return ``payload_bytes`` if a synthetic event can have that size. Raises ``SourceError``."""
    if not MIN_PAYLOAD_BYTES <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise SourceError(f"payload_bytes {payload_bytes}: allowed are {MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}")
    return payload_bytes


def synthetic(schedule: Schedule, payload_bytes: int) -> Iterator[Item]:
    """Synthetic records on a schedule."""
    check_payload_bytes(payload_bytes)
    for due in dues(schedule):
        room = room_name(due.room)
        yield Item(due.offset_ns, room, partial(synthetic_data, schedule.seed, room, due.n, payload_bytes))


def host(schedule: Schedule) -> Iterator[Item]:
    """This machine's load on a schedule."""
    psutil.cpu_percent(interval=None)  # the first call only starts the measurement
    for due in dues(schedule):
        yield Item(due.offset_ns, room_name(due.room), partial(host_data, due.n), live=True)


class ReplayLine(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a replay file: seconds since the recording began, the data, and the room."""

    at_s: float
    data: dict[str, Any]
    room: str = DEFAULT_ROOM


_REPLAY_DECODER: Final = msgspec.json.Decoder(ReplayLine)


def load_replay(path: Path, speed: float = 1.0, rooms: frozenset[str] | None = None) -> list[Item]:
    """Read a recording: one JSON object per line, ``at_s`` never falling; ``speed`` 2 plays it in half the time.

    Only the given ``rooms`` may be named (``None``: any). Raises ``SourceError``, which names file, line and reason,
    before anything is published.
    """
    if not (math.isfinite(speed) and 0 < speed <= 1e6):
        raise SourceError(f"replay speed {speed}: allowed is above 0 up to 1000000")
    try:
        size = path.stat().st_size
        if size > MAX_REPLAY_BYTES:
            raise SourceError(f"{path}: {size} bytes is over the bound of {MAX_REPLAY_BYTES}")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    items: list[Item] = []
    numbers: dict[str, int] = {}
    last_s = 0.0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        recorded = _replay_line(line, f"{path}, line {number}", last_s)
        if rooms is not None and recorded.room not in rooms:
            raise SourceError(f"{path}, line {number}: room {recorded.room!r} is not served; --rooms is {len(rooms)}")
        if recorded.at_s / speed > MAX_INSTANT_S:
            raise SourceError(
                f"{path}, line {number}: at_s {recorded.at_s} at speed {speed} is over {MAX_INSTANT_S:g} s"
            )
        last_s = recorded.at_s
        n = numbers.get(recorded.room, 0)
        numbers[recorded.room] = n + 1
        make = partial(recorded_data, n, recorded.data)
        size = len(make(_LAST_INSTANT_NS))
        if size > MAX_PAYLOAD_BYTES:
            raise SourceError(
                f"{path}, line {number}: its data would be {size} bytes, with n and due_ns; "
                f"allowed are {MAX_PAYLOAD_BYTES}"
            )
        items.append(Item(round(recorded.at_s / speed * NS_PER_S), recorded.room, make))
    if not items:
        raise SourceError(f"{path}: holds no events; expected one JSON object per line")
    if items[-1].offset_ns == 0:  # played in a loop, it would publish everything at once
        raise SourceError(f"{path}: lasts 0 s at speed {speed:g}; the last at_s must be above 0")
    return items


def _replay_line(line: bytes, where: str, last_s: float) -> ReplayLine:
    try:
        recorded = decode_strictly(line, _REPLAY_DECODER)
        check_room(recorded.room)
    except (JsonError, RoomNameError) as error:
        raise SourceError(f"{where}: {error}") from error
    if not (math.isfinite(recorded.at_s) and recorded.at_s >= last_s):
        raise SourceError(f"{where}: at_s {recorded.at_s} is before the line above it ({last_s})")
    return recorded


def _text(draw: random.Random, length: int) -> str:
    """Words up to exactly ``length`` characters."""
    words: list[str] = []
    size = 0
    while size < length + 1:
        word = draw.choice(_WORDS)
        words.append(word)
        size += len(word) + 1
    return " ".join(words)[:length]
