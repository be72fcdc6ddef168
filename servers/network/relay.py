"""A user-space TCP relay that puts a network between client and server.

Each direction of each connection has a path of its own (``servers.network.link_model``): half the round trip, and what
jitter, bandwidth and modelled loss add to it, in order. TCP's own handshake happens between the client and the relay at
once, where on a real path it takes a round trip; so what a new connection's client sends first waits one more round
trip.
Instants are absolute, on a timerfd; how late each piece is released is recorded.
Per connection and direction at most ``MAX_HELD_BYTES`` are held; beyond that the relay stops reading.
"""

import asyncio
import json
import os
import socket
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feed.instruments.clock import NS_PER_MS, Timer, now_ns, run_first
from feed.instruments.meters import Lateness
from feed.instruments.tcp import describe, tune
from feed.networks import Network
from servers.gate.guard import Guard
from servers.gate.origins import Origins
from servers.http.listener import HttpListener
from servers.network.link_model import Path
from servers.platform.context import Serving
from servers.platform.options import ServerOptions
from servers.process import control
from servers.process.app import bind, start, stop_signal

MAX_HELD_BYTES: Final = 1 << 20
CONNECT_TIMEOUT_S: Final = 10.0
COUNTED: Final = ("segments", "lost", "stalls")
"""What paths count, summed over connections and directions."""


class RelayOptions(NamedTuple):
    """Where to, from where, and over which network; the seed is that of all its chance."""

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
        self.accepted: set[Leg] = set()
        """The client sides of what is open, whether or not the server has been reached."""
        self.legs: set[Leg] = set()
        self._ended_paths: Counter[str] = Counter()

    def accept(self) -> "Leg":
        """The client side of a new connection."""
        self.connections_total += 1
        number = self.connections_total
        opened_ns = now_ns()
        client = Leg(self, self._path(number, "up"), opened_ns + self.round_trip_ns)
        self.accepted.add(client)
        self.timer.call_at(
            opened_ns + self.round_trip_ns + self.one_way_ns, lambda: self._start_connect(client, number)
        )
        return client

    def _path(self, connection: int, direction: str) -> Path:
        return Path(self.options.network, Random(f"{self.options.seed}-{connection}-{direction}"))

    def _start_connect(self, client: "Leg", number: int) -> None:
        client.connecting = asyncio.ensure_future(self._connect(client, number))

    async def _connect(self, client: "Leg", number: int) -> None:
        server = Leg(self, self._path(number, "down"), 0)
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

    def ended(self, leg: "Leg") -> None:
        """One side of a connection is gone; what its path counted stays."""
        self.legs.discard(leg)
        self.accepted.discard(leg)
        self._ended_paths.update({name: getattr(leg.path, name) for name in COUNTED})

    def summary(self) -> dict[str, Any]:
        """What the relay says of itself."""
        return {
            "connections_now": len(self.accepted),
            "connections_total": self.connections_total,
            "release_lateness": self.lateness.summary(),
            "path": {
                name: self._ended_paths[name] + sum(getattr(leg.path, name) for leg in self.legs) for name in COUNTED
            },
        }


class Leg(asyncio.Protocol):
    """One side of a relayed connection. What it receives is released to its peer when it is due."""

    transport: asyncio.Transport

    def __init__(self, relay: Relay, path: Path, not_before_ns: int) -> None:
        self._relay = relay
        self.path = path
        self._not_before_ns = not_before_ns
        self._held: deque[tuple[int, bytes | None]] = deque()
        self._held_bytes = 0
        self._stopped_reading = False
        self._blocked = False
        self.peer: Leg | None = None
        self.connecting: asyncio.Future[None] | None = None
        self.lost = False
        self.ended = False
        """Has the end of the stream been written to this side?"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self._relay.legs.add(self)

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
        """Pass on what is due, in order."""
        peer, held = self.peer, self._held
        if peer is None:
            return  # still connecting: whoever connects calls this again
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
        for due_ns, size_bytes in self.path.releases(max(now_ns(), self._not_before_ns), len(data or b"")):
            self._held.append((due_ns, data and data[begin : begin + size_bytes]))
            begin += size_bytes
            self._relay.timer.call_at(due_ns, self.release_due)

    def _pass_on(self, peer: "Leg", data: bytes | None) -> None:
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


async def run(options: RelayOptions, announce: Callable[[str], None]) -> None:
    """Relay until SIGTERM or SIGINT."""
    defaults = ServerOptions("relay")
    sock = bind(options.host, options.port, defaults.unsent_bytes)
    control_sock = bind(control.CONTROL_HOST, 0, defaults.unsent_bytes)
    loop = asyncio.get_running_loop()
    relay = Relay(options, Timer(loop))
    stopped = stop_signal()
    server = await loop.create_server(relay.accept, sock=sock, backlog=defaults.backlog)
    guard = Guard(defaults.request_timeout_s, defaults.stall_timeout_s)
    sweeping = asyncio.ensure_future(guard.sweep_for_ever())
    listener = HttpListener(Serving(defaults, guard, Origins(), local=True), _routes(relay))
    ready = {
        "transport": "relay",
        "host": sock.getsockname()[0],
        "port": sock.getsockname()[1],
        "pid": os.getpid(),
        "control_url": f"http://{control.CONTROL_HOST}:{control_sock.getsockname()[1]}",
        "options": {
            **options._asdict(),
            "network": msgspec.to_builtins(options.network),
            "seeds": f"{options.seed}-CONNECTION-up and {options.seed}-CONNECTION-down, connections counted from 1",
            "scheduling": run_first(),
        },
        "socket": describe(sock),
    }
    (serving,) = await start((listener,), (control_sock,))
    announce(json.dumps(ready))
    await stopped.wait()
    sweeping.cancel()
    listener.stop()
    server.close()
    loop.call_later(defaults.shutdown_grace_s, guard.abort_all)
    for leg in tuple(relay.legs):
        leg.abort()
    await serving
    relay.timer.close()


def _routes(relay: Relay) -> list[Route]:
    async def stats(request: Request) -> Response:
        return JSONResponse(relay.summary())

    async def reset(request: Request) -> Response:
        relay.lateness.reset()
        return JSONResponse({})

    return [Route("/stats", stats), Route("/stats/reset", reset, methods=["POST"])]
