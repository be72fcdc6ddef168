"""When a token or a membership ends, so does what is sent for it, however slowly it is taken."""

import asyncio
import json
import time
from typing import Any, Final
from unittest.mock import AsyncMock, Mock

import pytest

from clients.control import Control
from feed.schedule import Schedule
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.hub.hub import Hub
from servers.platform.connections import StreamConnection
from servers.websocket import RequestLoop
from tests.conftest import Start, run, until
from tests.helpers.ways_in import Guest, What, allowed, good
from tests.helpers.ways_in_by_sockets import SocketIo, guests_of
from tests.transports.test_bounds import stalled_peer

STREAMS: Final = {"sse": "/sse", "sse:plain": "/sse", "websocket": "/ws", "websocket:tuned": "/ws"}
UPGRADE: Final = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
)
TTL_S: Final = 1.5
LARGE: Final = "x" * 50_000
"""Of such messages a few fill what the kernel takes for a peer that does not read."""
PAST: Final = 1000
"""Events: many times what is handed to a client's queue at once."""


@pytest.mark.parametrize("stream", STREAMS)
def test_what_comes_after_the_token_is_not_sent(start: Start, stream: str) -> None:
    """The peer stops reading, its token ends, and only then is something published that is not for it any more."""
    server = start(stream, "--source", "none", "--auth", "dev")
    token, until_s = good("slow", TTL_S), time.time() + TTL_S
    upgrade = UPGRADE if STREAMS[stream] == "/ws" else ""
    head = f"GET {STREAMS[stream]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{upgrade}\r\n"

    async def body() -> None:
        kind: type[Guest] = guests_of(stream)[0]
        async with kind(server, "127.0.0.1", "loud") as loud:
            for _ in range(20):
                allowed(await loud.ask("publish", room="feed", data=LARGE))
            await until(lambda: time.time() > until_s + 0.2, "the token has ended")
            allowed(await loud.ask("publish", room="feed", data="too late"))

    with stalled_peer(server, head.encode()) as peer:
        peer.settimeout(60)
        assert peer.recv(1)  # it is connected
        run(body())
        taken = b""
        while b"token_expired" not in taken[-5000:]:
            piece = peer.recv(1 << 20)
            assert piece, "the reason did not come"
            taken += piece
        assert LARGE.encode() in taken and b"too late" not in taken


async def _published(control: Control, count: int) -> bool:
    return bool((await control.stats())["feed_published"] == count)


def test_leaving_a_room_ends_its_past_too(start: Start) -> None:
    """Socket.IO's past goes to the client's queue piece by piece: leaving ends it, and not only what is new."""
    server = start("socketio", "--source", "none", "--auth", "dev", "--rooms", "2")

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control, SocketIo(server, "127.0.0.1") as guest:
            epoch = allowed(await guest.knock("stream", What())).envelope["id"].partition("-")[0]
            await control.start_feed(Schedule("constant", 5000.0, rooms=2, limit=2 * PAST), 256)
            await until(lambda: _published(control, 2 * PAST), "all is published")
        async with SocketIo(server, "127.0.0.1", "bob") as guest:
            allowed(await guest.knock("stream", What()))
            join = {"type": "join", "room": "feed-1", "since": f"{epoch}-0"}
            for number, request in enumerate((join, {"type": "leave", "room": "feed-1"}), 1):
                await guest.send(f'42{number}["request",{json.dumps({"id": str(number), **request})}]')
            taken = await _events_before(guest, "432[")
            number = quiet = 3
            while quiet:  # what is on its way comes before the answers to a few more questions
                number += 1
                await guest.send(f'42{number}["request",{{"id":"{number}","type":"call","service":"echo"}}]')
                came = await _events_before(guest, f"43{number}[")
                taken, quiet = taken + came, 3 if came else quiet - 1
            assert taken < PAST

    run(body())


async def _events_before(guest: SocketIo, answer: str) -> int:
    taken = 0
    while not (packet := await guest.receive()).startswith(answer):
        taken += packet.startswith('42["event"')
    return taken


def test_a_token_that_ends_within_the_handshake_ends_the_connection() -> None:
    async def body() -> None:
        connection = StreamConnection(Identity("ann"), "::1", Hub(1, 10).subscribe("feed", None))
        connection.end(Refusal("token_expired", "the token has expired"))
        websocket, stop_events = AsyncMock(), Mock()

        async def receive() -> dict[str, Any]:
            await until(lambda: bool(websocket.close.called), "it is closed")
            return {"type": "websocket.disconnect", "code": 1008}

        websocket.receive = receive
        loop = RequestLoop(Mock(), websocket, connection)
        loop.stop_events = stop_events
        await loop.run()
        assert "token_expired" in websocket.send_text.call_args.args[0] and stop_events.called

    asyncio.run(body())
