"""The measured part of a schedule: which events count, and between which instants counters are compared. Pure."""

from itertools import islice
from typing import Final, NamedTuple

from feed.instruments.clock import NS_PER_S
from feed.schedule import Due, Schedule, dues

EDGE: Final = 0.9
"""Where in a gap of a constant schedule the measured part begins and ends: shortly before the next event."""


class Window(NamedTuple):
    """Offsets from the schedule's start in nanoseconds, and the events that are due in between.

    It begins when the last warm-up event is due and ends when the last measured event is due, so both ends lie at an
    event and exactly the measured events lie between them. On a constant schedule it begins and ends later by ``EDGE``
    of a gap: no delivery is on its way then, unless the server paused for so long, so that none is cut.
    """

    begin_ns: int
    end_ns: int
    events: list[Due]


def window(schedule: Schedule, warmup_events: int, measured_events: int) -> Window:
    """Cut the measured part out of a schedule."""
    first = list(islice(dues(schedule), warmup_events + measured_events))
    begin_ns = first[warmup_events - 1].offset_ns if warmup_events else 0
    after_ns = round(EDGE * NS_PER_S / schedule.rate_hz) if schedule.kind == "constant" else 0
    return Window(begin_ns + after_ns, first[-1].offset_ns + after_ns, first[warmup_events:])
