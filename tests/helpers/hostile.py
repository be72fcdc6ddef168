"""Servers that answer what they should not: in this process, on a free port, one per test."""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from hashlib import sha1
from typing import NamedTuple

from clients.core.client import Client, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.options import ClientOptions
from feed.envelope import encode_envelope
from feed.wire import encode_frame, encode_sse, encode_websocket_text

SLEEPLESS = {"backoff_base_s": 0.001, "backoff_cap_s": 0.001, "poll_interval_s": 0.001, "hold_s": 0.0}
EPOCH = "0badcafe"
NEW = {"resume": "new", "missed": 0}
WELCOME = encode_envelope("welcome", f"{EPOCH}-0", "feed", NEW | {"client": "c", "session": "s"})
EVENT = encode_envelope("event", f"{EPOCH}-1", "feed", {"n": 0, "due_ns": 1})
BATCH = encode_envelope("batch", f"{EPOCH}-0", "feed", NEW | {"events": []})
HTML = b"<!doctype html><title>Sign in</title>"
HANDSHAKE = b'0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}'

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Stranger(NamedTuple):
    """A server that is running, and what it was asked."""

    port: int
    requests: list[bytes]

    def client(self, transport: str, **options: object) -> Client:
        """A client of it, which hardly waits."""
        shared = new_shared(seed=1)
        given = SLEEPLESS | {"max_attempts": 3} | options
        return new_client(transport, f"http://127.0.0.1:{self.port}", ClientOptions(**given), shared)  # type: ignore[arg-type]  # mixed values


@asynccontextmanager
async def stranger(answer: Answer, head_end: bytes = b"\r\n\r\n") -> AsyncIterator[Stranger]:
    """Serve ``answer`` for each request head (for ``raw``: frame) until its connection ends."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(head_end)
                if length := re.search(rb"(?i)content-length: (\d+)", head):
                    await reader.readexactly(int(length[1]))
                requests.append(head)
                await answer(head, writer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Stranger(server.sockets[0].getsockname()[1], requests)
    finally:
        server.close()


async def outcome(client: Client, take: int = 1_000_000) -> list[str]:
    """The types of what comes, until so many; raises what the client raises."""
    types: list[str] = []
    async with aclosing(client.events()) as stream:
        async for received in stream:
            types.append(received.envelope.type)
            if len(types) == take:
                break
    return types


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[None]:
    """Let it receive meanwhile, whatever becomes of that."""
    task = asyncio.ensure_future(outcome(client))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, ClientError):
            await task


def response(body: bytes, content_type: str = "application/json", status: str = "200 OK", *extra: str) -> bytes:
    """A whole HTTP answer."""
    fields = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join((*fields, "\r\n")).encode() + body


def endless_head(content_type: str, status: str = "200 OK") -> bytes:
    """The head of a body that ends with the connection."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n\r\n".encode()


def opening(transport: str, request: bytes) -> bytes:
    """How a good server begins to answer, up to where its first message stands."""
    if transport == "sse":
        return endless_head("text/event-stream;charset=utf-8")
    if transport in ("websocket", "socketio"):
        return handshake_answer(request)
    return b""


def message(transport: str, envelope: bytes) -> bytes:
    """An envelope as the transport carries it."""
    if transport == "sse":
        return encode_sse(envelope)
    if transport == "websocket":
        return encode_websocket_text(envelope)
    if transport == "socketio":
        return encode_websocket_text(b'42["event",' + envelope + b"]")
    return encode_frame(envelope) if transport == "raw" else response(envelope)


def handshake_answer(request: bytes) -> bytes:
    """RFC 6455, section 4.2.2; for Engine.IO with its own handshake and the namespace behind it."""
    found = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert found is not None, request
    accept = b64encode(sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    if b"EIO=4" not in request:
        return head
    return head + encode_websocket_text(HANDSHAKE) + encode_websocket_text(b'40{"sid":"y"}')
