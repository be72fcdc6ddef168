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

import msgspec
import socketio
from socketio.exceptions import ConnectionRefusedError as Refused
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from feed.cursor import Cursor
from feed.strict import JsonError, decode_strictly
from feed.wire import Audience, Event
from servers.gate.admission import address_of
from servers.gate.auth import Identity
from servers.gate.errors import Refusal, error_response
from servers.gate.query import parameters
from servers.http.engineio import check_query, packets_only, unless_gone, whole_request
from servers.http.listener import HANDSHAKE, HttpListener
from servers.http.protocols import PROTOCOL
from servers.http.socketio_packets import PacketError, request_of
from servers.http.socketio_server import LEAVING, Server
from servers.hub.reader import HubClosedError, Notice, Reader, Subscription
from servers.hub.room import Room
from servers.hub.stats import Counters
from servers.platform.connections import Peer
from servers.platform.context import Context, Listener
from servers.platform.namespace import Platform

PATH: Final = "/socket.io/"
ENGINE_METHODS: Final = frozenset({"GET", "HEAD", "POST", HANDSHAKE})
KEPT_HEADERS: Final = frozenset({b"authorization", b"connection", b"cookie", b"upgrade"})
"""Of a WebSocket handshake: what says who it is, and what the library asks for."""
GOODBYE_S: Final = 1.0
"""Who is told to close its WebSocket has so long for it."""
CATCH_UP_EVENTS: Final = 64
"""Of the past, so many are handed to a client's queue at once."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says when it connects to a namespace."""

    room: str = ""
    since: str = ""
    token: str = ""


