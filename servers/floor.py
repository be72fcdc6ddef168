"""The floor of the cost benchmark (``raw --variant floor``): pre-framed bytes, written to every connection by uvloop.

It speaks enough of the baseline's protocol for the same client to receive it: ``subscribe``, ``welcome``, events.
Nothing passes a hub; there is no history, no heartbeat, no watchdog and no room but the first, so that a delivery is
one ``write`` of bytes that exist already. It is a baseline for ratios and no bound: other languages and libraries stay
below it. It serves measurements only.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from feed.cursor import Cursor, new_epoch
from feed.envelope import Welcome, encode_envelope
from feed.rooms import DEFAULT_ROOM
from feed.wire import Event, FrameDecoder, WireError, encode_frame
from servers.gate.errors import Refusal
from servers.platform.context import Context
from servers.platform.subscribing import MAX_HELLO_BYTES, read_hello
from servers.platform.tcp import TcpListener


class FloorListener(TcpListener["FloorConnection"]):
    """Accepts bare TCP connections, and publishes to them without anything in between."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._hub, self._stats = context.hub, context.stats  # their counters alone
        self._backlog = context.options.backlog
        self._epoch = new_epoch()
        self._seq = 0
        self.subscribed: dict[asyncio.Transport, None] = {}

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        await self.accept(lambda: FloorConnection(self), sock, self._backlog, ready)

    def publish(self, room: str, data: bytes) -> None:
        """Write an event to every subscriber. There is one room, so its name is not looked at."""
        self._seq += 1
        frame = Event("event", Cursor(self._epoch, self._seq), DEFAULT_ROOM, data).frame
        for transport in self.subscribed:
            transport.write(frame)
        self._hub.published += 1
        self._stats.deliveries += len(self.subscribed)

    def welcome(self) -> bytes:
        """The first frame of a stream: it begins with the next event."""
        cursor = str(Cursor(self._epoch, self._seq))
        return encode_frame(encode_envelope("welcome", cursor, DEFAULT_ROOM, Welcome("new", 0)))

    def lost(self, connection: "FloorConnection") -> None:
        self.subscribed.pop(connection.transport, None)
        super().lost(connection)


class FloorConnection(asyncio.Protocol):
    """One subscriber. Without a history, one that does not keep up can only be aborted."""

    transport: asyncio.Transport

    def __init__(self, listener: FloorListener) -> None:
        self._listener = listener
        self._decoder = FrameDecoder(MAX_HELLO_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self._listener.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.lost(self)

    def pause_writing(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._subscribe(frame)
        except WireError as error:
            self._refuse(Refusal("frame_too_large", str(error)))
        except Refusal as refusal:
            self._refuse(refusal)

    def _subscribe(self, frame: bytes) -> None:
        if self.transport in self._listener.subscribed:
            raise Refusal("unexpected_message", f"this feed takes no messages, and {len(frame)} bytes came")
        hello = read_hello(frame)
        if hello.room not in ("", DEFAULT_ROOM):
            raise Refusal("unknown_room", f"the floor has the room {DEFAULT_ROOM!r} and no other")
        if hello.since:
            raise Refusal("bad_cursor", "the floor keeps no history, so nobody can resume")
        self.transport.write(self._listener.welcome())
        self._listener.subscribed[self.transport] = None

    def _refuse(self, refusal: Refusal) -> None:
        self._listener.subscribed.pop(self.transport, None)
        self.transport.write(encode_frame(refusal.body))
        self.transport.close()
