"""WebSocket as others see it: the ``websockets`` library, and peers that do not answer pings."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from clients.control import Control
from feed.schedule import Schedule
from tests.conftest import Start, run, until
from tests.test_bounds import OPENINGS, stalled_peer


def ws_url(url: str, query: str = "") -> str:
    return f"{url}/ws{query}"


def test_the_websockets_library_reads_the_feed_and_resumes(start: Start) -> None:
    server = start("websocket", "--source", "none")

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            async with connect(ws_url(server.url)) as ws:
                welcome = json.loads(await ws.recv())
                assert welcome["type"] == "welcome" and welcome["data"]["resume"] == "new"
                assert len(welcome["data"]["client"]) == 16
                await control.start_feed(Schedule("constant", 500.0, limit=5), 256)
                events = [json.loads(await ws.recv()) for _ in range(5)]
                assert [event["data"]["n"] for event in events] == [0, 1, 2, 3, 4]
            async with connect(ws_url(server.url, f"?since={events[1]['id']}")) as ws:
                assert json.loads(await ws.recv())["data"]["resume"] == "resumed"
                assert [json.loads(await ws.recv())["id"] for _ in range(3)] == [event["id"] for event in events[2:]]

    run(body())


def test_the_websockets_library_is_refused_with_a_reason(start: Start) -> None:
    server = start("websocket", "--source", "none")

    async def body() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(ws_url(server.url, "?since=nonsense")):
                pass
        assert refused.value.response.status_code == 400
        assert json.loads(refused.value.response.body)["data"]["code"] == "bad_cursor"

    run(body())


def test_a_peer_that_misses_a_ping_is_closed(start: Start) -> None:
    """It is connected and its kernel acknowledges everything, but nobody answers."""
    server = start("websocket", "--source", "none", "--heartbeat-s", "0.3", "--stall-timeout-s", "60")

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            mute = stalled_peer(server, OPENINGS["websocket"])
            async with connect(ws_url(server.url)) as alive:
                await until(lambda: _connections(control, 2), "both connected")
                await until(lambda: _connections(control, 1), "the mute one is closed", timeout_s=5)
                answered = await alive.ping()
                await asyncio.wait_for(answered, 5)
            mute.close()

    run(body())


async def _connections(control: Control, count: int) -> bool:
    return bool((await control.stats())["connections_now"] == count)


def test_the_websockets_library_sees_a_restart(start: Start) -> None:
    server = start("websocket", "--source", "none")

    async def body() -> None:
        async with connect(ws_url(server.url)) as ws:
            await ws.recv()
            server.process.terminate()
            with pytest.raises(ConnectionClosedError) as closed:
                await ws.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012

    run(body())
