"""The bytes that the connections of this process have moved, from the kernel's own counters.

When a connection ends, its last segments have not been sent yet. So the ledger ends the sending side itself
(shutdown(2), which sends the FIN whatever else holds the socket), keeps a duplicate of the descriptor until the peer's
FIN has come or ``LINGER_S`` has passed, and reads the counters then: the closing segments are counted, not assumed.
"""

import asyncio
import os
import socket
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple, Protocol, cast

from clients.core.sightings import Sightings
from feed.instruments.clock import NS_PER_MS, now_ns
from feed.instruments.tcp import CLOSED_STATES, TcpInfo, read_tcp_info, unread_bytes

LINGER_S: Final = 1.0
"""Longest wait for the peer's FIN."""
LINGER_CHECK_S: Final = 0.02
MOST_STAMPS: Final = 256
"""Connections whose receive times are held against the kernel's: a window's edge must not take long."""
MAX_PORTS: Final = 100_000
"""How many of the newest connections keep their port."""


class Totals(NamedTuple):
    """Sums over all connections since the process began. The difference of two readings covers the time between."""

    opened: int = 0
    closed: int = 0
    stream_bytes: int = 0
    """Bytes of the TCP streams, both directions: payload, envelopes, framing, HTTP headers."""
    header_bytes: int = 0
    """TCP and IP headers of all segments, both directions."""
    setup_bytes: int = 0
    """Wire bytes up to each connection's first answer."""
    closing_bytes: int = 0
    """Wire bytes of each connection after its last message."""
    requests: int = 0
    heartbeats: int = 0
    deliveries: int = 0
    payload_bytes: int = 0
    sent_bytes: int = 0
    """The part of ``stream_bytes`` that the clients sent."""
    answers: int = 0
    """Answers of polls that came whole ..."""
    body_bytes: int = 0
    """... and the bytes of their bodies."""
    segments_in: int = 0
    """Segments from the servers, bare acknowledgements included."""

    def since(self, earlier: "Totals") -> "Totals":
        """The difference of two readings."""
        return Totals(*(now - then for now, then in zip(self, earlier, strict=True)))


class Stamped(Protocol):
    """A protocol that notes when its newest bytes came."""

    receive_ns: int


class Meter:
    """The counters of one connection."""

    __slots__ = ("_final", "_last", "_ledger", "_loop", "_protocol", "_sock", "_transport", "answered")

    def __init__(
        self, ledger: "Ledger", sock: socket.socket, transport: asyncio.BaseTransport, protocol: Stamped
    ) -> None:
        self._ledger = ledger
        self._transport = transport
        self._protocol = protocol
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._final: TcpInfo | None = None
        self._last = read_tcp_info(sock)
        self.answered = False

    def read(self) -> TcpInfo:
        """The counters now, or the last ones if the connection has ended."""
        if self._final is not None:
            return self._final
        with suppress(OSError, ValueError):  # closed, and connection_lost not called yet: the last reading stands
            self._last = read_tcp_info(self._sock)
        return self._last

    def stamps(self) -> tuple[int, int] | None:
        """When the newest bytes came (CLOCK_MONOTONIC, ns): by the client, and by the kernel, within a tick.

        ``None`` if the kernel has newer ones that the client has not read yet, if nothing came, or after the end.
        """
        kernel_ns = now_ns() - self.read().last_data_received_ms * NS_PER_MS
        try:
            unread = unread_bytes(self._sock)
        except (OSError, ValueError):  # closed
            return None
        return None if unread or not self._protocol.receive_ns else (self._protocol.receive_ns, kernel_ns)

    def first_answer(self) -> None:
        """The connection has brought its first answer: the bytes so far are its set-up."""
        if not self.answered:
            self.answered = True
            self._ledger.setup_bytes += self.read().wire_bytes

    def cut(self) -> None:
        """End the connection at once, without a goodbye."""
        cast("asyncio.Transport", self._transport).abort()

    def lost(self) -> None:
        """End the sending side and count what still comes. Call in ``connection_lost``."""
        before = self.read()
        sock = self._sock
        try:
            self._sock = socket.socket(fileno=os.dup(sock.fileno()))
            if isinstance(sock, socket.socket):  # a duplicate of our own
                sock.close()
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # reset by the peer: nothing more is exchanged
            self._finish(before)
            return
        self._ledger.lingering += 1
        self._wait(before, self._loop.time() + LINGER_S)

    def _wait(self, before: TcpInfo, until: float) -> None:
        if self.read().state in CLOSED_STATES or self._loop.time() > until:
            self._ledger.lingering -= 1
            self._finish(before)
            self._sock.close()
        else:
            self._loop.call_later(LINGER_CHECK_S, self._wait, before, until)

    def _finish(self, before: TcpInfo) -> None:
        self._final = self.read()
        self._ledger.finished(self, self._final, self._final.wire_bytes - before.wire_bytes)


