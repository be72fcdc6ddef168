"""SIGTERM with 200 clients, stalled ones among them: everything is ended in its transport's own way, exit code 0."""

import asyncio
import os
import signal
import socket
from contextlib import aclosing

import aiohttp
import pytest

from clients.control import Control
from clients.core.client import Client, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.options import ClientOptions
from feed.schedule import Schedule
from tests.conftest import SERVED, Running, Start, run, until
from tests.transports.test_bounds import OPENINGS, stalled_peer

CLIENTS = int(os.environ.get("PUSHMARK_SHUTDOWN_CLIENTS", "190"))
STALLED = 10
PROBE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ASK_FOR_ALL = {
    "polling": b"GET /poll?since=00000000-0 HTTP/1.1\r\nHost: x\r\n\r\n" * 8,
    "long_polling": b"GET /long-poll?since=00000000-0 HTTP/1.1\r\nHost: x\r\n\r\n" * 8,
}
"""For the whole history, 330 KB each time: much more than the kernel takes for who does not read."""


@pytest.mark.parametrize(
    ("served", "number"),
    [(name, signal.SIGTERM) for name in SERVED] + [(name, signal.SIGINT) for name in ("polling", "sse", "websocket")],
)
def test_exits_in_time_with_many_clients(start: Start, served: str, number: signal.Signals) -> None:
    server = start(served, "--source", "none")
    transport = server.ready["transport"]

    async def body() -> None:
        shared = new_shared(seed=1)
        options = ClientOptions(poll_interval_s=0.5, max_attempts=0, variant=server.target.variant)
        clients = [new_client(transport, server.url, options, shared) for _ in range(CLIENTS)]
        tasks = [asyncio.ensure_future(_receive(client)) for client in clients]
        stalled = _stalled(server, transport)
        async with Control(server.ready["control_url"]) as control:
            connections = CLIENTS + len(stalled)
            await until(lambda: _connected(control, connections), "all connected")
            await control.start_feed(Schedule("constant", 100.0, limit=20), 16_384)
            await until(lambda: _published(control, 20), "events on their way")
            for peer in stalled:
                peer.sendall(ASK_FOR_ALL.get(transport, b""))
            await control.stats()  # the server has had its turn at what they asked
        server.process.send_signal(number)
        assert await asyncio.to_thread(server.process.wait, 60) == 0, "by itself: the stalled would wait for ever"
        ends = await asyncio.gather(*tasks)
        assert all(ends), "a client was not told"
        for peer in stalled:
            peer.close()
        shared.timer.close()

    run(body())


def _stalled(server: Running, transport: str) -> list[socket.socket]:
    return [stalled_peer(server, OPENINGS.get(transport, PROBE)) for _ in range(STALLED)]


async def _receive(client: Client) -> str:
    try:
        async with aclosing(client.events()) as stream:
            async for _ in stream:
                pass
    except ClientError as error:
        return str(error)
    return ""


async def _connected(control: Control, count: int) -> bool:
    return bool((await control.stats())["connections_now"] == count)


async def _published(control: Control, count: int) -> bool:
    return bool((await control.stats())["feed_published"] == count)


def test_a_websocket_is_closed_with_1012(start: Start) -> None:
    server = start("websocket", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/ws") as ws:
            await ws.receive_json()
            server.process.send_signal(signal.SIGTERM)
            assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE
            assert ws.close_code == 1012

    run(body())


@pytest.mark.parametrize("variant", ((), ("--variant", "plain")))
def test_an_event_stream_ends_cleanly(start: Start, variant: tuple[str, ...]) -> None:
    server = start("sse", "--source", "none", *variant)

    async def body() -> bytes:
        async with aiohttp.ClientSession() as session, session.get(server.url + "/sse") as response:
            await response.content.readuntil(b"\n\n")
            server.process.send_signal(signal.SIGTERM)
            return await response.content.read()  # raises if the chunked body is cut off

    assert run(body()) == b""


def test_a_held_poll_is_answered(start: Start) -> None:
    server = start("long_polling", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(server.url + "/long-poll") as response:
                cursor = (await response.json())["id"]
            held = asyncio.ensure_future(session.get(server.url + f"/long-poll?since={cursor}&hold_s=50"))
            async with Control(server.ready["control_url"]) as control:
                await until(lambda: _connected(control, 1), "connected")
            server.process.send_signal(signal.SIGTERM)
            response = await held
            assert response.status == 200 and (await response.json())["data"]["events"] == []

    run(body())
