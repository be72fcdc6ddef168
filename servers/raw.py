"""The baseline: length-prefixed JSON over bare TCP on uvloop. No HTTP, no framework; nobody would ship it.

The client's first frame is ``{"type": "subscribe", "room": ..., "since": ...}``; then come a ``welcome``, the
events, and an empty frame every ``heartbeat_s``. The bytes of an event are made once and handed to the kernel from
the publisher itself, so a delivery costs little more than what the kernel charges.
"""

import asyncio
import socket
from collections.abc import Callable
from operator import attrgetter
from typing import cast

from feed.transports import FLOOR
from feed.wire import HEARTBEAT_FRAME, FrameDecoder, WireError, encode_frame
from servers.floor import FloorListener
from servers.gate.errors import Refusal
from servers.http.accepting import accepting
from servers.hub.push import Push
from servers.platform.context import Context, Listener
from servers.platform.subscribing import MAX_HELLO_BYTES, read_hello, subscribe
from servers.platform.tcp import TcpListener


def build(context: Context) -> Listener:
    """The listener of this transport, or the floor of the cost benchmark."""
    return FloorListener(context) if context.options.variant == FLOOR else RawListener(context)


class RawListener(TcpListener["RawConnection"]):
    """Accepts bare TCP connections."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        context = self._context
        make = accepting(lambda: RawConnection(context, self), context.watchdog, context.tls, context.options)
        heartbeats = asyncio.ensure_future(self._heartbeats())
        try:
            await self.accept(make, sock, context.options.backlog, ready)
        finally:
            heartbeats.cancel()

    async def _heartbeats(self) -> None:
        interval_s = self._context.options.heartbeat_s
        while not self.stopping:
            for connection in tuple(self.open):
                connection.heartbeat()
            await asyncio.sleep(interval_s)


class RawConnection(asyncio.Protocol):
    """One subscriber."""

    transport: asyncio.Transport

    def __init__(self, context: Context, listener: RawListener) -> None:
        self._context = context
        self._listener = listener
        self._decoder = FrameDecoder(MAX_HELLO_BYTES)
        self._push: Push | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self.transport.set_write_buffer_limits(self._context.options.write_buffer_bytes)
        self._watched = self._context.watchdog.watch(self.transport, self._on_overdue)
        self._listener.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._context.watchdog.lost(self.transport)
        self._listener.lost(self)
        self._unsubscribe()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._hello(frame)
        except WireError as error:
            self._refuse(Refusal("frame_too_large", str(error)))
        except Refusal as refusal:
            self._refuse(refusal)

    def pause_writing(self) -> None:
        if self._push is not None:
            self._push.pause()

    def resume_writing(self) -> None:
        if self._push is not None:
            self._push.resume()

    def heartbeat(self) -> None:
        """Send an empty frame, whatever else was sent; the other streams send their heartbeats alike."""
        if self._push is not None and not self._push.paused:
            self.transport.write(HEARTBEAT_FRAME)

    def _hello(self, frame: bytes) -> None:
        if self._push is not None:
            raise Refusal("unexpected_message", f"this feed takes no messages, and {len(frame)} bytes came")
        self._context.watchdog.request_complete(self._watched)
        hello = read_hello(frame)
        reader = subscribe(self._context.hub, hello.room, hello.since)
        batch_events = self._context.options.stream_batch_events
        self._push = Push(reader, self.transport, attrgetter("frame"), _frame, batch_events)
        self._push.start()

    def _unsubscribe(self) -> None:
        if self._push is not None:
            self._push.stop()

    def _on_overdue(self) -> None:
        limit_s = self._context.options.request_timeout_s
        self.transport.write(encode_frame(Refusal("request_timeout", f"no subscribe within {limit_s:g} s").body))

    def _refuse(self, refusal: Refusal) -> None:
        self._unsubscribe()
        self.transport.write(encode_frame(refusal.body))
        self.transport.close()


def _frame(body: bytes, cursor: str) -> bytes:
    return encode_frame(body)
