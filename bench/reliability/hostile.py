"""Bad peers beside good ones: what they cost the server, and whether the good ones notice. ``python -m bench faults``.

Windows without and with bad peers take turns on one server. The good ones are shipped clients, whose latency is taken
in both; the bad ones are plain sockets of the same process.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bench.machine.host import Placement
from bench.machine.processes import Child, rss_bytes, start
from bench.results.reliability import HostileTrial
from clients.control import Control
from clients.core.client import Client, new_client, new_shared
from clients.core.options import ClientOptions
from feed.envelope import decode_stamp
from feed.instruments.clock import NS_PER_MS
from feed.schedule import Schedule
from feed.wire import encode_frame

PEERS: Final = {"half_open_handshake": 1000, "slowloris": 200, "non_reading": 50, "reset_mid_message": 200}
"""Bad peers at once; of ``torn``, connections a second."""
HEALTHY: Final = 20
RATE_HZ: Final = 100.0
PAYLOAD_BYTES: Final = 512
HISTORY: Final = 64
"""Full before it is measured, so that it is no part of what bad peers cost."""
SETTLE_S: Final = 0.5
ARRIVE_TIMEOUT_S: Final = 30.0
SMALL_BUFFER: Final = 4096
_RESET: Final = struct.pack("ii", 1, 0)
_UPGRADE: Final = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n"
)
_SOCKETIO_CONNECT: Final = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"40"
_HALF_FRAME: Final = bytes([0x81, 0xFE, 0x10, 0x00, 0, 0, 0, 0]) + b'{"type":'
_HALF_POST: Final = b'POST /requests HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"type":'


def opening(transport: str) -> bytes:
    """What a subscriber of that transport says first."""
    return {
        "polling": b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n",
        "long_polling": b"GET /long-poll HTTP/1.1\r\nHost: x\r\n\r\n",
        "sse": b"GET /sse HTTP/1.1\r\nHost: x\r\n\r\n",
        "websocket": b"GET /ws HTTP/1.1\r\nHost: x\r\n" + _UPGRADE,
        "socketio": b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n" + _UPGRADE,
        "raw": encode_frame(b'{"type":"subscribe"}'),
    }[transport]


async def run_siege(
    transport: str, siege: str, repeat: int, events: int, folder: Path, place: Placement, seed: int
) -> HostileTrial:
    """One trial: a window of so many events in peace, one under siege; the server's memory before and during it."""
    log = folder / "logs" / f"{transport}-{siege}-{repeat}-server.log"
    arguments = ["-m", "servers", transport, "--port", "0", "--source", "none", "--history", str(HISTORY)]
    server = await start("server", arguments, place.server, log)
    try:
        await server.await_ready()
        async with AsyncExitStack() as stack:
            control = await stack.enter_async_context(Control(server.ready["control_url"]))
            crowd = await stack.enter_async_context(_healthy(server, transport, seed))
            await crowd.window(control, events)  # warms up what a first event costs
            calm_ms = await crowd.window(control, events)
            before = rss_bytes(server.pid)
            async with BAD[siege](transport, int(server.ready["port"]), PEERS[siege]):
                await asyncio.sleep(SETTLE_S)
                under_siege_ms = await crowd.window(control, events)
                growth = rss_bytes(server.pid) - before
            return HostileTrial(
                transport=transport,
                attack=siege,
                repeat=repeat,
                hostile_clients=PEERS[siege],
                baseline_ms_p99=float(np.percentile(calm_ms, 99)),
                attack_ms_p99=float(np.percentile(under_siege_ms, 99)),
                rss_bytes_per_hostile_client=growth / PEERS[siege],
                delivered=crowd.delivered,
                expected=3 * events * HEALTHY,
            )
    finally:
        await server.stop()


