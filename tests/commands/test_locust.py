"""Stock locust with our locustfile: headless, several processes, master and workers, web UI; true statistics."""

import asyncio
import json
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.machine.ports import free_port
from clients.control import Control
from feed.schedule import Schedule
from tests.conftest import ROOT, Running, Start, run, until

LOCUST = [sys.executable, "-m", "locust", "-f", "bench/locustfile.py"]
TEN_USERS = ["-u", "10", "-r", "10"]
QUIETLY = ["--headless", "--only-summary"]
HEADLESS = [*QUIETLY, *TEN_USERS]
RATE_HZ = 40
ENOUGH = 200
"""Deliveries, to ten users."""


def locust(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*LOCUST, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def entry(file: Path) -> dict[str, Any]:
    """Our deliveries in locust's own statistics as it ends (its CSV files lag by up to two seconds)."""
    entries: list[dict[str, Any]] = json.loads(file.read_text())
    return next(one for one in entries if one["method"] == "EVENT")


def test_the_web_ui_and_the_statistics_count_what_the_server_handed_over(
    start: Start, transport: str, tmp_path: Path
) -> None:
    """Nothing is published before all are connected and once there is enough, so that nothing is on its way then."""
    began_s = time.monotonic()
    server, port = start(transport, "--source", "none"), free_port()
    command = [*LOCUST, "--autostart", "--web-host", "127.0.0.1", "--web-port", str(port), *TEN_USERS]
    command += ["--host", server.url, "--poll-interval-s", "0.05", "--json-file", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            sent = run(_all_heard(server, port))
        finally:
            process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    mine = entry(tmp_path / "out.json")
    assert (mine["num_requests"], mine["num_failures"]) == (sent, 0)
    assert sum(mine["response_times"].values()) == sent
    assert 0 <= mine["min_response_time"] <= mine["max_response_time"] <= 1000 * (time.monotonic() - began_s)
    assert mine["total_content_length"] == 256 * sent


async def _all_heard(server: Running, web_port: int) -> int:
    """Wait until the web UI shows as many deliveries as the server has made, some 200. Returns that number."""
    async with Control(server.ready["control_url"]) as control:

        async def deliveries() -> int:
            return int((await control.stats())["deliveries"])

        async def enough() -> bool:
            return await deliveries() >= ENOUGH

        async def equal() -> bool:
            return await asyncio.to_thread(_shown, web_port) == await deliveries()

        await until(lambda: _connected(server), "ten subscribers", timeout_s=60)
        await control.start_feed(Schedule("constant", RATE_HZ), 256)
        await until(enough, f"{ENOUGH} deliveries", timeout_s=60)
        await control.stop_feed()
        await until(equal, "all deliveries in the web UI", timeout_s=60)
        return await deliveries()


def _shown(web_port: int) -> int:
    """Our deliveries in the statistics of locust's web UI."""
    with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/stats/requests", timeout=5) as answer:
        stats = json.load(answer)["stats"]
    return sum(one["num_requests"] for one in stats if one["method"] == "EVENT")


def stopped_once(
    condition: Callable[[], bool | Coroutine[Any, Any, bool]], what: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Let locust run until something has come true, and stop it by a signal: a time limit may pass while it starts."""
    command = [*LOCUST, *TEN_USERS, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            run(until(condition, what, timeout_s=60))
        finally:
            process.terminate()
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def heard_by_all(server: Running, folder: Path, *arguments: str) -> int:
    """What locust counted until it was stopped, some time after enough was delivered to ten subscribers."""
    file = ("--json-file", str(folder / "out"))
    done = stopped_once(lambda: _delivered(server, 10 * ENOUGH), "deliveries", *QUIETLY, *arguments, *file)
    assert done.returncode == 0, done.stderr
    return int(entry(folder / "out.json")["num_requests"])


async def _delivered(server: Running, count: int) -> bool:
    async with Control(server.ready["control_url"]) as control:
        return int((await control.stats())["deliveries"]) >= count


def test_processes(start: Start, tmp_path: Path) -> None:
    server = start("sse", "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    port = str(free_port())
    arguments = ("--processes", "2", "--master-bind-port", port, "--master-port", port, "--host", server.url)
    assert heard_by_all(server, tmp_path, *arguments) >= ENOUGH


LATE = """
import gevent
from locust import events
from locust.runners import WorkerRunner


def late(runner, **_):
    if isinstance(runner, WorkerRunner):
        gevent.sleep(2.5)


events.init.add_listener(late)
from bench.locustfile import *
"""
"""Workers that locust takes for ready, and that take no message of ours yet."""


def test_workers_that_are_late_get_their_share_all_the_same(start: Start, tmp_path: Path) -> None:
    """Else they would have none, or that of another."""
    server = start("sse", "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    port, file = str(free_port()), tmp_path / "late.py"
    file.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{LATE}")
    arguments = ("--processes", "2", "--master-bind-port", port, "--master-port", port, "--host", server.url)
    assert heard_by_all(server, tmp_path, *arguments, "-f", str(file)) >= ENOUGH


def test_master_and_workers(start: Start, tmp_path: Path) -> None:
    server = start("websocket", "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    port = str(free_port())
    workers = [
        subprocess.Popen([*LOCUST, "--worker", "--master-port", port], cwd=ROOT, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    arguments = ("--master", "--master-bind-port", port, "--expect-workers", "2", "--host", server.url)
    assert heard_by_all(server, tmp_path, *arguments) >= ENOUGH
    assert [worker.wait(60) for worker in workers] == [0, 0]


STRANGERS_GUESTS = Counter[str]()
"""Connections to a stranger, by its address."""


@contextmanager
def stranger(answer: bytes) -> Iterator[str]:
    """The address of a server that gives everybody this answer."""

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            STRANGERS_GUESTS[f"http://127.0.0.1:{self.server.server_address[1]}"] += 1
            self.request.recv(65536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def failures(file: Path) -> str:
    """What locust's own file of failures says, beside its header."""
    return file.read_text().partition("\n")[2]


def assert_named(done: "subprocess.CompletedProcess[str]", csv: Path, named: str) -> None:
    """It failed, on standard error and in locust's own statistics, by that name and without a traceback."""
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said, said
    assert any(line.startswith("Failed: ") and named in line for line in done.stderr.splitlines()), said
    assert named in failures(csv), failures(csv)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "name the server: --host"),
        (("--host", "http://127.0.0.1:9"), "http://127.0.0.1:9/ does not say which transport it serves"),
        (("--host", "127.0.0.1:9"), "127.0.0.1:9/ does not say which transport"),
        (("--host", "{server}/sse"), "/sse/ does not say which transport it serves"),
        (("--host", "https://{address}"), "does not say which transport it serves"),
        (("--host", "{server}", "--transport", "polling"), "serves sse, not polling: allowed is --transport sse"),
    ],
)
def test_a_host_that_is_no_such_server_is_named(
    share: Start, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    server = share("sse", "--rate-hz", "20")
    address = server.url.partition("://")[2]
    given = [one.format(server=server.url, address=address) for one in arguments]
    done = locust(*HEADLESS, "-t", "30", "--csv", str(tmp_path / "out"), *given)
    assert_named(done, tmp_path / "out_failures.csv", named)


OUT_OF_RANGE = (
    *(f"--poll-interval-s={text}" for text in ("-1", "0", "nan", "inf")),
    *(f"--hold-s={text}" for text in ("nan", "56")),
    *(f"--rooms={text}" for text in ("-1", "1.5", "10001")),
    "--payload-bytes=-5",
)
PARSE_EACH = """
import sys
import bench.locustfile
from locust.argument_parser import get_parser

for option in sys.argv[1:]:
    try:
        get_parser().parse_args([option])
    except SystemExit as end:
        print(end.code)
"""


def test_options_have_ranges() -> None:
    """All in one process by locust's own parser, and one as it is typed: locust takes over a second to start."""
    command = [sys.executable, "-c", PARSE_EACH, *OUT_OF_RANGE]
    parsed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert parsed.stdout.split() == ["2"] * len(OUT_OF_RANGE)
    assert parsed.stderr.count("allowed are") == len(OUT_OF_RANGE)
    done = locust("--headless", "-t", "1", "--host", "http://127.0.0.1:9", OUT_OF_RANGE[0])
    assert done.returncode == 2 and "allowed are" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"<html>hello</html>", "does not say which transport"),
        (b"[1]", "does not say which transport"),
        (b'{"transport": ["sse"], "rooms": 1}', "serves ['sse'] in 1 rooms: allowed are polling"),
        (b'{"transport": "relay", "rooms": 1}', "serves 'relay' in 1 rooms: allowed are polling"),
        (b'{"transport": "sse", "rooms": 0}', "serves 'sse' in 0 rooms"),
        (None, "does not say which transport"),
    ],
)
def test_a_server_of_somebody_else_is_named(tmp_path: Path, body: bytes | None, named: str) -> None:
    answer = b"220 mail\r\n" if body is None else b"HTTP/1.0 200 OK\r\n\r\n" + body
    with stranger(answer) as url:
        done = locust(*HEADLESS, "-t", "30", "--csv", str(tmp_path / "out"), "--host", url)
    assert done.returncode == 1 and named in done.stderr and named in failures(tmp_path / "out_failures.csv")