_AUTH_DECODER: Final = msgspec.json.Decoder(Auth | None)
_HEAD: Final = Response()
"""The answer to HEAD, which opens no session."""


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
        self._polls = options.variant != "websocket_only"
        self._held: set[str] = set()
        """Sessions of which a poll is held."""
        self._ending: asyncio.Future[None] | None = None
        self._max_payload_bytes = options.max_frame_bytes
        self._sio = Server(
            async_mode="asgi",
            transports=["polling", "websocket"] if self._polls else ["websocket"],
            ping_interval=options.heartbeat_s,
            ping_timeout=options.ping_timeout_s,
            max_http_buffer_size=options.max_frame_bytes,
            http_compression=False,
            cors_allowed_origins=[],  # the gate has checked the origin already, for all transports alike
            logger=_quiet("socketio"),
            engineio_logger=_quiet("engineio"),
            connect_timeout_s=options.request_timeout_s,
            close=self._close,
            max_queued=options.send_queue_packets,
            abort=self._abort,
        )
        self._namespaces = [_Namespace(context, self._sio, platform) for platform in context.platforms]
        self._http = HttpListener(
            context.serving,
            [],
            websocket=True,
            bypass={PATH: self._app()},
            bypass_methods=ENGINE_METHODS,
            ws_ping=False,
        )

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
        client = self._sio.eio.sockets.get(eio_sid)
        if client is None or eio_sid not in self._sio.environ:
            return  # it has ended since
        transport = self._transport_of(eio_sid)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await client.queue.join()  # what it was told is taken, by a poll maybe
        await client.close(wait=False, reason="ended by the server")
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

        async def checking(scope: Scope, receive: Receive, send: Send) -> None:
            params = parameters(scope["query_string"])
            sid = params.get("sid", "")
            # Engine.IO would take the first of a name, which need not be the session that is remembered here.
            scope = {**scope, "query_string": urlencode(params).encode()}
            if scope["type"] == "http" and scope["method"] == "HEAD":
                await _HEAD(scope, receive, send)
                return
            try:
                check_query(params, scope["type"], self._polls, self._sio.eio.sockets)
                if scope["type"] == "websocket":
                    await self._by_websocket(sid, app, scope, receive, send)
                else:
                    await self._by_request(sid, app, scope, receive, send)
            except Refusal as refusal:
                await error_response(refusal)(scope, receive, send)

        return checking

    async def _by_websocket(self, sid: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        # Namespaces are connected to after uvicorn's protocol has forgotten the headers, one of which has the token;
        # the others are a quarter of a connection's memory.
        scope["headers"] = [field for field in scope["headers"] if field[0] in KEPT_HEADERS]
        if sid:
            self._transports[sid] = scope["extensions"][PROTOCOL]().transport
        try:
            await app(scope, packets_only(receive), send)
            with suppress(OSError, RuntimeError):  # it has been closed already
                await send({"type": "websocket.close"})
        finally:
            self._transports.pop(sid, None)
            self._sio.eio.end_upgrade(sid)

    async def _by_request(self, sid: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            whole = await whole_request(scope, receive, self._max_payload_bytes)
        except Refusal:
            self._sio.end(sid)
            raise
        if whole is None:
            return
        polls = bool(sid) and scope["method"] == "GET"
        if polls and sid in self._held:
            self._sio.end(sid)
            raise Refusal("bad_request", "a poll of this session is held already: it has one at a time")
        self._sio.eio.forget_closed(sid)
        if polls:
            self._held.add(sid)
            try:
                # What is put into a poll that nobody takes would be lost: the session ends, and is resumed by cursors.
                with unless_gone(receive, lambda: self._sio.end(sid)) as answered:
                    await app(*whole, answered(send))
            finally:
                self._held.discard(sid)
        else:
            await app(*whole, send)
        self._sio.eio.forget_closed(sid)


def _quiet(name: str) -> logging.Logger:
    """A logger for the library, which at its more talkative levels would write payloads and tokens."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.WARNING)
    return logger


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

    def __init__(self, context: Context, sio: Server, platform: Platform) -> None:
        self._context = context
        self._sio = sio
        self._platform = platform
        self._name = f"/{platform.name}"
        self._pumps: dict[str, _Pump] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        sio.spaces[self._name] = self
        sio.on("connect", self._on_connect, namespace=self._name)
        sio.on("disconnect", self._on_disconnect, namespace=self._name)

    def begin(self, peer: SocketIoPeer, room: Room, since: Cursor | None) -> None:
        """Send a room to a client from a cursor on: what is past by itself, then with everybody else."""
        self._receive(peer, Subscription(room, since, self._context.stats))

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

    async def answer(self, sid: str, event: str) -> bytes:
        """Carry out the request that an event is."""
        peer = self._platform.peers.get(sid)
        if peer is None:
            return LEAVING
        try:
            request = request_of(event)
        except PacketError as error:
            return self._platform.reject(peer, len(event.encode()), str(error))
        answer = self._platform.handle(peer, request)
        return answer if isinstance(answer, bytes) else await asyncio.shield(answer)

    def reject(self, sid: str, size_bytes: int, message: str) -> bytes:
        """The error for something that is no event."""
        peer = self._platform.peers.get(sid)
        return LEAVING if peer is None else self._platform.reject(peer, size_bytes, message)

    def answer_binary(self, sid: str, size_bytes: int) -> bytes:
        """The answer to a binary message."""
        peer = self._platform.peers.get(sid)
        return LEAVING if peer is None else self._platform.handle_binary(peer, size_bytes)

    def close(self) -> None:
        """Stop all tasks."""
        for task in tuple(self._tasks):
            task.cancel()

    def _receive(self, peer: SocketIoPeer, reader: Subscription) -> None:
        reader.selects = peer
        room = reader.room
        peer.starts[room.name] = reader.start_seq
        pump = self._pumps.get(room.name)
        if pump is None:
            pump = self._pumps[room.name] = _Pump(room)
            pump.task = self._start(pump.run(self._send))
        pump.receivers.add(peer.client)
        self._start(self._catch_up(peer, reader, pump))

    def _release_pump(self, peer: SocketIoPeer, room: str) -> None:
        pump = self._pumps[room]
        pump.receivers.discard(peer.client)
        if not pump.receivers:
            del self._pumps[room]
            pump.close()

    async def _on_connect(self, sid: str, environ: Mapping[str, Any], auth: str | None = None) -> None:
        scope = environ["asgi.scope"]
        try:
            said = _read_auth(auth)
            identity = self._context.gate.identify(scope, said.token)
            reader = self._platform.subscribe(identity, said.room, said.since)
            peer = SocketIoPeer(identity, address_of(scope), sid, self, reader.room.name)
            self._platform.enter(peer)
        except Refusal as refusal:
            raise Refused(refusal.message, json.loads(refusal.body)["data"]) from None
        self._receive(peer, reader)

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        peer = self._platform.peers.get(sid)
        if isinstance(peer, SocketIoPeer):
            self._sio.end_unless_used(self._sio.manager.eio_sid_from_sid(sid, self._name))
            self._platform.leave(peer, reason)
            for room in peer.starts:
                self._release_pump(peer, room)

    async def _catch_up(self, peer: SocketIoPeer, reader: Subscription, pump: "_Pump") -> None:
        """Send the welcome and what lies between the cursor and the room's pump; then the pump sends the rest."""
        first = reader.room.name == peer.first
        await self._notify(reader.welcome(peer.client if first else ""), peer.client)
        while reader.seq < pump.seq and self._receives(peer, reader.room.name):
            behind = min(CATCH_UP_EVENTS, pump.seq - reader.seq)
            events, notice = reader.take(behind)
            if notice is not None:
                await self._notify(notice, peer.client)
            for event in events:
                await self._emit(event.type, event.json, to=peer.client)
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

    def __init__(self, room: Room) -> None:
        self.room = room
        self.receivers: set[str] = set()
        # Counters of its own: an event that it takes is delivered as often as there are clients in the room.
        self._reader = Reader(room, None, Counters())
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


def _read_auth(text: str | None) -> Auth:
    try:
        return decode_strictly((text or "null").encode(), _AUTH_DECODER) or Auth()
    except JsonError as error:
        raise Refusal("bad_request", f"auth: {error}") from error
