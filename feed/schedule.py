"""When events are due, and in which room: seeded, so that every transport of a block gets the same schedule."""

import itertools
import random
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from feed.instruments.clock import NS_PER_S
from feed.rooms import MAX_ROOMS

KINDS: Final = ("poisson", "constant", "burst")
MIN_RATE_HZ: Final = 1e-6
MAX_RATE_HZ: Final = 100_000.0
MAX_LIMIT: Final = 10**12
"""Most events of one schedule: four months at the highest rate."""


class ScheduleError(ValueError):
    """The schedule cannot be followed; the message names the wrong value and what is allowed."""


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rate_hz`` events per second over all ``rooms`` together.

    ``poisson``: exponential gaps, each event in a room drawn uniformly, which makes every room's events a Poisson
    process of rate ``rate_hz / rooms``. ``constant``: equal gaps, rooms in turn. ``burst``: ``burst_events`` at one
    instant every ``burst_events / rate_hz`` seconds, rooms in turn. ``limit`` ends the schedule after that many
    events (0: never).
    """

    kind: str = "poisson"
    rate_hz: float = 1.0
    rooms: int = 1
    seed: int = 1
    burst_events: int = 10
    limit: int = 0

    def check(self) -> "Schedule":
        """Return self, or raise ``ScheduleError``."""
        if self.kind not in KINDS:
            raise ScheduleError(f"schedule kind {self.kind!r}: allowed are {', '.join(KINDS)}")
        if not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            raise ScheduleError(f"rate_hz {self.rate_hz}: allowed are {MIN_RATE_HZ:g} to {MAX_RATE_HZ:g} per second")
        if not 1 <= self.rooms <= MAX_ROOMS:
            raise ScheduleError(f"rooms {self.rooms}: allowed are 1 to {MAX_ROOMS}")
        if not 1 <= self.burst_events <= 100_000:
            raise ScheduleError(f"burst_events {self.burst_events}: allowed are 1 to 100000")
        if not 0 <= self.limit <= MAX_LIMIT:
            raise ScheduleError(f"limit {self.limit}: allowed is 0 (none) or a number of events up to {MAX_LIMIT}")
        return self


class Due(NamedTuple):
    """One planned event: nanoseconds after the start, the room's index, and the event's number in its room."""

    offset_ns: int
    room: int
    n: int


def dues(schedule: Schedule) -> Iterator[Due]:
    """The events of a schedule in order of time; endless without a limit."""
    numbers = [0] * schedule.rooms
    instants = _INSTANTS[schedule.kind](schedule)
    if schedule.limit:
        instants = itertools.islice(instants, schedule.limit)
    for offset_ns, room in instants:
        yield Due(offset_ns, room, numbers[room])
        numbers[room] += 1


def _poisson(schedule: Schedule) -> Iterator[tuple[int, int]]:
    draw = random.Random(f"poisson-{schedule.seed}")
    at_s = 0.0
    while True:
        at_s += draw.expovariate(schedule.rate_hz)
        yield round(at_s * NS_PER_S), draw.randrange(schedule.rooms)


def _constant(schedule: Schedule) -> Iterator[tuple[int, int]]:
    for i in itertools.count(1):
        yield round(i * NS_PER_S / schedule.rate_hz), (i - 1) % schedule.rooms


def _burst(schedule: Schedule) -> Iterator[tuple[int, int]]:
    for i in itertools.count():
        burst = i // schedule.burst_events + 1
        yield round(burst * schedule.burst_events * NS_PER_S / schedule.rate_hz), i % schedule.rooms


_INSTANTS: Final = {"poisson": _poisson, "constant": _constant, "burst": _burst}
