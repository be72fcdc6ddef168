"""Server-Sent Events: ``GET /sse`` is one response that never ends (WHATWG HTML, section 9.2).

Each event is an ``id:`` line with the cursor and a ``data:`` line with the envelope, so a browser's EventSource
resumes by itself with ``Last-Event-ID``; requests come by POST, with the session of the welcome. The row of the table
is sse-starlette as its users deploy it, fed with bytes encoded once; ``--variant plain`` is Starlette's
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
from servers.platform.connections import StreamPeer
from servers.platform.context import Context, Listener
from servers.platform.names import prefix
from servers.platform.namespace import Platform

PLAIN_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
HEARTBEAT = b": ping\n\n"
RETRY_MS = 1000
"""Reconnection time told to the browser; our own client jitters on top of it."""


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for platform in context.platforms:
        path = f"{prefix(platform.name)}/sse"
        if context.options.variant == "plain":
            bypass[path] = partial(_plain, context, platform)
        else:
            routes.append(Route(path, partial(_sse, context, platform)))
        routes += request_routes(platform)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _sse(context: Context, platform: Platform, request: Request) -> Response:
    options = context.options
    reading = _asked(platform, request.scope)
    if request.method == "HEAD":
        return _head_only()
    peer = _entered(platform, request.scope, *reading)
    response = EventSourceResponse(
        _stream(context, peer, b""),
        ping=options.heartbeat_s,
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        sep="\n",
    )
    return _Subscribed(platform, peer, None, response)


async def _plain(context: Context, platform: Platform, scope: Scope, receive: Receive, send: Send) -> None:
    """The same without sse-starlette, and without Starlette's layers between it and uvicorn."""
    try:
        reading = _asked(platform, scope)
        if scope["method"] == "HEAD":
            await _head_only()(scope, receive, send)
            return
        peer = _entered(platform, scope, *reading)
    except Refusal as refusal:
        await error_response(refusal)(scope, receive, send)
        return
    response = StreamingResponse(_stream(context, peer, HEARTBEAT), headers=PLAIN_HEADERS)
    await _Subscribed(platform, peer, context.options.heartbeat_s, response)(scope, receive, send)


def _head_only() -> Response:
    """The answer to HEAD: a stream that has no content has nothing to wait for (RFC 9110, section 9.3.2)."""
    return Response(headers=PLAIN_HEADERS)


def _asked(platform: Platform, scope: Scope) -> tuple[Identity, Reader]:
    """Who asks, and what for. Raises ``Refusal``."""
    params = parameters(scope["query_string"])
    since = header(scope, b"last-event-id") or params.get("last_event_id") or params.get("since")
    identity = platform.gate.identify(scope)
    return identity, platform.subscribe(identity, params.get("room"), since)


def _entered(platform: Platform, scope: Scope, identity: Identity, reader: Reader) -> "SsePeer":
    """The client as one of the platform's. Raises ``Refusal``."""
    peer = SsePeer(identity, address_of(scope), reader)
    peer.session = secrets.token_hex(16)
    platform.enter(peer, peer.session)
    return peer


class SsePeer(StreamPeer):
    """A client of a stream, which can be ended with a reason."""

    __slots__ = ()

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self.reader.nudge()


class _Subscribed(Response):
    """Runs a response while its subscription listens; ends both whatever way the connection ends.

    ``heartbeat_s``: let the stream send a heartbeat that often, if the response does not do so itself.
    """

    def __init__(self, platform: Platform, peer: SsePeer, heartbeat_s: float | None, response: Response) -> None:
        self._platform = platform
        self._peer = peer
        self._heartbeat_s = heartbeat_s
        self._response = response
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"].clear()  # a stream lives for hours: what its request looked like does not have to
        peer = self._peer
        try:
            with peer.reader, _every(self._heartbeat_s, peer.reader.nudge):
                await self._response(scope, receive, send)
        finally:
            reason = "connection closed" if peer.ended is None else peer.ended.code
            self._platform.leave(peer, reason, peer.session, peer.ended)


async def _stream(context: Context, peer: SsePeer, heartbeat: bytes) -> AsyncIterator[bytes]:
    """The body; ``heartbeat``: what a nudge without anything new makes it send, empty where the response does that."""
    reader, limit = peer.reader, context.options.stream_batch_events
    welcome = reader.welcome(peer.client, peer.session)
    yield b"retry: %d\n" % RETRY_MS + encode_sse(welcome.json, str(welcome.cursor))
    with suppress(HubClosedError):
        while True:
            events, notice = await reader.next(limit)
            if peer.ended is not None:
                yield encode_sse(peer.ended.body)
                return
            if notice is not None:
                yield _block(reader, notice)
            if events:
                for piece in _pieces(reader, events, context.options.write_buffer_bytes):
                    yield piece
            elif notice is None and heartbeat:
                yield heartbeat


def _pieces(reader: Reader, events: list[Event], size: int) -> Iterator[bytes]:
    """Events of one room, cut at ``size`` bytes: one piece is in hand while the peer takes the one before."""
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
    """A notice; with an id only in the first room, as the browser resumes with the newest id it was given."""
    return encode_sse(notice.json, str(notice.cursor) if notice.room == reader.room.name else "")


@contextmanager
def _every(interval_s: float | None, call: Callable[[], None]) -> Iterator[None]:
    """Call again and again while inside; one timer is cheaper than a time-out on every wait."""
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
