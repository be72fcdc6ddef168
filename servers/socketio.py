"""Socket.IO: python-socketio's server as its users deploy it, with its own rooms, acks, namespaces and pings.

A client connects to a namespace with ``{"room", "since", "token"}`` as auth payload. Every envelope is emitted as an
event named after its type; requests are ``emit("request", {...}, ack)``. Each room has one task that takes what is
published and emits it to the library's room of that name.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import engineio
import msgspec
import socketio
from engineio.exceptions import SocketIsClosedError
from socketio.exceptions import ConnectionRefusedError as Refused
from socketio.packet import CONNECT, DISCONNECT, EVENT, Packet
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feed.cursor import Cursor
from feed.wire import Audience, Event
from servers.auth import Identity
from servers.context import Context, Listener
from servers.errors import Refusal
from servers.gate import address_of
from servers.http import PROTOCOL, HttpListener
from servers.hub import HubClosedError, Notice, Reader, Room
from servers.peers import Peer
from servers.platform import Platform
from servers.query import parameters

PATH: Final = "/socket.io/"
ENGINE_PACKETS: Final = frozenset("0123456")
"""First characters of Engine.IO's text packets; binary ones are not spoken here."""
PROTOCOL_ERROR: Final = 1002
RESERVED: Final = frozenset({"connect", "disconnect", "connect_error"})
"""Names of events that are not a client's to send."""
GOODBYE_S: Final = 1.0
"""Who is told to close its WebSocket has so long for it."""
CATCH_UP_EVENTS: Final = 64
"""Of the past, so many are handed to a client's queue at once."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says when it connects to a namespace."""

    room: str = ""
    since: str = ""
    token: str = ""


def build(context: Context) -> Listener:
    """The listener of this transport."""
    return SocketIoListener(context)


class SocketIoListener:
    """python-socketio's ASGI server on uvicorn, and what it takes to end it."""

    def __init__(self, context: Context) -> None:
        options = context.options
        self._guard = context.guard
        self._transports: dict[str, asyncio.Transport] = {}
        """Engine.IO session -> the transport of the WebSocket that it was upgraded to."""
        self._ending: asyncio.Future[None] | None = None
        self._sio = _Server(
            async_mode="asgi",
            transports=["websocket"] if options.variant == "websocket_only" else ["polling", "websocket"],
            ping_interval=options.heartbeat_s,
            ping_timeout=options.ping_timeout_s,
            max_http_buffer_size=options.max_frame_bytes,
            http_compression=False,
            cors_allowed_origins=[],  # the gate has checked the origin already, for all transports alike
            json=json,
            logger=_quiet("socketio"),
            engineio_logger=_quiet("engineio"),
            connect_timeout_s=options.request_timeout_s,
            close=self._close,
            max_queued=options.send_queue_packets,
            abort=self._abort,
        )
        self._namespaces = [_Namespace(context, self._sio, platform) for platform in context.platforms]
        self._http = HttpListener(context.serving, [], websocket=True, bypass={PATH: self._app()}, ws_ping=False)

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        await self._http.serve(sock, ready)

    def stop(self) -> None:
        self._ending = asyncio.ensure_future(self._end_all())

    async def _end_all(self) -> None:
        """Tell every client, which also answers the polls that are held."""
        for namespace in self._namespaces:
            namespace.close()
        for client in tuple(self._sio.eio.sockets.values()):
            await client.close(wait=False, reason="server stops")
        self._http.stop()

    def _abort(self, eio_sid: str) -> None:
        """A client does not take what it is sent: cut it off, as it would be cut off later with more in memory."""
        transport = self._transport_of(eio_sid)
        if transport is not None:
            self._guard.abort_slow(transport)

    async def _close(self, eio_sid: str) -> None:
        """End a session; who does not close its WebSocket then is cut off."""
        transport = self._transport_of(eio_sid)
        await self._sio.eio.sockets[eio_sid].close(wait=False, reason="in no namespace")
        if transport is not None:
            await asyncio.sleep(GOODBYE_S)
            transport.abort()

    def _transport_of(self, eio_sid: str) -> asyncio.Transport | None:
        """The WebSocket's; ``None`` for a client that polls."""
        scope = self._sio.environ[eio_sid]["asgi.scope"]
        transport = self._transports.get(eio_sid)
        if transport is None and scope["type"] == "websocket":  # not upgraded, but a WebSocket from the start
            transport = scope["extensions"][PROTOCOL]().transport
        return transport

    def _app(self) -> ASGIApp:
        app = socketio.ASGIApp(self._sio)

        async def remembering(scope: Scope, receive: Receive, send: Send) -> None:
            params = parameters(scope["query_string"])
            sid = params.get("sid")
            # Engine.IO would take the first of a name, which need not be the session that is remembered here. A copy:
            # the headers have the token, and namespaces are connected to after uvicorn's protocol has forgotten them.
            scope = {**scope, "query_string": urlencode(params).encode()}
            if scope["type"] != "websocket":
                await app(scope, receive, send)
                return
            if sid:
                self._transports[sid] = scope["extensions"][PROTOCOL]().transport
            try:
                await app(scope, _packets_only(receive), send)
            finally:
                self._transports.pop(sid or "", None)

        return remembering


