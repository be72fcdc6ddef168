"""Attacks of hostile clients, which are plain sockets. Each attack is a context manager that lasts for its block."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from feed.transports import POLLS, TRANSPORTS

HOSTILE_CLIENTS: Final = {
    "half_open_handshake": 1000,
    "slowloris": 200,
    "non_reading": 50,
    "reset_mid_message": 200,
}
"""Hostile clients at once; for ``reset_mid_message``, connections per second."""
SMALL_BUFFER: Final = 4096
_RESET: Final = struct.pack("ii", 1, 0)
_SOCKETIO_CONNECT: Final = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"40"
_HALF_FRAME: Final = bytes([0x81, 0xFE, 0x10, 0x00, 0, 0, 0, 0]) + b'{"type":'
_HALF_POST: Final = b'POST /requests HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"type":'


class HostileClient(NamedTuple):
    """A plain socket."""

    sock: socket.socket

    @classmethod
    async def connect(cls, port: int, receive_buffer: int = 0) -> "HostileClient":
        """Connect to the server; with a small buffer, not reading has an effect early."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def send(self, data: bytes) -> None:
        """Send it all, unless the server has closed the connection."""
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


@asynccontextmanager
async def half_open_handshake(transport: str, port: int, count: int) -> AsyncIterator[None]:
    """Connections that never complete their handshake."""
    async with _connected(port, count) as clients:
        for client in clients:
            await client.send(TRANSPORTS[transport].opening[:-2])
        yield


@asynccontextmanager
async def slowloris(transport: str, port: int, count: int) -> AsyncIterator[None]:
    """Clients that send one byte per second."""
    async with _connected(port, count) as clients:

        async def trickle() -> None:
            for byte in TRANSPORTS[transport].opening:
                for client in clients:
                    await client.send(bytes([byte]))
                await asyncio.sleep(1)

        task = asyncio.ensure_future(trickle())
        try:
            yield
        finally:
            task.cancel()


@asynccontextmanager
async def non_reading(transport: str, port: int, count: int) -> AsyncIterator[None]:
    """Subscribers that never read."""
    async with _connected(port, count, SMALL_BUFFER) as clients:
        subscribing = [asyncio.ensure_future(_subscribe(client, transport)) for client in clients]
        try:
            yield
        finally:
            for task in subscribing:
                task.cancel()
            await asyncio.gather(*subscribing, return_exceptions=True)


async def _subscribe(client: HostileClient, transport: str) -> None:
    """Subscribe, or for polls ask for the whole history, and read no more than that takes."""
    loop, first = asyncio.get_running_loop(), TRANSPORTS[transport].opening
    await client.send(first)
    if transport == "socketio":
        await loop.sock_recv(client.sock, 1)  # the handshake is answered
        await client.send(_SOCKETIO_CONNECT)
    elif transport in POLLS:
        answer = b""
        while b'"id":"' not in answer:
            answer += await loop.sock_recv(client.sock, SMALL_BUFFER)
        epoch = answer.partition(b'"id":"')[2][:8]
        await client.send(first.replace(b" HTTP", b"?since=" + epoch + b"-1 HTTP"))


@asynccontextmanager
async def reset_mid_message(transport: str, port: int, per_s: int) -> AsyncIterator[None]:
    """Connections that are reset in the middle of a message, ``per_s`` of them per second."""

    async def storm() -> None:
        while True:
            with suppress(OSError):
                client = await HostileClient.connect(port)
                await _send_half(client, transport)
                client.reset()
            await asyncio.sleep(1 / per_s)

    task = asyncio.ensure_future(storm())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _send_half(client: HostileClient, transport: str) -> None:
    """The first half of a message to the server, or of the first frame where a transport takes no requests."""
    row = TRANSPORTS[transport]
    if not row.takes_requests:
        await client.send(row.opening[:-4])
    elif b"Upgrade: websocket" in row.opening:
        await client.send(row.opening)
        await asyncio.get_running_loop().sock_recv(client.sock, 1)
        await client.send(_HALF_FRAME)
    else:
        await client.send(_HALF_POST)


@asynccontextmanager
async def _connected(port: int, count: int, receive_buffer: int = 0) -> AsyncIterator[list[HostileClient]]:
    clients = [await HostileClient.connect(port, receive_buffer) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.reset()


ATTACKS: Final = {
    "half_open_handshake": half_open_handshake,
    "slowloris": slowloris,
    "non_reading": non_reading,
    "reset_mid_message": reset_mid_message,
}
"""Attack by name, as ``bench.results.reliability`` lists them."""
