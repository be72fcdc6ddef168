"""Bounds on every connection of every transport: a peer must finish its requests, and must keep reading.

uvicorn closes a connection by waiting until the peer has taken what is buffered, so that a peer that has stopped
reading would keep its socket, its task and its memory for ever. Therefore a sweep looks at every connection once in two
seconds, and aborts each that is beyond a bound. A peer is stalled if its kernel has acknowledged nothing for
``stall_timeout_s`` although bytes wait for it. A slow reader does acknowledge, and is left alone: the ring bounds the
memory that it takes.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from feed.instruments.clock import NS_PER_S, now_ns
from feed.instruments.tcp import TcpInfo, read_progress, read_tcp_info

NO_LINGER: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with a time of 0: closing resets the connection (socket(7))."""
TICK_S: Final = 0.2
SWEEP_S: Final = 2.0
"""Every connection is checked once in this time, a tenth of all at each tick."""


class WatchedConnection:
    """What the watchdog knows of one connection."""

    __slots__ = ("acked_bytes", "is_duplicate", "on_overdue", "request_due_ns", "sock", "stalled_since_ns", "transport")

    def __init__(self, transport: asyncio.Transport, on_overdue: Callable[[], None], tls: bool) -> None:
        self.transport = transport
        sock: socket.socket = transport.get_extra_info("socket")
        self.is_duplicate = tls
        """``sock`` is a duplicate: uvloop closes the socket of a TLS connection before ``connection_lost``."""
        self.sock = sock.dup() if self.is_duplicate else sock
        self.on_overdue = on_overdue
        self.request_due_ns = 0
        self.stalled_since_ns = 0
        self.acked_bytes = -1


class ConnectionWatchdog:
    """All open connections of one listener, their bounds, and the bytes that they have moved."""

    def __init__(self, request_timeout_s: float, stall_timeout_s: float) -> None:
        self._request_timeout_ns = round(request_timeout_s * NS_PER_S)
        self._stall_timeout_ns = round(stall_timeout_s * NS_PER_S)
        self._connections: dict[asyncio.BaseTransport, WatchedConnection] = {}
        self._to_check: deque[WatchedConnection] = deque()
        self._expecting: dict[WatchedConnection, None] = {}
        self._closed_wire_bytes = 0
        self.opened = 0
        self.aborted_slow_readers = 0
        self.request_timeouts = 0

    def watch(
        self, transport: asyncio.Transport, on_overdue: Callable[[], None], tls: bool = False
    ) -> WatchedConnection:
        """Watch a new connection and expect its first request; ``on_overdue`` answers if that does not come in time.

        A connection that changes its protocol (after a TLS handshake or a WebSocket upgrade) is watched already, and
        keeps its deadline. ``tls``: it will speak TLS.
        """
        connection = self._connections.get(transport)
        if connection is None:
            connection = self._connections[transport] = WatchedConnection(transport, on_overdue, tls)
            self.opened += 1
            self.expect_request(connection)
        connection.on_overdue = on_overdue
        return connection

    def secured(self, connection: WatchedConnection, transport: asyncio.Transport) -> None:
        """Record that the TLS handshake is done: from now on another transport stands for the connection."""
        del self._connections[connection.transport]
        connection.transport = transport
        self._connections[transport] = connection

    def expect_request(self, connection: WatchedConnection) -> None:
        """Start the deadline of a request, whose first byte is expected or has come."""
        connection.request_due_ns = now_ns() + self._request_timeout_ns
        self._expecting[connection] = None

    def request_complete(self, connection: WatchedConnection) -> None:
        """Stop the deadline: the expected request is complete."""
        connection.request_due_ns = 0
        self._expecting.pop(connection, None)

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection. Call it from ``connection_lost``, while the kernel still has its counters."""
        connection = self._connections.pop(transport, None)
        if connection is None:
            return
        self._expecting.pop(connection, None)
        if (info := _info(connection)) is not None:
            self._closed_wire_bytes += info.wire_bytes
        if connection.is_duplicate:
            connection.sock.close()

    async def sweep_for_ever(self) -> None:
        """At every tick, check all deadlines of requests, and a share of all connections."""
        while True:
            await asyncio.sleep(TICK_S)
            at_ns = now_ns()
            for connection in [connection for connection in self._expecting if at_ns > connection.request_due_ns]:
                self.overdue(connection)
            if not self._to_check:
                self._to_check.extend(self._connections.values())
            share = max(1, round(len(self._connections) * TICK_S / SWEEP_S))
            for _ in range(min(share, len(self._to_check))):
                connection = self._to_check.popleft()
                if connection.transport in self._connections and self._stalled(connection, at_ns):
                    self.aborted_slow_readers += 1
                    _abort(connection)

    def overdue(self, connection: WatchedConnection) -> None:
        """Answer that a request did not come in time, and close; a peer that does not take the answer is stalled."""
        self.request_timeouts += 1
        self.request_complete(connection)
        loop = asyncio.get_running_loop()  # which calls them, so that an exception in an answer spares the sweep
        loop.call_soon(connection.on_overdue)
        loop.call_soon(connection.transport.close)

    def abort_slow(self, transport: asyncio.BaseTransport) -> None:
        """Abort a connection whose transport has found that the peer does not keep up."""
        connection = self._connections.get(transport)
        if connection is not None:
            self.aborted_slow_readers += 1
            _abort(connection)

    def abort_all(self) -> None:
        """Abort everything that is still open when the grace of a shutdown is over."""
        for connection in tuple(self._connections.values()):
            _abort(connection)

    def summary(self) -> dict[str, Any]:
        """Connections now and in total, bytes on the wire of all of them, and counts of aborts and time-outs."""
        live = sum(
            info.wire_bytes for connection in self._connections.values() if (info := _info(connection)) is not None
        )
        return {
            "connections_now": len(self._connections),
            "connections_total": self.opened,
            "wire_bytes": self._closed_wire_bytes + live,
            "aborted_slow_readers": self.aborted_slow_readers,
            "request_timeouts": self.request_timeouts,
        }

    def _stalled(self, connection: WatchedConnection, at_ns: int) -> bool:
        try:
            unacked, acked_bytes = read_progress(connection.sock)
        except OSError:  # closed since the last check
            return False
        waiting = unacked or connection.transport.get_write_buffer_size()
        if not waiting or acked_bytes != connection.acked_bytes:
            connection.acked_bytes = acked_bytes
            connection.stalled_since_ns = at_ns
            return False
        return at_ns - connection.stalled_since_ns > self._stall_timeout_ns


def _abort(connection: WatchedConnection) -> None:
    """Reset the connection, so that the kernel drops what it still holds for the peer."""
    with suppress(OSError):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    connection.transport.abort()


def _info(connection: WatchedConnection) -> TcpInfo | None:
    try:
        return read_tcp_info(connection.sock)
    except OSError:  # closed already
        return None
