"""Bounds on every connection, whatever the transport: a request must be finished, and a peer must keep reading.

uvicorn only ever closes a transport, and closing waits until the peer has taken what is buffered: a peer that has
stopped reading then keeps its socket, its task and its memory for ever. So one sweep looks at every connection
every two seconds and aborts what has passed a bound. A peer counts as stalled when its kernel has acknowledged nothing
new for ``stall_timeout_s`` although bytes wait for it; a slow reader acknowledges and is left alone (the ring bounds
what it can cost), a dead one does not.
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
TICK_S: Final = 0.2
SWEEP_S: Final = 2.0
"""Every connection is looked at once in this time, a tenth of them at each tick."""


class Link:
    """One connection as the guard sees it."""

    __slots__ = ("acked_bytes", "on_overdue", "own", "request_due_ns", "sock", "stalled_since_ns", "transport")

    def __init__(self, transport: asyncio.Transport, on_overdue: Callable[[], None], tls: bool) -> None:
        self.transport = transport
        sock: socket.socket = transport.get_extra_info("socket")
        self.own = tls
        """Over TLS, uvloop closes the socket before it says that the connection is lost: this is a duplicate then."""
        self.sock = sock.dup() if self.own else sock
        self.on_overdue = on_overdue
        self.request_due_ns = 0
        self.stalled_since_ns = 0
        self.acked_bytes = -1


class Guard:
    """All open connections of one server, their bounds, and what they have moved."""

    def __init__(self, request_timeout_s: float, stall_timeout_s: float) -> None:
        self._request_timeout_ns = round(request_timeout_s * NS_PER_S)
        self._stall_timeout_ns = round(stall_timeout_s * NS_PER_S)
        self._links: dict[asyncio.BaseTransport, Link] = {}
        self._to_check: deque[Link] = deque()
        self._expecting: dict[Link, None] = {}
        self._closed_wire_bytes = 0
        self.opened = 0
        self.aborted_slow_readers = 0
        self.request_timeouts = 0

    def opened_by(self, transport: asyncio.Transport, on_overdue: Callable[[], None], tls: bool = False) -> Link:
        """Watch a new connection, whose first request is now expected; ``on_overdue`` answers it if it never comes.

        A connection that changes its protocol (TLS has been agreed on, a WebSocket upgrade) keeps its link and its
        deadline. ``tls``: it will speak TLS.
        """
        link = self._links.get(transport)
        if link is None:
            link = self._links[transport] = Link(transport, on_overdue, tls)
            self.opened += 1
            self.expect_request(link)
        link.on_overdue = on_overdue
        return link

    def secured(self, link: Link, transport: asyncio.Transport) -> None:
        """TLS has been agreed on: from now on the connection is used through another transport."""
        del self._links[link.transport]
        link.transport = transport
        self._links[transport] = link

    def expect_request(self, link: Link) -> None:
        """The first byte of a request is expected or has come: the rest is due."""
        link.request_due_ns = now_ns() + self._request_timeout_ns
        self._expecting[link] = None

    def request_complete(self, link: Link) -> None:
        """The request that was expected is there."""
        link.request_due_ns = 0
        self._expecting.pop(link, None)

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """A connection is gone; called from ``connection_lost``, where the kernel still knows its counters."""
        link = self._links.pop(transport, None)
        if link is None:
            return
        self._expecting.pop(link, None)
        if (info := _info(link)) is not None:
            self._closed_wire_bytes += info.wire_bytes
        if link.own:
            link.sock.close()

    async def sweep_for_ever(self) -> None:
        """Check requests that are expected at every tick, and of all connections a share."""
        while True:
            await asyncio.sleep(TICK_S)
            at_ns = now_ns()
            for link in [link for link in self._expecting if at_ns > link.request_due_ns]:
                self.overdue(link)
            if not self._to_check:
                self._to_check.extend(self._links.values())
            share = max(1, round(len(self._links) * TICK_S / SWEEP_S))
            for _ in range(min(share, len(self._to_check))):
                link = self._to_check.popleft()
                if link.transport in self._links and self._stalled(link, at_ns):
                    self.aborted_slow_readers += 1
                    _abort(link)

    def overdue(self, link: Link) -> None:
        """A request did not come in time: answer so and close; who does not even take that is stalled."""
        self.request_timeouts += 1
        self.request_complete(link)
        loop = asyncio.get_running_loop()  # called by the loop, so that an exception in one answer spares the sweep
        loop.call_soon(link.on_overdue)
        loop.call_soon(link.transport.close)

    def abort_slow(self, transport: asyncio.BaseTransport) -> None:
        """Who uses a connection has found out that its peer does not keep up."""
        link = self._links.get(transport)
        if link is not None:
            self.aborted_slow_readers += 1
            _abort(link)

    def abort_all(self) -> None:
        """End of the grace of a shutdown: cut what is still open."""
        for link in tuple(self._links.values()):
            _abort(link)

    def summary(self) -> dict[str, Any]:
        """Connections now and in total, wire bytes of all of them, and what was aborted."""
        live = sum(info.wire_bytes for link in self._links.values() if (info := _info(link)) is not None)
        return {
            "connections_now": len(self._links),
            "connections_total": self.opened,
            "wire_bytes": self._closed_wire_bytes + live,
            "aborted_slow_readers": self.aborted_slow_readers,
            "request_timeouts": self.request_timeouts,
        }

    def _stalled(self, link: Link, at_ns: int) -> bool:
        try:
            unacked, acked_bytes = read_progress(link.sock)
        except OSError:  # closed between two looks at it
            return False
        waiting = unacked or link.transport.get_write_buffer_size()
        if not waiting or acked_bytes != link.acked_bytes:
            link.acked_bytes = acked_bytes
            link.stalled_since_ns = at_ns
            return False
        return at_ns - link.stalled_since_ns > self._stall_timeout_ns


def _abort(link: Link) -> None:
    """Reset the connection: with lingering off the kernel drops what it still holds for the peer (socket(7))."""
    with suppress(OSError):
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    link.transport.abort()


def _info(link: Link) -> TcpInfo | None:
    try:
        return read_tcp_info(link.sock)
    except OSError:  # closed already
        return None