def _quiet(name: str) -> logging.Logger:
    """A logger for the library, which at its more talkative levels would write payloads and tokens."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.WARNING)
    return logger


def _packets_only(receive: Receive) -> Receive:
    """Whoever sends what is no Engine.IO packet has left, for the library, which would fail with a traceback."""

    async def receiving() -> Message:
        message = await receive()
        if message["type"] == "websocket.receive" and (message.get("text") or "")[:1] not in ENGINE_PACKETS:
            return {"type": "websocket.disconnect", "code": PROTOCOL_ERROR}
        return message

    return receiving


class _Engine(engineio.AsyncServer):  # type: ignore[misc]  # the library has no types
    """Engine.IO with a bound on what waits for one client; its own queues have none."""

    def __init__(self, max_queued: int, abort: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self._max_queued = max_queued
        self._abort = abort

    async def send_packet(self, sid: str, pkt: Any) -> None:
        client = self.sockets.get(sid)
        if client is None:
            return
        if client.queue.qsize() >= self._max_queued:
            if not client.closing:
                self._abort(sid)
                await client.close(wait=False, abort=True, reason="too slow")
            return
        with suppress(SocketIsClosedError):  # nobody looks at the result of this, and it is told by other means
            await client.send(pkt)


class _Server(socketio.AsyncServer):  # type: ignore[misc]  # the library has no types
    """The library takes for granted that packets make sense, and fails on others with a traceback.

    It also keeps for ever who connects to no namespace, where Node's has its ``connectTimeout``.
    """

    def __init__(
        self, connect_timeout_s: float, close: Callable[[str], Coroutine[Any, Any, None]], **options: Any
    ) -> None:
        super().__init__(**options)
        self._connect_timeout_s = connect_timeout_s
        self._close = close
        self._closing: set[asyncio.Task[None]] = set()

    def end_unless_used(self, eio_sid: str) -> None:
        """End an Engine.IO session that is in no namespace in a while."""
        asyncio.get_running_loop().call_later(self._connect_timeout_s, self._end_unused, eio_sid)

    def _end_unused(self, eio_sid: str) -> None:
        namespaces = tuple(self.manager.get_namespaces())
        here = eio_sid in self.environ and eio_sid in self.eio.sockets
        if here and not any(self.manager.sid_from_eio_sid(eio_sid, name) for name in namespaces):
            closing = asyncio.ensure_future(self._close(eio_sid))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _handle_eio_connect(self, eio_sid: str, environ: Mapping[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self.end_unless_used(eio_sid)

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        if eio_sid not in self.environ:
            return  # it has ended since, and the library would look for it
        if _makes_sense(data):
            await super()._handle_eio_message(eio_sid, data)
        else:
            await self.eio.disconnect(eio_sid)

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine


class SocketIoPeer(Peer):
    """A client in one namespace."""

    __slots__ = ("_namespace", "first", "starts")

    def __init__(self, identity: Identity, address: str, sid: str, namespace: "_Namespace", first: str) -> None:
        super().__init__(identity, address, sid)
        self._namespace = namespace
        self.first = first
        self.starts: dict[str, int] = {}

    def attach(self, room: Room, since: Cursor | None) -> None:
        if room.name not in self.starts:
            self._namespace.begin(self, room, since)

    def detach(self, room: str) -> None:
        if room != self.first:
            self.starts.pop(room, None)
            self._namespace.stop_sending(self, room)

    def start_of(self, room: str) -> int | None:
        return self.starts.get(room)

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self._namespace.end(self, refusal)


class _Namespace:
    """One namespace of ours as one of Socket.IO's."""

    def __init__(self, context: Context, sio: _Server, platform: Platform) -> None:
        self._context = context
        self._sio = sio
        self._platform = platform
        self._name = f"/{platform.name}"
        self._pumps: dict[str, _Pump] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        sio.on("connect", self._on_connect, namespace=self._name)
        sio.on("request", self._on_request, namespace=self._name)
        sio.on("*", self._on_unknown, namespace=self._name)
        sio.on("disconnect", self._on_disconnect, namespace=self._name)

    def begin(self, peer: SocketIoPeer, room: Room, since: Cursor | None) -> None:
        """Send a room to a client from a cursor on: what is past by itself, then with everybody else."""
        reader = Reader(self._platform.hub, room, since)
        self._receive(peer, reader)

    def stop_sending(self, peer: SocketIoPeer, room: str) -> None:
        """A client has left a room."""
        self._release_pump(peer, room)
        self._start(self._sio.leave_room(peer.client, room, self._name))

    def end(self, peer: SocketIoPeer, refusal: Refusal) -> None:
        """Say why, and disconnect."""

        async def say() -> None:
            await self._emit("error", refusal.body, to=peer.client)
            await self._sio.disconnect(peer.client, self._name)

        self._start(say())

    def close(self) -> None:
        """Stop all tasks."""
        for task in tuple(self._tasks):
            task.cancel()

    def _receive(self, peer: SocketIoPeer, reader: Reader) -> None:
        reader.selects = peer
        room = reader.room
        peer.starts[room.name] = reader.start_seq
        pump = self._pumps.get(room.name)
        if pump is None:
            pump = self._pumps[room.name] = _Pump(self._platform, room)
            pump.task = self._start(pump.run(self._send))
        pump.receivers.add(peer.client)
        self._start(self._catch_up(peer, reader, pump))

    def _release_pump(self, peer: SocketIoPeer, room: str) -> None:
        pump = self._pumps[room]
        pump.receivers.discard(peer.client)
        if not pump.receivers:
            del self._pumps[room]
            pump.close()

    async def _on_connect(self, sid: str, environ: Mapping[str, Any], auth: Any = None) -> None:
        scope = environ["asgi.scope"]
        try:
            said = _read_auth(auth)
            identity = self._context.gate.identify(scope, said.token)
            reader = self._platform.subscribe(identity, said.room, said.since)
            peer = SocketIoPeer(identity, address_of(scope), sid, self, reader.room.name)
            self._platform.enter(peer)
        except Refusal as refusal:
            raise Refused(refusal.message, json.loads(refusal.body)["data"]) from None
        self._context.stats.requests += 1
        self._receive(peer, reader)

    async def _on_unknown(self, name: str, sid: str, *said: Any) -> Any:
        """Any other event is answered as a request that says what there is."""
        peer = self._platform.peers.get(sid)
        if peer is not None:
            self._platform.handle(peer, b"{}")  # counts as a request against its limits
        return json.loads(Refusal("bad_request", f"event {name[:40]!r}: the one that is known is 'request'").body)

    async def _on_request(self, sid: str, request: Any = None, *_: Any) -> Any:
        peer = self._platform.peers.get(sid)
        if peer is None:
            return None
        answer = self._platform.handle(peer, msgspec.json.encode(request))
        return json.loads(answer if isinstance(answer, bytes) else await asyncio.shield(answer))

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        peer = self._platform.peers.get(sid)
        if isinstance(peer, SocketIoPeer):
            self._sio.end_unless_used(self._sio.manager.eio_sid_from_sid(sid, self._name))
            self._platform.leave(peer, reason)
            for room in peer.starts:
                self._release_pump(peer, room)

    async def _catch_up(self, peer: SocketIoPeer, reader: Reader, pump: "_Pump") -> None:
        """Send the welcome and what lies between the cursor and the room's pump; then the pump sends the rest."""
        self._context.stats.gaps += reader.resume.verdict == "gap"
        first = reader.room.name == peer.first
        await self._notify(reader.welcome(peer.client if first else ""), peer.client)
        while reader.seq < pump.seq and self._receives(peer, reader.room.name):
            behind = min(CATCH_UP_EVENTS, pump.seq - reader.seq)
            events, notice = reader.take(behind)
            if notice is not None:
                await self._notify(notice, peer.client)
            for event in events:
                await self._emit(event.type, event.json, to=peer.client)
            self._context.stats.deliveries += len(events)
            await self._sent(peer)
        if self._receives(peer, reader.room.name):
            await self._sio.enter_room(peer.client, reader.room.name, self._name)

    async def _sent(self, peer: SocketIoPeer) -> None:
        """Wait until the client's queue is taken, so that a long past does not fill it."""
        client = self._sio.eio.sockets.get(self._sio.manager.eio_sid_from_sid(peer.client, self._name))
        if client is not None and client.queue.qsize() >= CATCH_UP_EVENTS:
            await client.queue.join()

    def _receives(self, peer: SocketIoPeer, room: str) -> bool:
        """Is it connected still, and has it not left the room?"""
        return peer.client in self._platform.peers and room in peer.starts

    async def _send(self, item: Event | Notice, room: str) -> None:
        """One item of a room to all who are in it."""
        if isinstance(item, Notice):
            await self._notify(item, room)
            return
        self._context.stats.deliveries += self._members(room)
        skip = [] if item.audience is None else self._not_meant(room, item.audience)
        await self._emit(item.type, item.json, room=room, skip_sid=skip)
        for sid in skip:
            await self._emit("skip", item.skipped.json, to=sid)

    def _members(self, room: str) -> int:
        return len(self._sio.manager.rooms.get(self._name, {}).get(room, ()))

    def _not_meant(self, room: str, audience: Audience) -> list[str]:
        inside = self._sio.manager.rooms.get(self._name, {}).get(room, ())
        peers = self._platform.peers
        return [sid for sid in inside if sid in peers and not peers[sid].receives(room, audience)]

    async def _notify(self, notice: Notice, to: str) -> None:
        await self._emit(notice.type, notice.json, to=to)

    async def _emit(self, name: str, envelope: bytes, **where: Any) -> None:
        await self._sio.emit(name, json.loads(envelope), namespace=self._name, **where)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Pump:
    """Takes what is published in one room, one at a time, so that ``seq`` is what has been emitted.

    It is there for as long as somebody receives the room.
    """

    task: asyncio.Task[None]

    def __init__(self, platform: Platform, room: Room) -> None:
        self.room = room
        self.receivers: set[str] = set()
        self._reader = Reader(platform.hub, room, None)
        self._reader.__enter__()

    @property
    def seq(self) -> int:
        return self._reader.seq

    async def run(self, send: Callable[[Event | Notice, str], Awaitable[None]]) -> None:
        """Hand everything to ``send``, until the server stops."""
        with suppress(HubClosedError):
            while True:
                events, notice = await self._reader.next(1)
                if notice is not None:
                    await send(notice, self.room.name)
                for event in events:
                    await send(event, self.room.name)

    def close(self) -> None:
        """Send nothing more."""
        self.task.cancel()
        self._reader.__exit__()


def _makes_sense(data: Any) -> bool:
    """May a client send this packet? Binary ones, which announce any number of others, are not spoken here."""
    try:
        packet = Packet(encoded_packet=data)
    except (ValueError, TypeError, IndexError, RecursionError):
        return False
    if packet.packet_type == CONNECT:
        return packet.data is None or isinstance(packet.data, dict)
    if packet.packet_type == EVENT:
        said = packet.data
        return isinstance(said, list) and bool(said) and isinstance(said[0], str) and said[0] not in RESERVED
    return bool(packet.packet_type == DISCONNECT)


def _read_auth(auth: Any) -> Auth:
    try:
        return msgspec.convert({} if auth is None else auth, Auth)
    except msgspec.ValidationError as error:
        raise Refusal("bad_request", f"auth: {error}") from error
