"""Servers in a twentieth of the time: one process loads ``servers``, and forks for each server that a test starts.

``python -m servers`` takes half a second, nearly all of it to load what it needs. A fork goes on with the same
``__main__``, its own pid, streams and end. The command itself runs in test_cli, test_stdio and every benchmark.
"""

import contextlib
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

MAX_REQUEST_BYTES = 65_536


class Forked:
    """One server's process; what ``subprocess.Popen`` offers, as far as tests use it."""

    def __init__(self, pid: int, stdout: IO[bytes], forks: "Forks") -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._forks = forks
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; ``None`` while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._pidfd, select.POLLIN)
            if not waiting.poll(None if timeout_s is None else timeout_s * 1000):
                raise subprocess.TimeoutExpired(f"server {self.pid}", timeout_s or 0.0)
            self.returncode = self._forks.exit_code(self.pid)
            os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Forks:
    """The process that forks, which ends with ``close`` or when this process does."""

    def __init__(self, folder: Path) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._one_at_a_time = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.helpers.forks", str(theirs.fileno())],
                cwd=folder,
                pass_fds=[theirs.fileno()],
            )

    def start(self, module: str, arguments: Sequence[str], log: Path) -> Forked:
        """``python -m MODULE ARGUMENTS`` with stderr in ``log`` and a pipe as stdout."""
        reader, writer = os.pipe()
        try:
            with log.open("wb") as stderr:
                pid = self._ask([module, *arguments], [writer, stderr.fileno()])
        finally:
            os.close(writer)
        return Forked(pid, os.fdopen(reader, "rb"), self)

    def exit_code(self, pid: int) -> int:
        """The exit code of a server that has ended."""
        return self._ask(pid, [])

    def close(self) -> None:
        """End the process that forks. What it started goes on."""
        self._requests.close()
        self._process.wait()

    def _ask(self, request: list[str] | int, fds: list[int]) -> int:
        with self._one_at_a_time:
            socket.send_fds(self._requests, [json.dumps(request).encode()], fds)
            return int(self._requests.recv(MAX_REQUEST_BYTES))


def load_servers() -> None:
    """Load everything that any server needs."""
    transports = import_module("feed.transports").TRANSPORTS
    for name in ("process.cli", *transports):
        import_module(f"servers.{name}")


def serve(requests: socket.socket) -> list[str] | None:
    """Answer requests: fork, or wait for a fork that has ended.

    Returns in a fork, with its module and arguments; and with ``None`` once nobody can ask any more.
    """
    while True:
        request, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 2)
        if not request:
            return None
        wanted: list[str] | int = json.loads(request)
        if isinstance(wanted, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(wanted, 0)[1])
        elif not (answer := os.fork()):
            requests.close()
            _take_streams(*fds)
            return wanted
        for fd in fds:
            os.close(fd)
        requests.send(str(answer).encode())


def _take_streams(stdout: int, stderr: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, stream in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(fd, stream)
        os.close(fd)


if __name__ == "__main__":
    load_servers()
    wanted = None
    with contextlib.suppress(KeyboardInterrupt):  # of a terminal: whoever started this will end it
        wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        sys.argv = [f"python -m {wanted[0]}", *wanted[1:]]
        try:
            runpy.run_module(wanted[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            # To take down all that is loaded would cost a fork more than its start: each page is copied first.
            code = end.code
        else:
            code = 0
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
