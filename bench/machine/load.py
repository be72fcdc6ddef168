"""Load of the whole machine during a trial: time stolen by the hypervisor, and time used by other processes."""

import time
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from bench.machine.processes import cpu_ns
from feed.instruments.clock import NS_PER_S

TICKS_PER_S: Final = 100
"""USER_HZ, in which proc(5) counts on every Linux."""
STAT: Final = Path("/proc/stat")


class Machine(NamedTuple):
    """Seconds over all cores since the machine started; ``ours_s`` is the CPU of this process and its children."""

    busy_s: float
    stolen_s: float
    total_s: float
    ours_s: float


class Around(NamedTuple):
    """Shares of all cores' time between two readings."""

    steal_share: float
    other_load_share: float


def read_machine() -> Machine:
    """Read the counters. Children that have ended are not in ``ours_s``; none ends during the measured part."""
    ours_ns = time.process_time_ns()
    for child in psutil.Process().children(recursive=True):
        try:
            ours_ns += cpu_ns(child.pid)
        except OSError:
            continue  # ended between the two calls
    return Machine(*parse_stat(STAT.read_text()), ours_ns / NS_PER_S)


def parse_stat(text: str) -> tuple[float, float, float]:
    """Seconds in processes, stolen seconds and all seconds, from the first line of proc_stat(5).

    Interrupts are in neither of the first two: the kernel charges those of the loopback to no process. Raises
    ``ValueError``.
    """
    name, *fields = text.partition("\n")[0].split()
    if name != "cpu" or len(fields) < 8:
        raise ValueError(f"{text[:60]!r} is no line of proc_stat(5)")
    user, nice, system, idle, io_wait, hard, soft, steal = (int(field) / TICKS_PER_S for field in fields[:8])
    return user + nice + system, steal, user + nice + system + idle + io_wait + hard + soft + steal


def between(begin: Machine, end: Machine) -> Around:
    """Shares from one reading to the next."""
    total_s = max(end.total_s - begin.total_s, 1 / TICKS_PER_S)
    others_s = (end.busy_s - begin.busy_s) - (end.ours_s - begin.ours_s)
    return Around((end.stolen_s - begin.stolen_s) / total_s, max(0.0, others_s) / total_s)
