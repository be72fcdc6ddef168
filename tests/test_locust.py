"""Stock locust with our locustfile: headless, several processes, master and workers, web UI; true statistics."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from clients.control import Control
from tests.conftest import ROOT, Running, Start, run, until

LOCUST = [sys.executable, "-m", "locust", "-f", "bench/locustfile.py"]
HEADLESS = ["--headless", "-u", "10", "-r", "10", "--only-summary"]
RATE_HZ = 40
ENOUGH = 200
"""Deliveries, to ten users."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def locust(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*LOCUST, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def entry(file: Path) -> dict[str, Any]:
    """Our deliveries in locust's own statistics as it ends (its CSV files lag by up to two seconds)."""
    entries: list[dict[str, Any]] = json.loads(file.read_text())
    return next(one for one in entries if one["method"] == "EVENT")


async def _deliveries(server: Running) -> int:
    async with Control(server.ready["control_url"]) as control:
        return int((await control.stats())["deliveries"])


def check_statistics(server: Running, file: Path) -> None:
    """locust's count is what the server handed over, and its latencies are those of a loopback."""
    mine = entry(file)
    counted, sent = mine["num_requests"], run(_deliveries(server))
    assert mine["num_failures"] == 0 and counted > ENOUGH - 10
    assert 0 <= sent - counted <= 10, "at most one event on its way to each of ten"
    assert sum(mine["response_times"].values()) == counted
    assert 0 <= mine["total_response_time"] / counted < 100
    assert mine["total_content_length"] == 256 * counted


def test_headless(start: Start, transport: str, tmp_path: Path) -> None:
    """Ended, as by a user, once it has enough; ``-t`` counts from before the first user has connected."""
    server = start(transport, "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    arguments = ("--host", server.url, "--json-file", str(tmp_path / "out"), "--poll-interval-s", "0.05")
    with subprocess.Popen(
        [*LOCUST, *HEADLESS, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            run(until(lambda: _has_enough(server), f"{ENOUGH} deliveries", timeout_s=50))
        finally:
            process.terminate()
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    check_statistics(server, tmp_path / "out.json")


async def _has_enough(server: Running) -> bool:
    return await _deliveries(server) >= ENOUGH


def test_processes(start: Start, tmp_path: Path) -> None:
    server = start("sse", "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    port = str(free_port())
    arguments = (
        *HEADLESS,
        "--processes",
        "2",
        "--master-bind-port",
        port,
        "--master-port",
        port,
        "--host",
        server.url,
        "-t",
        "6",
    )
    done = locust(*arguments, "--json-file", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert entry(tmp_path / "out.json")["num_requests"] > 10 * RATE_HZ


def test_master_and_workers(start: Start, tmp_path: Path) -> None:
    server = start("websocket", "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    port = str(free_port())
    workers = [
        subprocess.Popen([*LOCUST, "--worker", "--master-port", port], cwd=ROOT, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    arguments = (*HEADLESS, "--master", "--master-bind-port", port, "--expect-workers", "2", "--host", server.url)
    done = locust(*arguments, "-t", "6", "--json-file", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert [worker.wait(20) for worker in workers] == [0, 0]
    assert entry(tmp_path / "out.json")["num_requests"] > 10 * RATE_HZ


def test_web_ui(start: Start) -> None:
    server = start("websocket", "--source", "synthetic", "--rate-hz", str(RATE_HZ))
    port = free_port()
    command = [
        *LOCUST,
        "--host",
        server.url,
        "--web-port",
        str(port),
        "--web-host",
        "127.0.0.1",
        "--autostart",
        "-u",
        "5",
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        seen = 0
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats/requests", timeout=2) as answer:
                    stats = json.load(answer)["stats"]
            except OSError:
                stats = []
            seen = max([entry["num_requests"] for entry in stats if entry["method"] == "EVENT"], default=0)
            if seen > 20:
                break
            time.sleep(0.1)
        process.terminate()
        process.communicate(timeout=20)
    assert seen > 20


@pytest.mark.parametrize("host", ("", "http://127.0.0.1:9"))
def test_a_host_that_says_nothing_is_named(host: str) -> None:
    done = locust(*HEADLESS, "-t", "3", *(["--host", host] if host else []))
    assert done.returncode != 0
    assert ("name the server: --host" if not host else "does not say which transport") in done.stderr + done.stdout
