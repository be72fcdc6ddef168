"""Server-Sent Events: ``GET /sse`` is one response that never ends (WHATWG HTML, section 9.2).

Each event is an ``id:`` line with the cursor and a ``data:`` line with the envelope, so a browser's EventSource
resumes by itself with ``Last-Event-ID``; requests come by POST, with the session of the welcome. The variant of the
table is sse-starlette as its users deploy it, fed with bytes encoded once; ``--variant plain`` is Starlette's
StreamingResponse and shows what the library costs.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from feed.wire import Event, encode_sse
from servers.gate.admission import address_of
from servers.gate.auth import Identity
from servers.gate.errors import Refusal, error_response
from servers.gate.query import header, parameters
from servers.http.listener import HttpListener
from servers.http.requests import request_routes
from servers.hub.reader import HubClosedError, Notice, Reader
from servers.platform.connections import StreamConnection
from servers.platform.context import Context, Listener
from servers.platform.names import path_of
from servers.platform.namespace import Namespace

PLAIN_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
HEARTBEAT = b": ping\n\n"
RETRY_MS = 1000
"""Reconnection time told to the browser; our own client jitters on top of it."""


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for namespace in context.namespaces:
        path = path_of("sse", namespace.name)
        if context.options.variant == "plain":
            bypass[path] = partial(_plain, context, namespace)
        else:
            routes.append(Route(path, partial(_sse, context, namespace)))
        routes += request_routes(namespace)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _sse(context: Context, namespace: Namespace, request: Request) -> Response:
    options = context.options
    identity, reader = _subscribe(namespace, request.scope)
    if request.method == "HEAD":
        return _head_only()
    connection = _enter(namespace, request.scope, identity, reader)
    response = EventSourceResponse(
        _stream(context, connection, b""),
        ping=options.heartbeat_s,
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        sep="\n",
    )
    return _Subscribed(namespace, connection, None, response)


async def _plain(context: Context, namespace: Namespace, scope: Scope, receive: Receive, send: Send) -> None:
    """The same without sse-starlette, and without Starlette's layers between it and uvicorn."""
    try:
        identity, reader = _subscribe(namespace, scope)
        if scope["method"] == "HEAD":
            await _head_only()(scope, receive, send)
            return
        connection = _enter(namespace, scope, identity, reader)
    except Refusal as refusal:
        await error_response(refusal)(scope, receive, send)
        return
    response = StreamingResponse(_stream(context, connection, HEARTBEAT), headers=PLAIN_HEADERS)
    await _Subscribed(namespace, connection, context.options.heartbeat_s, response)(scope, receive, send)


def _head_only() -> Response:
    """The answer to HEAD: a stream that has no content has nothing to wait for (RFC 9110, section 9.3.2)."""
    return Response(headers=PLAIN_HEADERS)


def _subscribe(namespace: Namespace, scope: Scope) -> tuple[Identity, Reader]:
    """The identity of a request, and a reader of what it asks for. Raises ``Refusal``."""
    params = parameters(scope["query_string"])
    since = header(scope, b"last-event-id") or params.get("last_event_id") or params.get("since")
    identity = namespace.admission.identify(scope)
    return identity, namespace.subscribe(identity, params.get("room"), since)


def _enter(namespace: Namespace, scope: Scope, identity: Identity, reader: Reader) -> "SseConnection":
    """Make the client a connection of the namespace. Raises ``Refusal``."""
    connection = SseConnection(identity, address_of(scope), reader)
    connection.session = secrets.token_hex(16)
    namespace.enter(connection, connection.session)
    return connection


class SseConnection(StreamConnection):
    """A client of a stream, whose last event can be the reason why it ends."""

    __slots__ = ()

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self.reader.nudge()


class _Subscribed(Response):
    """Runs a response while its subscription listens; ends both, however the connection ends.

    ``heartbeat_s``: how often the stream sends a heartbeat; ``None`` if the response sends them itself.
    """

    def __init__(
        self, namespace: Namespace, connection: SseConnection, heartbeat_s: float | None, response: Response
    ) -> None:
        self._namespace = namespace
        self._connection = connection
        self._heartbeat_s = heartbeat_s
        self._response = response
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"].clear()  # a stream lives for hours, and its headers have been read
        connection = self._connection
        try:
            with connection.reader, _every(self._heartbeat_s, connection.reader.nudge):
                await self._response(scope, receive, send)
        finally:
            reason = "connection closed" if connection.ended is None else connection.ended.code
            self._namespace.leave(connection, reason, connection.session, connection.ended)


async def _stream(context: Context, connection: SseConnection, heartbeat: bytes) -> AsyncIterator[bytes]:
    """The body. ``heartbeat`` is sent after a nudge without news; empty if the response sends heartbeats itself."""
    reader, limit = connection.reader, context.options.stream_batch_events
    welcome = reader.welcome(connection.client, connection.session)
    yield b"retry: %d\n" % RETRY_MS + encode_sse(welcome.json, str(welcome.cursor))
    with suppress(HubClosedError):
        while True:
            events, notice = await reader.next(limit)
            if connection.ended is not None:
                yield encode_sse(connection.ended.body)
                return
            if notice is not None:
                yield _block(reader, notice)
            if events:
                for piece in _pieces(reader, events, context.options.write_buffer_bytes):
                    yield piece
            elif notice is None and heartbeat:
                yield heartbeat


def _pieces(reader: Reader, events: list[Event], size: int) -> Iterator[bytes]:
    """Events of one room, cut at ``size`` bytes, since one piece is in memory while the peer takes the piece before."""
    first = events[0].room == reader.room.name
    piece: list[bytes] = []
    length = 0
    for event in events:
        block = event.sse if first else encode_sse(event.json)
        piece.append(block)
        length += len(block)
        if length >= size:
            yield b"".join(piece)
            piece, length = [], 0
    if piece:
        yield b"".join(piece)


def _block(reader: Reader, notice: Notice) -> bytes:
    """A notice. It has an id in the first room only, as the browser resumes with the newest id that it was given."""
    return encode_sse(notice.json, str(notice.cursor) if notice.room == reader.room.name else "")


@contextmanager
def _every(interval_s: float | None, call: Callable[[], None]) -> Iterator[None]:
    """Call periodically while inside. One timer is cheaper than a time-out on every wait."""
    if interval_s is None:
        yield
        return
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def beat() -> None:
        timers[:] = [loop.call_later(interval_s, beat)]
        call()

    timers.append(loop.call_later(interval_s, beat))
    try:
        yield
    finally:
        timers[0].cancel()
