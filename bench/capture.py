"""tcpdump on the loopback, while something runs."""

import asyncio
import shutil
import time
from pathlib import Path
from typing import Final, NamedTuple

from feed.clock import now_ns

START_TIMEOUT_S: Final = 10.0
QUIET_S: Final = 0.2
BUFFER_KIB: Final = 65_536
"""Of the kernel's: what comes faster than tcpdump writes is kept, or its end says that it was not."""


class CannotCaptureError(Exception):
    """No capture can be made here; the message says what is missing."""


class Clocks(NamedTuple):
    """CLOCK_REALTIME minus CLOCK_MONOTONIC, ns: stamps are of the first, everything else of the second."""

    offset_ns: int


def read_clocks() -> Clocks:
    """The narrowest of a few readings."""
    readings = []
    for _ in range(20):
        before = now_ns()
        realtime = time.time_ns()
        after = now_ns()
        readings.append((after - before, realtime - (before + after) // 2))
    return Clocks(min(readings)[1])


class Capture:
    """One capture of all TCP on the loopback, into ``file``. An async context manager."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.said = ""

    async def __aenter__(self) -> "Capture":
        tcpdump = shutil.which("tcpdump")
        if tcpdump is None:
            raise CannotCaptureError("tcpdump is missing: apt-get install tcpdump")
        options = ("--immediate-mode", "--time-stamp-precision=nano", "-U", "-B", str(BUFFER_KIB), "-i", "lo", "-n")
        self._process = await asyncio.create_subprocess_exec(
            tcpdump, *options, "-w", str(self.file), "tcp", stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stderr is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            while "listening" not in self.said:
                line = (await self._process.stderr.readline()).decode(errors="replace")
                if not line:
                    said = " ".join(self.said.split())
                    raise CannotCaptureError(f"tcpdump may not capture: it needs root or CAP_NET_RAW ({said})")
                self.said += line
        return self

    async def __aexit__(self, *failure: object) -> None:
        size = -1
        while self.file.stat().st_size != size:  # until nothing more is written
            size = self.file.stat().st_size
            await asyncio.sleep(QUIET_S)
        self._process.terminate()
        _, rest = await self._process.communicate()
        self.said += rest.decode(errors="replace")

    @property
    def dropped(self) -> int:
        """Packets that the kernel could not keep for tcpdump."""
        lines = [line for line in self.said.splitlines() if "dropped by kernel" in line]
        return int(lines[0].split()[0]) if lines else 0
