"""Fixtures: real servers as child processes, and checks that nothing is left behind."""

import asyncio
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from click.testing import CliRunner

from bench.capture.pcap import CaptureError
from bench.capture.tcpdump import check_capture
from bench.results.run import Trial
from clients.contract.feed import Target
from feed.transports import TRANSPORTS
from tests.helpers.forks import Forked, Forks

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing: apt-get install curl")

ROOT = Path(__file__).resolve().parent.parent
VERSION_1 = ROOT / "tests" / "data" / "version_1"
"""The first published run, with results of schema version 1."""
STOP_TIMEOUT_S = 60
"""Far beyond what a busy machine takes: only a server that hangs is waited for so long."""
MOST_SHARED = 24
"""Servers that stay up for the next test that shares them; more would only take memory."""
BUSY_S = 280.0
"""How long a command may take on a machine that does much else: less than ``faulthandler_timeout``."""
SERVED = [*TRANSPORTS, *(f"{name}:{variant}" for name, row in TRANSPORTS.items() for variant in row.variants)]
"""Every transport, and every variant as ``transport:variant``; ``start`` takes both."""


class Running(NamedTuple):
    """A server or relay under test."""

    process: "Forked | subprocess.Popen[bytes]"
    ready: dict[str, Any]
    log: Path

    @property
    def port(self) -> int:
        return int(self.ready["port"])

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def target(self) -> Target:
        return Target(
            self.ready["transport"], self.url, self.ready["control_url"], variant=self.ready["options"]["variant"]
        )

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


Start = Callable[..., Running]
Launch = Callable[[str, Sequence[str], Path], "Forked | subprocess.Popen[bytes]"]
"""Starts ``python -m MODULE ARGUMENTS``, its stderr in a file."""


def pytest_collection_finish() -> None:
    """Importing locust monkey-patches the process, and the tests in it hang or fail without a hint of it."""
    assert "locust" not in sys.modules, "a test module imports locust: start a process instead"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests begin first, so that none is left alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def tcpdump() -> None:
    """Packets can be captured here; else the test is skipped, with what to install or allow."""
    try:
        run(check_capture())
    except CaptureError as error:
        pytest.skip(str(error))


@contextmanager
def starting(folder: Path, launch: Launch) -> Iterator[Start]:
    """Start ``python -m servers ARGUMENTS`` on a free port; each must exit with 0 and without a traceback."""
    running: list[Running] = []

    def start_one(*arguments: str, free_port: bool = True) -> Running:
        log = folder / f"server-{len(running)}.log"
        name, _, variant = arguments[0].partition(":")
        arguments = (name, *(["--variant", variant] if variant else []), *arguments[1:])
        process = launch("servers", [*arguments, *(["--port", "0"] if free_port else [])], log)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        one = Running(process, json.loads(line), log)
        running.append(one)
        return one

    yield start_one
    killed = {one.process.pid for one in running if one.process.poll() == -signal.SIGKILL}
    codes = {one.process.pid: one.stop() for one in running}
    for one in running:
        assert one.process.stdout is not None
        one.process.stdout.close()
        said = one.log.read_text()
        assert "Traceback" not in said, said
        assert one.process.pid in killed or codes[one.process.pid] == 0, (codes, said)


class SharedServers:
    """Running servers by their arguments; the one that was not used for longest is stopped when there are too many."""

    def __init__(self, start_one: Start) -> None:
        self._start_one = start_one
        self._servers: OrderedDict[tuple[str, ...], Running] = OrderedDict()

    def get(self, *arguments: str) -> Running:
        """The server with exactly these arguments; started if there is none."""
        if arguments not in self._servers:
            if len(self._servers) == MOST_SHARED:
                self._servers.popitem(last=False)[1].stop()
            self._servers[arguments] = self._start_one(*arguments)
        self._servers.move_to_end(arguments)
        return self._servers[arguments]

    def check(self, *arguments: str) -> None:
        """It still runs, and logged no traceback; otherwise the next test gets a new one."""
        server = self._servers[arguments]
        said = server.log.read_text()
        if server.process.poll() is not None or "Traceback" in said:
            del self._servers[arguments]
            pytest.fail(f"{arguments}: exit code {server.process.poll()}, and in its log:\n{said}")


