"""The bytes that the ledger reads from TCP_INFO, against a packet capture of the loopback: within 1 %."""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

import pytest

from clients.client import new_client, new_shared
from clients.control import Control
from clients.ledger import Totals
from clients.options import ClientOptions
from feed.schedule import Schedule
from servers.options import TRANSPORTS
from tests.conftest import Start, run, until

EVENTS = 40
needs_tcpdump = pytest.mark.skipif(
    shutil.which("tcpdump") is None, reason="tcpdump is missing: apt-get install tcpdump (and capture rights)"
)


class Capture:
    """What tcpdump saw."""

    wire_bytes = 0
    packets = 0


@contextmanager
def captured(port: int, folder: Path) -> Iterator[Capture]:
    """Capture one port of the loopback; the sums are there when the block has ended."""
    file = folder / "capture.pcap"
    command = ["tcpdump", "--immediate-mode", "-U", "-i", "lo", "-n", "-w", str(file), f"tcp port {port}"]
    capture = Capture()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        while "listening" not in line:
            if not line:
                pytest.skip("tcpdump may not capture: it needs root or CAP_NET_RAW")
            line = process.stderr.readline()
        try:
            yield capture
            _await_quiet(file)
        finally:
            process.terminate()
    listing = subprocess.run(["tcpdump", "-n", "-v", "-r", str(file)], capture_output=True, text=True, check=True)
    lengths = [int(length) for length in re.findall(r"proto TCP \(6\), length (\d+)\)", listing.stdout)]
    capture.wire_bytes, capture.packets = sum(lengths), len(lengths)


def _await_quiet(file: Path) -> None:
    """Wait until the capture file has stopped growing."""
    size = -1
    while file.stat().st_size != size:
        size = file.stat().st_size
        time.sleep(0.2)


@needs_tcpdump
@pytest.mark.parametrize(
    ("transport", "keep_alive"),
    [(name, True) for name in TRANSPORTS] + [("polling", False), ("long_polling", False)],
    ids=lambda value: {True: "keep_alive", False: "connection_per_request"}.get(value, value),
)
def test_the_ledger_agrees_with_the_capture(start: Start, transport: str, keep_alive: bool, tmp_path: Path) -> None:
    server = start(transport, "--source", "none", "--heartbeat-s", "0.3")
    with captured(server.port, tmp_path) as capture:
        totals = run(_exchange(transport, server.url, server.ready["control_url"], keep_alive))
    assert totals.deliveries == EVENTS
    if keep_alive:
        assert totals.opened == 1
    else:
        assert totals.requests - totals.opened in (0, 1), "the last one may have been given up before it connected"
    measured = totals.stream_bytes + totals.header_bytes
    assert capture.wire_bytes > EVENTS * 256
    assert measured == pytest.approx(capture.wire_bytes, rel=0.01), (totals, capture.packets)


async def _exchange(transport: str, url: str, control_url: str, keep_alive: bool) -> Totals:
    shared = new_shared(seed=1)
    options = ClientOptions(poll_interval_s=0.1, keep_alive=keep_alive, max_attempts=0)
    client = new_client(transport, url, options, shared)
    welcomed = asyncio.Event()

    async def receive() -> None:
        async with aclosing(client.events()) as stream:
            async for _ in stream:
                welcomed.set()

    task = asyncio.ensure_future(receive())
    await welcomed.wait()
    async with Control(control_url) as control:
        await control.start_feed(Schedule("constant", 40.0, limit=EVENTS), 256)
        await until(lambda: shared.ledger.deliveries == EVENTS, "all events")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await shared.ledger.settle()
    assert shared.ledger.lingering == 0
    shared.timer.close()
    return shared.ledger.totals()
