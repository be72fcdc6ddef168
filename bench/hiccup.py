"""How late a 1 ms timer wakes on each core: what the host takes away from everybody on it.

``python -m bench.hiccup`` is one meter, pinned by its starter; each line on stdin is answered by one JSON line with
the lateness since the last.
"""

import json
import os
import select
import sys
from pathlib import Path
from typing import Any

from bench.processes import Child, start
from feed.clock import NS_PER_MS, now_ns, timerfd_create, timerfd_set
from feed.meters import Lateness

INTERVAL_NS = NS_PER_MS


class Hiccups:
    """One meter on each of the given cores."""

    def __init__(self) -> None:
        self._meters: list[Child] = []

    async def start(self, cores: list[int], folder: Path) -> None:
        """Start the meters."""
        for core in cores:
            log = folder / f"hiccup-{core}.log"
            self._meters.append(await start(f"hiccup meter {core}", ["-m", "bench.hiccup"], core, log))
        await self.read()

    async def read(self) -> list[dict[str, Any]]:
        """The lateness on each core since the last call."""
        readings: list[dict[str, Any]] = []
        for meter in self._meters:
            assert meter.process.stdin is not None and meter.process.stdout is not None
            meter.process.stdin.write(b"\n")
            line = await meter.process.stdout.readline()
            meter.check_alive()
            readings.append(json.loads(line))
        return readings

    async def stop(self) -> None:
        """End the meters."""
        for meter in self._meters:
            await meter.stop()


def measure() -> None:
    """Be one meter until stdin ends."""
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
                due_ns += (expirations - 1) * INTERVAL_NS
                lateness.record(now_ns() - due_ns)
                due_ns += INTERVAL_NS
            elif not os.read(fd, 4096):
                return
            else:
                print(json.dumps(lateness.summary()), flush=True)
                lateness.reset()


if __name__ == "__main__":
    measure()