class Ledger:
    """All connections of one process; clients add their requests, heartbeats and deliveries."""

    def __init__(self) -> None:
        self._live: set[Meter] = set()
        self._past = Totals()
        self.setup_bytes = 0
        self.lingering = 0
        self.ports: deque[int] = deque(maxlen=MAX_PORTS)
        """The connections' ports on this side, by which a packet capture knows them."""
        self.opened = 0
        self.requests = 0
        self.heartbeats = 0
        self.deliveries = 0
        self.payload_bytes = 0
        self.answers = 0
        self.body_bytes = 0
        self.sightings = Sightings()

    def open(self, transport: asyncio.BaseTransport, protocol: Stamped) -> Meter:
        """Meter a new connection. Call from its event loop, in ``connection_made``.

        Over TLS, uvloop closes the socket before it calls ``connection_lost``, so that a duplicate is read there.
        """
        sock = transport.get_extra_info("socket")
        if transport.get_extra_info("sslcontext") is not None:
            sock = sock.dup()
        meter = Meter(self, sock, transport, protocol)
        self._live.add(meter)
        self.ports.append(sock.getsockname()[1])
        self.opened += 1
        return meter

    def finished(self, meter: Meter, final: TcpInfo, closing_bytes: int) -> None:
        """Add up a connection that has moved its last segment."""
        self._live.discard(meter)
        past = self._past
        self._past = past._replace(
            closed=past.closed + 1,
            stream_bytes=past.stream_bytes + final.stream_bytes,
            header_bytes=past.header_bytes + final.header_bytes,
            sent_bytes=past.sent_bytes + final.bytes_sent,
            closing_bytes=past.closing_bytes + closing_bytes,
            segments_in=past.segments_in + final.segments_in,
        )

    def totals(self) -> Totals:
        """The sums now, live connections included."""
        live = [meter.read() for meter in self._live]
        return self._past._replace(
            opened=self.opened,
            stream_bytes=self._past.stream_bytes + sum(info.stream_bytes for info in live),
            header_bytes=self._past.header_bytes + sum(info.header_bytes for info in live),
            setup_bytes=self.setup_bytes,
            requests=self.requests,
            heartbeats=self.heartbeats,
            deliveries=self.deliveries,
            payload_bytes=self.payload_bytes,
            sent_bytes=self._past.sent_bytes + sum(info.bytes_sent for info in live),
            answers=self.answers,
            body_bytes=self.body_bytes,
            segments_in=self._past.segments_in + sum(info.segments_in for info in live),
        )

    def stamps(self) -> list[tuple[int, int]]:
        """``Meter.stamps`` of live connections, of at most ``MOST_STAMPS``."""
        return [pair for meter in islice(self._live, MOST_STAMPS) if (pair := meter.stamps()) is not None]

    def cut(self) -> None:
        """End all connections at once; their clients come back by themselves."""
        for meter in tuple(self._live):
            meter.cut()

    async def settle(self) -> None:
        """Wait until every ended connection is counted, at most twice ``LINGER_S``."""
        for _ in range(round(2 * LINGER_S / LINGER_CHECK_S)):
            if not self.lingering:
                return
            await asyncio.sleep(LINGER_CHECK_S)
