"""aiohttp for all HTTP clients: one connection per subscriber, with receive times and the kernel's counters.

aiohttp makes its protocol objects in the connector's factory. A subclass of the protocol notes the time in the first
line of ``data_received`` and hands the socket to the ledger.
"""

import asyncio
import socket
from collections import deque
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from clients.core.ledger import Ledger, Meter
from clients.core.tls import client_context
from feed.instruments.clock import NS_PER_S, now_ns
from feed.instruments.tcp import tune
from feed.wire import TooLargeError, WireError

KEEP_ALIVE_S: Final = 60.0
"""Longer than any poll interval here and shorter than the servers' 75 s, so that the client ends the connection."""
MAX_MESSAGE_BYTES: Final = 1 << 20
"""Largest WebSocket message, all its fragments together."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long a WebSocket waits for the peer's closing frame."""


class StampedProtocol(ResponseHandler):
    """aiohttp's client protocol with receive times; for an answer that is no stream, only the newest."""

    def __init__(self, ledger: Ledger, connector: "OneConnection", is_stream: bool) -> None:
        super().__init__(asyncio.get_running_loop())
        self._ledger = ledger
        self._connector = connector
        self._is_stream = is_stream
        self.meter: Meter
        self.receive_ns = 0
        """When the newest bytes came (CLOCK_MONOTONIC, ns)."""
        self.stamps: deque[tuple[int, int]] = deque()
        """After each read: (body bytes of a stream or messages of a WebSocket so far, receive time).

        Entries stay until ``stamp`` is called for what they brought, so a reader must call it for all that it takes."""
        self.messages = 0
        self.has_refused_frame = False
        """Has a WebSocket frame broken the protocol, or a bound? No message follows it."""
        self._silence_watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.meter = self._ledger.open(transport, self)
        self._connector.protocol = self  # not before there is a meter

    def connection_lost(self, exc: BaseException | None) -> None:
        self.meter.lost()
        if self._silence_watch is not None:
            self._silence_watch.cancel()
        super().connection_lost(exc)

    def set_parser(self, parser: Any, payload: Any, *args: Any, **kwargs: Any) -> None:
        """The connection becomes a WebSocket, perhaps after polls on it: from now on stamps count messages."""
        self.stamps.clear()
        super().set_parser(parser, payload, *args, **kwargs)

    def data_received(self, data: bytes) -> None:
        at_ns = self.receive_ns = now_ns()
        payload: Any = self._payload
        # Read first: aiohttp drops the parser at a frame that it refuses, and the messages before it need their stamp.
        is_websocket = self._payload_parser is not None
        queued = len(payload._buffer) if is_websocket else 0
        super().data_received(data)
        if is_websocket:
            self.messages += len(payload._buffer) - queued
            self.stamps.append((self.messages, at_ns))
            self.has_refused_frame = self._payload_parser is None
        elif self._is_stream and isinstance(self._payload, aiohttp.StreamReader):
            self.stamps.append((self._payload.total_bytes, at_ns))

    def watch_silence(self, timeout_s: float) -> None:
        """Cut the connection once it has brought nothing for ``timeout_s``, not even a heartbeat."""
        left_s = timeout_s - (now_ns() - self.receive_ns) / NS_PER_S
        if left_s <= 0:
            self.abort()
        else:
            self._silence_watch = self._loop.call_later(left_s, self.watch_silence, timeout_s)

    def stamp(self, count: int) -> int:
        """Receive time of the ``count``-th body byte or message (CLOCK_MONOTONIC, ns). Call in rising order."""
        stamps = self.stamps
        while len(stamps) > 1 and stamps[0][0] < count:
            stamps.popleft()
        return stamps[0][1]


def note(ledger: Ledger, response: aiohttp.ClientResponse) -> None:
    """Note the headers of an answer, and those of its request as they were sent."""
    asked = response.request_info
    ledger.sightings.request(f"{asked.method} {asked.url.path}", asked.headers.items())
    ledger.sightings.answer(response.headers)


def refused_frame(code: int | None) -> WireError:
    """The exception for a frame that aiohttp refused with this close code (RFC 6455, section 7.4.1)."""
    if code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        return TooLargeError(f"a message is over the bound of {MAX_MESSAGE_BYTES} bytes; closed with code {code}")
    return WireError(f"a frame that breaks the WebSocket protocol; closed with code {code}")


class OneConnection(aiohttp.TCPConnector):
    """A connector for one subscriber; ``protocol`` is that of its newest connection."""

    def __init__(self, ledger: Ledger, keep_alive: bool, ca_file: str = "", is_stream: bool = False) -> None:
        lifetime: dict[str, Any] = {} if keep_alive else {"force_close": True}
        if ca_file:
            lifetime["ssl"] = client_context(Path(ca_file))
        if keep_alive:
            lifetime["keepalive_timeout"] = KEEP_ALIVE_S
        super().__init__(limit=0, socket_factory=_socket, use_dns_cache=False, **lifetime)
        self.ledger = ledger
        self._is_stream = is_stream
        self.protocol: StampedProtocol
        self._factory = self._make_protocol  # type: ignore[assignment]  # aiohttp has no hook for it; ours is a subclass of what it makes

    def _make_protocol(self) -> StampedProtocol:
        return StampedProtocol(self.ledger, self, self._is_stream)


def _socket(address: Any) -> socket.socket:
    family, type_, proto, _, _ = address
    sock = socket.socket(family, type_, proto)
    tune(sock)
    return sock


def new_session(connector: OneConnection, connect_timeout_s: float) -> aiohttp.ClientSession:
    """A session without aiohttp's total timeout, which would end every stream after five minutes."""
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        auto_decompress=True,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
