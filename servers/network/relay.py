"""A user-space TCP relay that puts a network between client and server.

Each direction of each connection has a link model of its own (``servers.network.link_model``): half the round trip,
and what jitter, bandwidth and modelled loss add to it, in order. The relay completes TCP's handshake with the client at
once, although on a real network it takes a round trip; therefore the first bytes of a client wait one more round trip.
Release times are absolute, on a timerfd, and the lateness of each release is recorded. The relay holds at most
``MAX_HELD_BYTES`` per connection and direction; beyond that it stops reading. ``servers.process.relay`` runs it.
"""

import asyncio
import socket
from collections import Counter, deque
from random import Random
from typing import Any, Final, NamedTuple, cast

from feed.instruments.clock import NS_PER_MS, Timer, now_ns
from feed.instruments.meters import Lateness
from feed.instruments.tcp import tune
from feed.networks import Network
from servers.network.link_model import LinkModel

MAX_HELD_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_S: Final = 10.0
COUNTED: Final = ("segments", "lost", "stalls")
"""Counters of a ``LinkModel``, summed over connections and directions."""


class RelayOptions(NamedTuple):
    """Target, listening address and network of a relay; ``seed`` starts the random numbers of jitter and loss."""

    target_host: str
    target_port: int
    host: str
    port: int
    network: Network
    seed: int


class Relay:
    """State shared by all connections of one relay."""

    def __init__(self, options: RelayOptions, timer: Timer) -> None:
        self.options = options
        self.timer = timer
        self.lateness = Lateness()
        self.round_trip_ns = round(options.network.rtt_ms * NS_PER_MS)
        self.one_way_ns = self.round_trip_ns // 2
        self.connections_total = 0
        self.accepted: set[RelaySide] = set()
        """The client side of each open connection, whether or not the server has been reached."""
        self.sides: set[RelaySide] = set()
        self._ended: Counter[str] = Counter()

    def accept(self) -> "RelaySide":
        """Make the client side of a new connection; the server is connected to one and a half round trips later."""
        self.connections_total += 1
        number = self.connections_total
        opened_ns = now_ns()
        client = RelaySide(self, self._link(number, "up"), opened_ns + self.round_trip_ns)
        self.accepted.add(client)
        self.timer.call_at(
            opened_ns + self.round_trip_ns + self.one_way_ns, lambda: self._start_connect(client, number)
        )
        return client

    def _link(self, connection: int, direction: str) -> LinkModel:
        return LinkModel(self.options.network, Random(f"{self.options.seed}-{connection}-{direction}"))

    def _start_connect(self, client: "RelaySide", number: int) -> None:
        client.connecting = asyncio.ensure_future(self._connect(client, number))

    async def _connect(self, client: "RelaySide", number: int) -> None:
        server = RelaySide(self, self._link(number, "down"), 0)
        server.peer = client
        host, port = self.options.target_host, self.options.target_port
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            tune(sock)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, (host, port))
                await loop.create_connection(lambda: server, sock=sock)
        except (OSError, TimeoutError):
            sock.close()
            client.abort()
            return
        client.peer = server
        if client.lost:
            server.abort()
        client.release_due()

    def ended(self, side: "RelaySide") -> None:
        """Forget one side of a connection, and keep what its link has counted."""
        self.sides.discard(side)
        self.accepted.discard(side)
        self._ended.update({name: getattr(side.link, name) for name in COUNTED})

    def summary(self) -> dict[str, Any]:
        """Connections, lateness of releases, and counters of the links, for ``GET /stats``."""
        link = {name: self._ended[name] + sum(getattr(side.link, name) for side in self.sides) for name in COUNTED}
        return {
            "connections_now": len(self.accepted),
            "connections_total": self.connections_total,
            "release_lateness": self.lateness.summary(),
            "link": link,
        }


class RelaySide(asyncio.Protocol):
    """One side of a relayed connection. It passes what it receives on to its peer when that is due."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, link: LinkModel, not_before_ns: int) -> None:
        self._relay = relay
        self.link = link
        self._not_before_ns = not_before_ns
        self._held: deque[tuple[int, bytes | None]] = deque()
        self._held_bytes = 0
        self._stopped_reading = False
        self._blocked = False
        self.peer: RelaySide | None = None
        self.connecting: asyncio.Future[None] | None = None
        self.lost = False
        self.ended = False
        """The end of the stream has been written to this side."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self._relay.sides.add(self)

    def data_received(self, data: bytes) -> None:
        self._hold(data)
        self._held_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self._stopped_reading = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._hold(None)
        return True  # the other direction stays open

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay.ended(self)
        self.lost = True
        if exc is not None and self.peer is not None:
            peer = self.peer
            self._relay.timer.call_at(now_ns() + self._relay.one_way_ns, peer.abort)

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer._blocked = True

    def resume_writing(self) -> None:
        if self.peer is not None:
            self.peer._blocked = False
            self.peer.release_due()

    def abort(self) -> None:
        """Reset this side."""
        if not self.lost:
            self.transport.abort()

    def release_due(self) -> None:
        """Pass the pieces that are due on to the peer, in order."""
        peer, held = self.peer, self._held
        if peer is None:
            return  # not connected yet: ``Relay._connect`` calls this again
        at_ns = now_ns()
        while held and held[0][0] <= at_ns and not self._blocked:
            due_ns, data = held.popleft()
            self._relay.lateness.record(now_ns() - due_ns)
            self._pass_on(peer, data)
        if self._stopped_reading and self._held_bytes <= MAX_HELD_BYTES // 2 and not self.lost:
            self._stopped_reading = False
            self.transport.resume_reading()

    def _hold(self, data: bytes | None) -> None:
        begin = 0
        for due_ns, size_bytes in self.link.releases(max(now_ns(), self._not_before_ns), len(data or b"")):
            self._held.append((due_ns, data and data[begin : begin + size_bytes]))
            begin += size_bytes
            self._relay.timer.call_at(due_ns, self.release_due)

    def _pass_on(self, peer: "RelaySide", data: bytes | None) -> None:
        if peer.lost:
            return
        if data is not None:
            self._held_bytes -= len(data)
            peer.transport.write(data)
            return
        peer.transport.write_eof()
        peer.ended = True
        if self.ended:  # both directions have come to their end
            self.transport.close()
            peer.transport.close()
