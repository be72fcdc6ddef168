"""Socket.IO: python-socketio's server as its users deploy it, with its own rooms, acks, namespaces and pings.

A client connects to a namespace with ``{"room", "since", "token"}`` as auth payload. Every envelope is emitted as an
event named after its type; requests are ``emit("request", {...}, ack)``. What becomes of them is in
``servers.http.socketio_namespace``; here are the server, its sessions and how they end.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import urlencode

import socketio
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from feed.transports import TRANSPORTS
from servers.gate.errors import Refusal, error_response
from servers.gate.query import parameters
from servers.http.engineio import check_query, packets_only, unless_gone, whole_request
from servers.http.listener import HANDSHAKE, HttpListener
from servers.http.protocols import PROTOCOL
from servers.http.socketio_namespace import SocketIoNamespace
from servers.http.socketio_server import Server
from servers.platform.context import Context, Listener

PATH: Final = TRANSPORTS["socketio"].path
ENGINE_METHODS: Final = frozenset({"GET", "HEAD", "POST", HANDSHAKE})
KEPT_HEADERS: Final = frozenset({b"authorization", b"connection", b"cookie", b"upgrade"})
"""Headers of a WebSocket handshake that are kept: what identifies the client, and what the library reads."""
GOODBYE_S: Final = 1.0
"""How long a client has to close its WebSocket once it is told to."""
_HEAD: Final = Response()
"""The answer to HEAD, which opens no session."""


def build(context: Context) -> Listener:
    """The listener of this transport."""
    return SocketIoListener(context)


class SocketIoListener:
    """python-socketio's ASGI server on uvicorn, and what it takes to end it."""

    def __init__(self, context: Context) -> None:
        options = context.options
        self._watchdog = context.watchdog
        self._transports: dict[str, asyncio.Transport] = {}
        """Engine.IO session -> the transport of the WebSocket that it was upgraded to."""
        self._polls = options.variant != "websocket_only"
        self._held: set[str] = set()
        """Sessions with a poll that is held."""
        self._ending: asyncio.Future[None] | None = None
        self._max_payload_bytes = options.max_frame_bytes
        self._sio = Server(
            async_mode="asgi",
            transports=["polling", "websocket"] if self._polls else ["websocket"],
            ping_interval=options.heartbeat_s,
            ping_timeout=options.ping_timeout_s,
            max_http_buffer_size=options.max_frame_bytes,
            http_compression=False,
            cors_allowed_origins=[],  # the listener has checked the origin already, for all transports alike
            logger=_quiet("socketio"),
            engineio_logger=_quiet("engineio"),
            connect_timeout_s=options.request_timeout_s,
            close=self._close,
            max_queued=options.send_queue_packets,
            abort=self._abort,
        )
        self._namespaces = [SocketIoNamespace(self._sio, namespace, context.stats) for namespace in context.namespaces]
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
        """Close every client, which also answers the polls that are held."""
        for namespace in self._namespaces:
            namespace.close()
        for client in tuple(self._sio.eio.sockets.values()):
            await client.close(wait=False, reason="server stops")
        self._http.stop()

    def _abort(self, eio_sid: str) -> None:
        """Cut off a client that does not take what it is sent; later it would hold more memory."""
        transport = self._transport_of(eio_sid)
        if transport is not None:
            self._watchdog.abort_slow(transport)

    async def _close(self, eio_sid: str) -> None:
        """End a session. A client that does not close its WebSocket in time is cut off."""
        client = self._sio.eio.sockets.get(eio_sid)
        if client is None or eio_sid not in self._sio.environ:
            return  # it has ended since
        transport = self._transport_of(eio_sid)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await client.queue.join()  # its last packets are taken, by a poll maybe
        await client.close(wait=False, reason="ended by the server")
        if transport is not None:
            await asyncio.sleep(GOODBYE_S)
            transport.abort()

    def _transport_of(self, eio_sid: str) -> asyncio.Transport | None:
        """The transport of a client's WebSocket; ``None`` if it polls."""
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
            # Engine.IO would take the first parameter of a name, which need not be the session that is checked here.
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
                # Packets in a poll that its client has left would be lost: the session ends, and cursors resume it.
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