class Crowd:
    """Good clients, and how late their events came."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.late_ms: list[float] = []
        self.welcomed = 0

    @property
    def delivered(self) -> int:
        """Events over all of them and all windows."""
        return sum(client.session.delivered for client in self.clients)

    async def receive(self, client: Client) -> None:
        """Until cancelled."""
        async with aclosing(client.events()) as stream:
            async for envelope, receive_ns in stream:
                if envelope.type == "event":
                    self.late_ms.append((receive_ns - decode_stamp(envelope.data).due_ns) / NS_PER_MS)
                elif envelope.type == "welcome":
                    self.welcomed += 1

    async def window(self, control: Control, events: int) -> list[float]:
        """Have events published, and return how late each came to each. Raises ``TimeoutError``."""
        self.late_ms = []
        await control.start_feed(Schedule("constant", RATE_HZ, limit=events), PAYLOAD_BYTES)
        await _until(lambda: len(self.late_ms) >= events * HEALTHY)
        return self.late_ms


@asynccontextmanager
async def _healthy(server: Child, transport: str, seed: int) -> AsyncIterator[Crowd]:
    shared = new_shared(seed)
    options = ClientOptions(poll_interval_s=0.2, hold_s=5.0, max_attempts=30)
    crowd = Crowd([new_client(transport, server.ready["url"], options, shared) for _ in range(HEALTHY)])
    tasks = [asyncio.ensure_future(crowd.receive(client)) for client in crowd.clients]
    try:
        await _until(lambda: crowd.welcomed >= HEALTHY)
        yield crowd
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await shared.ledger.settle()
        shared.timer.close()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(ARRIVE_TIMEOUT_S):
        while not holds():  # noqa: ASYNC110 - counters of the clients measured here: a look costs them less than waking us
            await asyncio.sleep(0.01)


class Peer(NamedTuple):
    """A plain socket."""

    sock: socket.socket

    @classmethod
    async def connect(cls, port: int, receive_buffer: int = 0) -> "Peer":
        """Connect to the server; a small buffer lets a peer that does not read be noticed early."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def say(self, data: bytes) -> None:
        """Send it all; who is cut off has said enough."""
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def reset(self) -> None:
        """Leave without a goodbye."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


@asynccontextmanager
async def _unfinished(transport: str, port: int, count: int) -> AsyncIterator[None]:
    """Connections that never finish their handshake."""
    half = opening(transport)[:-2]
    peers = await _connected(port, count)
    try:
        for peer in peers:
            await peer.say(half)
        yield
    finally:
        _leave(peers)


@asynccontextmanager
async def _slow(transport: str, port: int, count: int) -> AsyncIterator[None]:
    """Peers that send one byte a second (slowloris)."""
    peers = await _connected(port, count)

    async def trickle() -> None:
        for byte in opening(transport):
            for peer in peers:
                await peer.say(bytes([byte]))
            await asyncio.sleep(1)

    task = asyncio.ensure_future(trickle())
    try:
        yield
    finally:
        task.cancel()
        _leave(peers)


@asynccontextmanager
async def _stalled(transport: str, port: int, count: int) -> AsyncIterator[None]:
    """Subscribers that never read."""
    peers = await _connected(port, count, SMALL_BUFFER)
    saying = [asyncio.ensure_future(_ask(peer, transport)) for peer in peers]
    try:
        yield
    finally:
        for task in saying:
            task.cancel()
        await asyncio.gather(*saying, return_exceptions=True)
        _leave(peers)


async def _ask(peer: Peer, transport: str) -> None:
    """Subscribe, or for polls ask for the whole history, and read no more than that takes."""
    loop, first = asyncio.get_running_loop(), opening(transport)
    await peer.say(first)
    if transport == "socketio":
        await loop.sock_recv(peer.sock, 1)  # the handshake is answered
        await peer.say(_SOCKETIO_CONNECT)
    elif "polling" in transport:
        answer = b""
        while b'"id":"' not in answer:
            answer += await loop.sock_recv(peer.sock, SMALL_BUFFER)
        epoch = answer.partition(b'"id":"')[2][:8]
        await peer.say(first.replace(b" HTTP", b"?since=" + epoch + b"-1 HTTP"))


@asynccontextmanager
async def _torn(transport: str, port: int, per_s: int) -> AsyncIterator[None]:
    """Connections that are reset in the middle of a message, so many a second."""

    async def storm() -> None:
        while True:
            with suppress(OSError):
                peer = await Peer.connect(port)
                await _half_a_message(peer, transport)
                peer.reset()
            await asyncio.sleep(1 / per_s)

    task = asyncio.ensure_future(storm())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _half_a_message(peer: Peer, transport: str) -> None:
    if transport in ("websocket", "socketio"):
        await peer.say(opening(transport))
        await asyncio.get_running_loop().sock_recv(peer.sock, 1)
        await peer.say(_HALF_FRAME)
    else:
        await peer.say(opening(transport)[:-4] if transport == "raw" else _HALF_POST)


BAD: Final = {
    "half_open_handshake": _unfinished,
    "slowloris": _slow,
    "non_reading": _stalled,
    "reset_mid_message": _torn,
}


async def _connected(port: int, count: int, receive_buffer: int = 0) -> list[Peer]:
    return [await Peer.connect(port, receive_buffer) for _ in range(count)]


def _leave(peers: list[Peer]) -> None:
    for peer in peers:
        peer.reset()