def test_silence_until_the_end_is_a_failure(share: Start, tmp_path: Path) -> None:
    server = share("sse", "--source", "none")
    done = locust(*HEADLESS, "-t", "3", "--csv", str(tmp_path / "out"), "--host", server.url, "--reset-stats")
    assert_named(done, tmp_path / "out_failures.csv", "nothing was delivered until the test ended")


def test_silence_of_several_processes_is_one_failure(share: Start) -> None:
    server, port = share("sse", "--source", "none"), str(free_port())
    ways = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    done = locust(*HEADLESS, *ways, "-t", "3", "--host", server.url)
    assert done.returncode == 1 and done.stderr.count("Failed: nothing was delivered") == 1, done.stderr


def test_one_event_from_a_slow_feed_is_enough(start: Start) -> None:
    """Silence before and after it is no failure."""
    server = start("sse", "--rate-hz", "0.25", "--schedule", "constant")
    done = stopped_once(lambda: _delivered(server, 1), "an event", *QUIETLY, "--host", server.url)
    assert done.returncode == 0 and "Failed" not in done.stderr, done.stderr


def test_a_master_names_a_host_that_is_no_server() -> None:
    port = str(free_port())
    arguments = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    done = locust(*HEADLESS, *arguments, "-t", "30", "--host", "http://127.0.0.1:9")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said, said
    assert "Failed: http://127.0.0.1:9/ does not say which transport" in done.stderr, said


