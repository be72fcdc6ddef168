"""Lateness of a 1 ms timer on each core, in microseconds: stalls of the host that delay every process on it.

``python -m bench.machine.hiccup`` is one meter, pinned to a core by its starter. It answers each line on stdin with one
JSON line: the lateness since the line before.
"""

import json
import os
import select
import sys
from pathlib import Path
from typing import Any, Final

from bench.machine.processes import Child, start, together
from feed.instruments.clock import now_ns, run_first, timerfd_create, timerfd_set
from feed.instruments.meters import Lateness

INTERVAL_NS: Final = 1_037_000
"""About 1 ms, and never in step with the kernel's tick (1, 4 or 10 ms), by which CPU time is charged: a meter that is
awake at every tick would make its core look busy (decision 0010)."""


class Hiccups:
    """One meter on each of the given cores."""

    def __init__(self) -> None:
        self.meters: list[Child] = []

    async def start(self, cores: list[int], folder: Path) -> None:
        """Start the meters."""
        for core in cores:
            log = folder / f"hiccup-{core}.log"
            self.meters.append(await start(f"hiccup meter {core}", ["-m", "bench.machine.hiccup"], core, log))
        await self.read()

    async def read(self) -> list[dict[str, Any]]:
        """The lateness on each core since the last call."""
        readings: list[dict[str, Any]] = []
        for meter in self.meters:
            assert meter.process.stdin is not None and meter.process.stdout is not None
            meter.process.stdin.write(b"\n")
            line = await meter.process.stdout.readline()
            meter.check_alive()
            readings.append(json.loads(line))
        return readings

    async def stop(self) -> None:
        """End the meters."""
        await together(*(meter.stop() for meter in self.meters))


def record_ticks(lateness: Lateness, due_ns: int, expirations: int, at_ns: int) -> int:
    """Record every tick that a wake-up at ``at_ns`` answers, the first one due at ``due_ns``. Returns the next due.

    A wake-up after a stall of 100 ms answers some 100 ticks, 100 to 1 ms late; recording only one would hide the stall.
    """
    for tick in range(expirations):
        lateness.record(at_ns - (due_ns + tick * INTERVAL_NS))
    return due_ns + expirations * INTERVAL_NS


def measure() -> None:
    """Be one meter until stdin ends."""
    run_first(2)  # before relay and probes, too: the meter is for the host, not for other processes of ours on its core
    lateness = Lateness()
    timer = timerfd_create()
    due_ns = now_ns() + INTERVAL_NS
    timerfd_set(timer, due_ns, INTERVAL_NS)
    poll = select.poll()
    poll.register(timer, select.POLLIN)
    poll.register(sys.stdin.fileno(), select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == timer:
                expirations = int.from_bytes(os.read(timer, 8), sys.byteorder)
                due_ns = record_ticks(lateness, due_ns, expirations, now_ns())
            elif not os.read(fd, 4096):
                return
            else:
                print(json.dumps(lateness.summary()), flush=True)
                lateness.reset()


if __name__ == "__main__":
    measure()
