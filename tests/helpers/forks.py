"""Servers in a twentieth of the time: one process loads ``servers``, and forks for each server that a test starts.

``python -m servers`` takes half a second, nearly all of it to load what it needs. A fork goes on with the same
``__main__``, its own pid, streams and end. The command itself runs in test_cli, test_stdio and every benchmark.
"""

import contextlib
import ctypes
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
MAX_REQUEST_BYTES = 65_536


class Forked:
    """One server's process, a child of this one; what ``subprocess.Popen`` offers, as far as tests use it."""

    def __init__(self, pid: int, stdout: IO[bytes]) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; ``None`` while it runs."""
        if self.returncode is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
            os.close(self._pidfd)
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end. Raises ``subprocess.TimeoutExpired``."""
        if self.poll() is None:
            waiting = select.poll()
            waiting.register(self._pidfd, select.POLLIN)
            if not waiting.poll(None if timeout_s is None else timeout_s * 1000):
                raise subprocess.TimeoutExpired(f"server {self.pid}", timeout_s or 0.0)
        code = self.poll()
        assert code is not None
        return code

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
    """The process that forks; it ends with this object's ``close`` or with its parent."""

    def __init__(self, folder: Path) -> None:
        # What a process leaves behind becomes the child of its nearest ancestor that asked for it: of this process.
        assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
                request = json.dumps([module, *arguments]).encode()
                socket.send_fds(self._requests, [request], [writer, stderr.fileno()])
        finally:
            os.close(writer)
        return Forked(int(self._requests.recv(MAX_REQUEST_BYTES)), os.fdopen(reader, "rb"))

    def close(self) -> None:
        """End the process that forks. What it started goes on."""
        self._requests.close()
        self._process.wait()


def load_servers() -> None:
    """Load everything that any server needs."""
    transports = import_module("feed.transports").TRANSPORTS
    for name in ("process.cli", *transports):
        import_module(f"servers.{name}")


def await_request(requests: socket.socket) -> list[str] | None:
    """Fork for each request. Returns its module and arguments in the fork; ``None`` once nobody can ask any more."""
    while True:
        request, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 2)
        if not request:
            return None
        if os.fork():  # the fork in between ends at once, so that its own fork has a new parent
            os.wait()
        elif pid := os.fork():
            requests.send(str(pid).encode())
            os._exit(0)
        else:
            requests.close()
            _take_streams(*fds)
            arguments: list[str] = json.loads(request)
            return arguments
        for fd in fds:
            os.close(fd)


def _take_streams(stdout: int, stderr: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, stream in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(fd, stream)
        os.close(fd)


if __name__ == "__main__":
    load_servers()
    with contextlib.suppress(KeyboardInterrupt):  # of a terminal: whoever started this will end it
        wanted = await_request(socket.socket(fileno=int(sys.argv[1])))
    if wanted is not None:
        sys.argv = [f"python -m {wanted[0]}", *wanted[1:]]
        runpy.run_module(wanted[0], run_name="__main__", alter_sys=True)
