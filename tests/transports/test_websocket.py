"""WebSocket as others see it: the ``websockets`` library, and peers that do not answer pings."""

import asyncio
import json
import re
import struct
from base64 import b64encode
from contextlib import aclosing
from hashlib import sha1
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.errors import RefusedError
from clients.core.options import ClientOptions
from clients.websocket import MAX_MESSAGE_BYTES
from feed.envelope import encode_envelope
from feed.instruments.clock import now_ns
from feed.schedule import Schedule
from servers.platform.options import ServerOptions
from tests.conftest import Running, Start, run, starting, until
from tests.helpers.forks import Forks
from tests.transports.test_bounds import OPENINGS, stalled_peer


def ws_url(url: str, query: str = "") -> str:
    return f"{url}/ws{query}"


def test_the_websockets_library_reads_the_feed_and_resumes(share: Start) -> None:
    server = share("websocket", "--source", "none")

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


def test_the_websockets_library_is_refused_with_a_reason(share: Start) -> None:
    server = share("websocket", "--source", "none")

    async def body() -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(ws_url(server.url, "?since=nonsense")):
                pass
        assert refused.value.response.status_code == 400
        assert json.loads(refused.value.response.body)["data"]["code"] == "bad_cursor"

    run(body())


def test_a_peer_that_misses_a_ping_is_closed(tmp_path: Path, forks: Forks) -> None:
    """It is connected and its kernel acknowledges everything, but nobody answers."""
    options = ServerOptions(transport="websocket", port=0, heartbeat_s=0.3, ping_timeout_s=0.6, stall_timeout_s=60.0)
    encoded = msgspec.json.encode(options).decode()

    async def body(server: Running) -> None:

        async with Control(server.ready["control_url"]) as control:
            mute = stalled_peer(server, OPENINGS["websocket"])
            async with connect(ws_url(server.url)) as alive:
                await until(lambda: _connections(control, 2), "both connected")
                await until(lambda: _connections(control, 1), "the mute one is closed")
                answered = await alive.ping()
                await asyncio.wait_for(answered, 10)
            mute.close()

    with starting(tmp_path, lambda _, __, log: forks.start("tests.helpers.serve", [encoded], log)) as start:
        run(body(start("websocket")))


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


WELCOME = encode_envelope("welcome", "0badcafe-0", "feed", {"resume": "new", "missed": 0})
EVENT = encode_envelope("event", "0badcafe-1", "feed", {"n": 0})
OVERSIZE = bytes([0x81, 127]) + struct.pack(">Q", MAX_MESSAGE_BYTES + 1)
"""The beginning of a text frame that is refused for its length."""


def text_frame(body: bytes) -> bytes:
    """A server's (RFC 6455, 5.2): not masked, and here never long."""
    assert len(body) < 126
    return bytes([0x81, len(body)]) + body


@pytest.mark.parametrize(
    ("at_once", "later"),
    [(text_frame(WELCOME) + OVERSIZE, b""), (text_frame(WELCOME), text_frame(EVENT) + OVERSIZE), (OVERSIZE, b"")],
    ids=["with_the_handshake", "in_a_later_read", "nothing_before_it"],
)
def test_our_client_takes_what_came_before_an_oversize_frame(at_once: bytes, later: bytes) -> None:
    """In one read with it; each has its receive time, and the client ends, as the same would come again."""
    expected = [type_ for type_, body in (("welcome", WELCOME), ("event", EVENT)) if body in at_once + later]
    has_welcome = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(handshake_answer(await reader.readuntil(b"\r\n\r\n")) + at_once)
        if later:
            await has_welcome.wait()
            writer.write(later)
        await reader.read(100)  # it says why it closes
        writer.close()

    async def body() -> None:
        shared = new_shared(seed=1)
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = new_client("websocket", url, ClientOptions(max_attempts=0), shared)
        began_ns, types = now_ns(), []
        with pytest.raises(RefusedError, match=r"too_large.* closed with code 1009"):
            async with aclosing(client.events()) as stream:
                async for envelope, receive_ns in stream:
                    assert began_ns <= receive_ns <= now_ns()
                    types.append(envelope.type)
                    has_welcome.set()
        assert types == expected
        server.close()
        await server.wait_closed()
        shared.timer.close()

    run(body())


def handshake_answer(request: bytes) -> bytes:
    """RFC 6455, section 4.2.2."""
    found = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert found is not None
    accept = b64encode(sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
