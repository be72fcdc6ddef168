"""When a token ends, so does what its holder is sent, however slowly it is taken."""

import time
from typing import Final

import pytest

from tests.conftest import Start, run, until
from tests.test_bounds import stalled_peer
from tests.ways_in import Guest, allowed, good
from tests.ways_in_by_sockets import guests_of

STREAMS: Final = {"sse": "/sse", "sse:plain": "/sse", "websocket": "/ws", "websocket:tuned": "/ws"}
UPGRADE: Final = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
)
TTL_S: Final = 1.5
LARGE: Final = "x" * 50_000
"""Of such messages a few fill what the kernel takes for a peer that does not read."""


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
        peer.settimeout(10)
        assert peer.recv(1)  # it is connected
        run(body())
        taken = b""
        while b"token_expired" not in taken[-5000:]:
            piece = peer.recv(1 << 20)
            assert piece, "the reason did not come"
            taken += piece
        assert LARGE.encode() in taken and b"too late" not in taken
