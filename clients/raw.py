"""The baseline's client: length-prefixed JSON frames over bare TCP."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, cast

from clients.core.client import Client, Received, Shared
from clients.core.ledger import Ledger, Meter
from clients.core.options import ClientOptions, target
from clients.core.tls import client_context
from feed.envelope import decode_envelope
from feed.instruments.clock import now_ns
from feed.instruments.tcp import tune
from feed.transports import TRANSPORTS
from feed.wire import FrameDecoder, encode_frame

MAX_WAITING_FRAMES: Final = 1024
"""Unread frames at which the socket is read no further until they are taken."""
MAX_WAITING_BYTES: Final = 4 << 20
"""The same bound for the bytes of all unread frames."""


class Raw(Client):
    """Sends ``subscribe``, then only reads."""

    transport = TRANSPORTS["raw"]

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._target = target(url, self.transport)

    async def receive(self) -> AsyncIterator[Received]:
        options, ledger = self.options, self.ledger
        protocol = await self._connect()
        hello = {"type": "subscribe", "room": options.room}
        if self.session.cursor is not None:
            hello["since"] = str(self.session.cursor)
        ledger.requests += 1
        protocol.transport.write(encode_frame(json.dumps(hello).encode()))
        try:
            while True:
                async with asyncio.timeout(options.silence_timeout_s):
                    frames = await protocol.read()
                for frame, receive_ns in frames:
                    if not frame:
                        self.heartbeat()
                        continue
                    received = Received(decode_envelope(frame), receive_ns)
                    protocol.meter.first_answer()
                    yield received
        finally:
            protocol.transport.close()

    async def _connect(self) -> "FrameProtocol":
        loop = asyncio.get_running_loop()
        host, port = self._target.host or "", self._target.port or 0
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            tune(sock)
            sock.setblocking(False)
            async with asyncio.timeout(self.options.connect_timeout_s):
                await loop.sock_connect(sock, (host, port))
                _, protocol = await loop.create_connection(lambda: FrameProtocol(self.ledger), sock=sock, **self._tls())
        except BaseException:
            sock.close()
            raise
        return protocol

    def _tls(self) -> dict[str, Any]:
        if self._target.scheme == self.transport.scheme:
            return {}
        ca_file = self.options.ca_file
        return {"ssl": client_context(Path(ca_file) if ca_file else None), "server_hostname": self._target.host}


class FrameProtocol(asyncio.Protocol):
    """Frames with their receive times. Stops reading while too many, or too large ones, are unread."""

    transport: asyncio.Transport
    meter: Meter

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._decoder = FrameDecoder()
        self._frames: deque[tuple[bytes, int]] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self.receive_ns = 0
        self._paused = False
        self._failure: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self.meter = self._ledger.open(transport, self)

    def data_received(self, data: bytes) -> None:
        at_ns = self.receive_ns = now_ns()
        try:
            for frame in self._decoder.feed(data):
                self._frames.append((frame, at_ns))
                self._waiting_bytes += len(frame)
        except ValueError as error:
            self._failure = error
            self.transport.abort()
        if len(self._frames) > MAX_WAITING_FRAMES or self._waiting_bytes > MAX_WAITING_BYTES:
            self._paused = True
            self.transport.pause_reading()
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.meter.lost()
        self._failure = self._failure or exc or EOFError("closed by the server")
        self._arrived.set()

    async def read(self) -> list[tuple[bytes, int]]:
        """All unread frames; waits for one. Once all are taken, raises why the connection ended."""
        while not self._frames:
            if self._failure is not None:
                raise self._failure
            self._arrived.clear()
            await self._arrived.wait()
        frames = list(self._frames)
        self._frames.clear()
        self._waiting_bytes = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return frames


CLIENT: Final = Raw