def test_subscribers_that_still_try_at_the_end_are_named(tmp_path: Path) -> None:
    """``raw`` is not asked what it is; whoever has no connection has not given up within a short test."""
    with stranger(b"") as url:  # closes every connection at once
        target = ("--host", url.replace("http", "tcp"), "--csv", str(tmp_path / "out"))
        done = stopped_once(lambda: STRANGERS_GUESTS[url] >= 10, "ten connections", *QUIETLY, *target)
    assert_named(done, tmp_path / "out_failures.csv", "subscriber 0: without a connection at the end: ")


def test_subscribers_that_were_refused_are_named(start: Start, tmp_path: Path) -> None:
    refused, port = start("sse", "--auth", "dev", "--rate-hz", "20"), free_port()
    target = ("--autostart", "--web-host", "127.0.0.1", "--web-port", str(port), "--host", refused.url)
    done = stopped_once(
        lambda: _told(port, "subscriber 0"), "the refusal in the web UI", *target, "--csv", str(tmp_path / "no")
    )
    assert done.returncode == 1 and "Failed: subscriber " in done.stderr, done.stderr
    assert "subscriber 0: RefusedError refused (token_missing)" in failures(tmp_path / "no_failures.csv")


@pytest.mark.parametrize("distributed", (False, True))
def test_the_web_ui_shows_the_failure_and_its_end_has_the_exit_code(share: Start, distributed: bool) -> None:
    """Stopped by a signal, as a test is that has no time limit."""
    server, port, bind = share("sse", "--source", "none"), free_port(), str(free_port())
    command = [*LOCUST, "--autostart", "--web-host", "127.0.0.1", "--web-port", str(port), *TEN_USERS]
    command += ["--processes", "2", "--master-bind-port", bind, "--master-port", bind] if distributed else []
    command += ["--host", server.url, "-t", "2s"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            run(until(lambda: _told(port), "the failure in the web UI", timeout_s=60))
        finally:
            process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "Failed: nothing was delivered" in said and "Traceback" not in said, said


async def _told(web_port: int, failure: str = "nothing was delivered") -> bool:
    """Does locust's web UI have a failure of ours?"""

    def ask() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/stats/requests", timeout=5) as answer:
            return any(failure in one["error"] for one in json.load(answer)["errors"])

    with suppress(OSError):
        return await asyncio.to_thread(ask)
    return False


def test_a_signal_ends_a_test_before_its_exit_code_is_made(start: Start) -> None:
    server, port = start("sse", "--source", "none"), free_port()
    command = [*LOCUST, "--autostart", "--web-host", "127.0.0.1", "--web-port", str(port), *TEN_USERS]
    with subprocess.Popen(
        [*command, "--host", server.url], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            run(until(lambda: _connected(server), "ten subscribers", timeout_s=60))
        finally:
            process.terminate()
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "Failed: nothing was delivered" in said, said


async def _connected(server: Running) -> bool:
    async with Control(server.ready["control_url"]) as control:
        return int((await control.stats())["connections_now"]) >= 10
