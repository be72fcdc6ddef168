"""The bytes that the ledger reads from TCP_INFO, against a packet capture of the loopback: within 1 %."""

import asyncio
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from bench.capture.pcap import read_pcap, wire_bytes
from bench.capture.tcpdump import captured
from bench.capture.wire import repeated_bytes
from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.ledger import Totals
from clients.core.options import ClientOptions
from feed.schedule import Schedule
from feed.transports import TRANSPORTS
from tests.conftest import Start, run, until

EVENTS = 40


@pytest.mark.usefixtures("tcpdump")
@pytest.mark.parametrize(
    ("transport", "keep_alive"),
    [(name, True) for name in TRANSPORTS] + [("polling", False), ("long_polling", False)],
    ids=lambda value: {True: "keep_alive", False: "connection_per_request"}.get(value, value),
)
def test_the_ledger_agrees_with_the_capture(start: Start, transport: str, keep_alive: bool, tmp_path: Path) -> None:
    server = start(transport, "--source", "none", "--heartbeat-s", "0.3")
    file = tmp_path / "capture.pcap"

    async def observed() -> Totals:
        async with captured(server.port, file):
            return await _exchange(transport, server.url, server.ready["control_url"], keep_alive)

    totals = run(observed())
    segments = read_pcap(file)
    assert totals.deliveries == EVENTS
    if keep_alive:
        assert totals.opened == 1
    else:
        assert totals.requests - totals.opened in (0, 1), "the last one may have been given up before it connected"
    measured = totals.stream_bytes + totals.header_bytes
    # A kernel that is late sends something again, which is no new payload for the receiver; or the capture has segments
    # in another order, which looks the same.
    most = wire_bytes(segments)
    least = most - repeated_bytes(segments)
    assert least > EVENTS * 256
    assert 0.99 * least <= measured <= 1.01 * most, (totals, len(segments), least, most)


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
    await until(lambda: welcomed.is_set() or task.done(), "welcomed")
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