def launch_command(module: str, arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """The command itself, as a user starts it."""
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr
        )


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Where this worker's servers come from."""
    forking = Forks(ROOT)
    yield forking
    forking.close()


@pytest.fixture
def start(tmp_path: Path, forks: Forks) -> Iterator[Start]:
    """Start servers for one test (``starting``), which may count in them, stop them or kill them."""
    with starting(tmp_path, forks.start) as start_one:
        yield start_one


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Iterator[SharedServers]:
    """The servers of this worker that outlive a test."""
    with starting(tmp_path_factory.mktemp("shared"), forks.start) as start_one:
        yield SharedServers(start_one)


@pytest.fixture
def share(shared_servers: SharedServers) -> Iterator[Start]:
    """A server that earlier and later tests use too: for rooms and users of a test's own, and no count of the server's.

    It is looked at after each test, and must end with 0 and without a traceback (``starting``).
    """
    used: set[tuple[str, ...]] = set()

    def get(*arguments: str) -> Running:
        used.add(arguments)
        return shared_servers.get(*arguments)

    yield get
    for arguments in used:
        shared_servers.check(*arguments)


@pytest.fixture(params=list(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> str:
    """Every transport in turn."""
    return str(request.param)


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest) -> str:
    """Every transport and every variant in turn."""
    return str(request.param)


@pytest.fixture(params=[name for name in SERVED if name != "raw"])
def served_upstream(request: pytest.FixtureRequest) -> str:
    """Everything that takes requests: every transport and variant but the baseline."""
    return str(request.param)


@pytest.fixture(params=[name for name in TRANSPORTS if name != "raw"])
def upstream(request: pytest.FixtureRequest) -> str:
    """Every transport that takes requests, without variants: for what variants have no part in."""
    return str(request.param)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on uvloop, as servers and clients do."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def run_module(*arguments: str, timeout_s: float = BUSY_S, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m ARGUMENTS`` in the checkout."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )


def invoke(module: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What ``run_module`` returns, without a process: for refusals and reports, where Python's start is all the time.

    Each command has real processes elsewhere (test_stdio, test_cli), for what only they have: streams and signals.
    """
    main = importlib.import_module("servers.process.cli" if module == "servers" else f"{module}.cli").main
    done = CliRunner(env=environment).invoke(main, arguments, prog_name=f"python -m {module}")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def planned_count(trials: Sequence[Trial], max_reruns: int = 2) -> int:
    """How many trials were planned: each stands there once, and again only directly after an invalid attempt."""
    first = [trial.id for trial in trials if trial.attempt == 1]
    for before, after in pairwise(trials):
        expected = (before.id, before.attempt + 1, "invalid") if after.attempt > 1 else (after.id, 1, before.status)
        assert (after.id, after.attempt, before.status) == expected
    assert len(set(first)) == len(first) >= len(trials) - max_reruns
    return len(first)


def unfit(trial: Trial) -> bool:
    """Had the host no time at all for this trial's publisher?"""
    return not trial.metrics and any(reason.startswith("UnfitError: ") for reason in trial.reasons)


def render_as_valid(folder: Path, trials: Iterable[Trial], write: Callable[[], object]) -> None:
    """Count trials that were measured beside other tests as valid, and render their report again.

    Tests share the machine, so any trial may be invalid; what such a test asks for is not speed.
    """
    measured = False
    for trial in trials:
        assert trial.status in ("ok", "invalid"), (trial.id, trial.attempt, trial.reasons)
        assert trial.metrics or unfit(trial), (trial.id, trial.attempt, trial.reasons)
        if trial.metrics:
            trial.status, measured = "ok", True
    assert measured
    write()
    done = invoke("reports", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr


async def until(condition: Callable[[], bool | Coroutine[Any, Any, bool]], what: str, timeout_s: float = 60) -> None:
    """Wait for a condition; fail naming it if it does not come true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        outcome = condition()
        if await outcome if asyncio.iscoroutine(outcome) else outcome:
            return
        assert loop.time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)
