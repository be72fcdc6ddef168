"""Child processes of a trial: started by name, pinned to a core, read through /proc, and always stopped."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 8.0
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


class ChildError(Exception):
    """A process did not start, or ended early; the message has the end of its stderr."""


class Child:
    """One process. Its stderr goes to ``log``; its first line on stdout, if awaited, is its ready line."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, log: Path) -> None:
        self.process = process
        self.name = name
        self.log = log
        self.ready: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self.process.pid

    async def await_ready(self) -> dict[str, Any]:
        """Wait for the one JSON line that says where the process serves. Raises ``ChildError``."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await self.process.stdout.readline()
            self.ready = json.loads(line)
        except (TimeoutError, ValueError) as error:
            raise ChildError(f"{self.name} did not become ready: {self.last_words()}") from error
        return self.ready

    def last_words(self) -> str:
        """The end of its stderr."""
        text = self.log.read_text(errors="replace").strip() if self.log.exists() else ""
        return text[-800:] or "nothing on stderr"

    def check_alive(self) -> None:
        """Raise ``ChildError`` if the process has ended."""
        if self.process.returncode is not None:
            raise ChildError(f"{self.name} ended with code {self.process.returncode}: {self.last_words()}")

    async def kill(self) -> None:
        """End the process and its children at once (SIGKILL)."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    async def stop(self) -> int:
        """End the process (SIGTERM, and SIGKILL after ``STOP_TIMEOUT_S``). Returns its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self.process.wait()
            except TimeoutError:
                await self.kill()
            except asyncio.CancelledError:  # Ctrl-C does not wait, and leaves no process either
                await self.kill()
                raise
        if self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()
        return self.process.returncode or 0


async def start(name: str, arguments: list[str], core: int | None, log: Path, **environment: str) -> Child:
    """Start ``python ARGUMENTS`` in the checkout, as ``start_program`` does."""
    return await start_program(name, [sys.executable, *arguments], core, log, **environment)


async def start_program(name: str, command: list[str], core: int | None, log: Path, **environment: str) -> Child:
    """Start a program in the checkout, pinned to ``core``, in a session of its own.

    A terminal's Ctrl-C reaches only this process, which stops its children; if it is killed, the kernel stops them.
    """

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})

    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **environment},
            start_new_session=True,
            preexec_fn=prepare,
        )
    return Child(process, name, log)


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all at once. Returns all results or raises the first error, after every one of them has ended.

    ``asyncio.gather`` lets the others go on when one fails or when it is cancelled. One that still stops a process
    would then lose its event loop.
    """
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


class ProcessReading(NamedTuple):
    """A process at one instant, and which one it was."""

    pid: int
    command: str
    """Its command line, words separated by blanks; of the program only the name, as results are published."""
    cpu_ns: int
    user_ticks: int
    system_ticks: int


def read_process(pid: int) -> ProcessReading:
    """Read a process through /proc."""
    program, *words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    command = b" ".join([program.rpartition(b"/")[2], *words]).decode(errors="replace")
    return ProcessReading(pid, command, cpu_ns(pid), *user_and_system_ticks(pid))


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process so far in nanoseconds, user and system together, from schedstat."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:  # a thread that has just ended
            continue
    return total


def user_and_system_ticks(pid: int) -> tuple[int, int]:
    """CPU time of a process so far in user and in kernel mode, in clock ticks (proc_pid_stat(5), fields 14 and 15).

    The kernel splits by sampling, so only the ratio over a second or more means something.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def rss_bytes(pid: int) -> int:
    """Resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def kernel_tcp_bytes() -> int:
    """Kernel memory of all TCP sockets of the host in bytes (/proc/net/sockstat)."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            fields = line.split()
            return int(fields[fields.index("mem") + 1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
