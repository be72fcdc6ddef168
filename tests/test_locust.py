"""Stock locust with our locustfile: headless, several processes, master and workers, web UI; true statistics."""

import asyncio
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from clients.control import Control
from tests.conftest import ROOT, Running, Start, run, until

LOCUST = [sys.executable, "-m", "locust", "-f", "bench/locustfile.py"]
TEN_USERS = ["-u", "10", "-r", "10"]
HEADLESS = ["--headless", *TEN_USERS, "--only-summary"]
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


def test_the_web_ui_and_the_statistics_count_what_the_server_handed_over(
    start: Start, transport: str, tmp_path: Path
) -> None:
    """Nothing more is published once there is enough, so that in the end nothing is on its way."""
    server, port = start(transport, "--source", "synthetic", "--rate-hz", str(RATE_HZ)), free_port()
    command = [*LOCUST, "--autostart", "--web-host", "127.0.0.1", "--web-port", str(port), *TEN_USERS]
    command += ["--host", server.url, "--poll-interval-s", "0.05", "--json-file", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            sent = run(_all_heard(server, port))
        finally:
            process.terminate()
        said = process.communicate(timeout=20)[1]
    assert process.returncode == 0, said
    mine = entry(tmp_path / "out.json")
    assert (mine["num_requests"], mine["num_failures"]) == (sent, 0)
    assert sum(mine["response_times"].values()) == sent
    assert 0 <= mine["total_response_time"] / sent < 100, "the mean latency of a loopback"
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

        await until(enough, f"{ENOUGH} deliveries", timeout_s=40)
        await control.stop_feed()
        await until(equal, "all deliveries in the web UI", timeout_s=20)
        return await deliveries()


def _shown(web_port: int) -> int:
    """Our deliveries in the statistics of locust's web UI."""
    with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/stats/requests", timeout=5) as answer:
        stats = json.load(answer)["stats"]
    return sum(one["num_requests"] for one in stats if one["method"] == "EVENT")


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


@pytest.mark.parametrize("host", ("", "http://127.0.0.1:9"))
def test_a_host_that_says_nothing_is_named(host: str) -> None:
    done = locust(*HEADLESS, "-t", "3", *(["--host", host] if host else []))
    assert done.returncode != 0
    assert ("name the server: --host" if not host else "does not say which transport") in done.stderr + done.stdout
