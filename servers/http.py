"""HTTP and WebSocket service on uvicorn: every option explicit, and the bounds that uvicorn itself does not have.

The protocol subclasses report each connection to the guard (``servers.guard``) and refuse a head or a body over its
bound. Everything else is uvicorn's.
"""

import asyncio
import contextlib
import logging
import socket
import sys
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request
from websockets.protocol import State

from servers.context import Serving
from servers.errors import Refusal, error_response, raw_error_response
from servers.gate import address_of
from servers.guard import Guard, Link
from servers.logs import log_refused
from servers.options import ServerOptions
from servers.push import Push

PROTOCOL: Final = "pushmark.protocol"
"""Extension of a scope: a weak reference to the connection's protocol object, for the variants that go past ASGI."""


MAX_PIPELINED: Final = 16
"""Requests that wait for the answers before theirs; each takes some 2.5 KB."""
FALSE_ALARMS: Final = frozenset(
    {"ASGI callable returned without completing handshake.", "Invalid UTF-8 sequence received from client."}
)
"""What uvicorn reports as errors: a WebSocket refused with a response, and a peer's bad text, which it closes for."""


def _no_false_alarm(record: logging.LogRecord) -> bool:
    return record.msg not in FALSE_ALARMS


logging.getLogger("uvicorn.error").addFilter(_no_false_alarm)


class HttpListener:
    """Starlette routes on uvicorn. ``bypass``: applications at exact paths, which Starlette does not see.

    ``ws_ping``: are heartbeats WebSocket pings? Else they are the application's own.
    """

    def __init__(
        self,
        serving: Serving,
        routes: Sequence[BaseRoute],
        websocket: bool = False,
        bypass: Mapping[str, ASGIApp] = MappingProxyType({}),
        ws_ping: bool = True,
    ) -> None:
        app = _Limits(_application(serving.options, routes), bypass, serving)
        self._server = _Server(_config(serving, app, websocket, ws_ping))

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        self._server.when_started = ready
        await self._server.serve(sockets=[sock])

    def stop(self) -> None:
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: ``servers.app`` decides when to stop, and the exit code is 0."""

    when_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(serving: Serving, app: ASGIApp, websocket: bool, ws_ping: bool) -> uvicorn.Config:
    options, guard, _, tls = serving

    def http_protocol(**kwargs: Any) -> asyncio.Protocol:
        return BoundedHttp(guard, options, **kwargs)

    def websocket_protocol(**kwargs: Any) -> asyncio.Protocol:
        return BoundedWebSocket(guard, **kwargs)

    return uvicorn.Config(
        app,
        loop="none",
        http=cast(type[asyncio.Protocol], http_protocol),
        ws=cast(type[asyncio.Protocol], websocket_protocol) if websocket else "none",
        ws_max_size=options.max_frame_bytes,
        ws_ping_interval=options.heartbeat_s if ws_ping else None,
        ws_ping_timeout=options.heartbeat_s if ws_ping else None,
        ws_per_message_deflate=options.per_message_deflate,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=True,
        date_header=True,
        backlog=options.backlog,
        timeout_keep_alive=options.keep_alive_s,
        timeout_graceful_shutdown=round(options.shutdown_grace_s) + 1,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
    )


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a deadline for a complete request and bounds on its head and body."""

    __slots__ = ("_body_bytes", "_guard", "_head_bytes", "_in_head", "_link", "_options", "_running", "_when_lost")
    # With these in its dict an object would have more attributes than share their names: a kilobyte per connection.

    def __init__(self, guard: Guard, options: ServerOptions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guard = guard
        self._options = options
        self._link: Link
        self._head_bytes = 0
        self._body_bytes = 0
        self._in_head = True
        self._running: RequestResponseCycle | None = None
        self._when_lost: Callable[[], None] = _nothing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own narrows the type as well
        super().connection_made(transport)
        transport.set_write_buffer_limits(self._options.write_buffer_bytes)
        self._link = self._guard.opened_by(transport, self._on_overdue)

    @contextlib.contextmanager
    def telling(self, lost: Callable[[], None]) -> Iterator[None]:
        """Call ``lost`` if the connection ends while inside, or has ended already."""
        self._when_lost = lost
        if self.transport.is_closing():
            lost()
        try:
            yield
        finally:
            self._when_lost = _nothing

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.lost(self.transport)
        self._when_lost()
        if self._running is not None:
            self._running.disconnected = True  # uvicorn tells the newest of several that are pipelined, not this one
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it running after a reset, holding the whole connection

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            end = data.find(b"\r\n\r\n")
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > self._options.max_head_bytes:
                self._refuse(self._head_too_large())
                return
        if not self._link.request_due_ns:
            self._guard.expect_request(self._link)
        super().data_received(data)

    def on_message_begin(self) -> None:
        if not self._link.request_due_ns:  # it came with the request before it, and not by data of its own
            self._guard.expect_request(self._link)
        self._body_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = {PROTOCOL: weakref.ref(self)}  # type: ignore[dict-item]  # asgiref types none but its own

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if not self._in_head:  # the trailers of a chunked body
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > self._options.max_head_bytes:
                raise self._head_too_large()  # comes back in send_400_response, as all that is raised in here
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))  # all of uvicorn's own on_header, without a call to it for every header

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._options.max_body_bytes:
            raise _body_too_large(self._options.max_body_bytes)
        super().on_body(body)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Refusal("bad_request", f"over {MAX_PIPELINED} requests wait for answers before theirs")
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._guard.request_complete(self._link)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        if len(self.url) > self._options.max_url_bytes:
            self._refuse(_url_too_long(self._options.max_url_bytes))
        else:
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Called where the parser failed, which may be because a callback of this class refused."""
        error = sys.exception()
        cause = error and error.__context__
        self._refuse(cause if isinstance(cause, Refusal) else Refusal("bad_request", "this is not an HTTP/1.1 request"))

    def _on_overdue(self) -> None:
        if self._in_head or not self.cycle.response_started:  # else an answer is on its way already
            limit_s = self._options.request_timeout_s
            refusal = Refusal("request_timeout", f"no complete request within {limit_s:g} s")
            self.transport.write(raw_error_response(refusal))

    def _head_too_large(self) -> Refusal:
        return Refusal("headers_too_large", f"the request head is over {self._options.max_head_bytes} bytes")

    def _refuse(self, refusal: Refusal) -> None:
        self.transport.write(raw_error_response(refusal))
        self.transport.close()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, seen by the guard; an application finds it in its scope as ``PROTOCOL``."""

    __slots__ = ("_guard", "push")

    def __init__(self, guard: Guard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guard = guard
        self.push: Push | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        link = self._guard.opened_by(cast(asyncio.Transport, transport), _nothing)
        link.on_overdue = _nothing  # else it would keep the HTTP protocol and its request for as long as it lives
        self._guard.request_complete(link)  # or this protocol would not be here

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self.scope["extensions"][PROTOCOL] = weakref.ref(self)  # type: ignore[assignment]  # asgiref types none but its own

    def start_keepalive(self) -> None:
        """The handshake is done: forget its headers, a quarter of a connection's memory (decision 0008)."""
        super().start_keepalive()
        self.request.headers.clear()  # its parser still holds the request
        del self.response
        self.scope["headers"] = []

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.push is not None:
            self.push.pause()
        self.transport.pause_reading()  # a ping is answered whether the peer reads or not: take no more of them

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()
        if self.push is not None:
            self.push.resume()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:  # the first data is the whole request, and uvicorn waits for ever if it is bad
            refusal = Refusal("bad_request", "not a WebSocket handshake (RFC 6455, section 4.1)")
            self.transport.write(raw_error_response(refusal))
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        with contextlib.suppress(InvalidState):  # bad text, which uvicorn closes for, and the peer's close behind it
            super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.lost(self.transport)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.conn.state is State.CLOSING:  # where uvicorn would try to begin closing again, and fail
            self.transport.close()
        else:
            super().shutdown()


def _nothing() -> None:
    """For where somebody is called and nobody needs to be."""


def _application(options: ServerOptions, routes: Sequence[BaseRoute]) -> ASGIApp:
    async def about(request: HttpRequest) -> Response:
        """What this server is, so that a client needs nothing but its address."""
        return JSONResponse({"transport": options.transport, "variant": options.variant, "rooms": options.rooms})

    return Starlette(
        routes=[*routes, Route("/", about)],
        exception_handlers={
            HTTPException: _on_http_exception,
            Refusal: _on_refusal,
            ClientDisconnect: _on_client_disconnect,
            Exception: _on_failure,
        },
    )


_CLOSE: Final = {"connection": "close"}


def _url_too_long(limit_bytes: int) -> Refusal:
    return Refusal("url_too_long", f"the URL is over {limit_bytes} bytes")


def _body_too_large(limit_bytes: int) -> Refusal:
    return Refusal("body_too_large", f"the body is over {limit_bytes} bytes")


class _Limits:
    """Refuses an oversize URL or body before the application sees the request."""

    def __init__(self, app: ASGIApp, bypass: Mapping[str, ASGIApp], serving: Serving) -> None:
        self._app = app
        self._bypass = bypass
        self._origins = serving.origins
        self._max_url_bytes = serving.options.max_url_bytes
        self._max_body_bytes = serving.options.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])  # which of them there are: every request passes here, so ask in one go
        if b"origin" in headers:
            try:
                origin = self._origins.check(scope)
            except Refusal as refusal:
                log_refused(address_of(scope), refusal.code)
                await error_response(refusal, _CLOSE)(scope, receive, send)
                return
            if origin is not None:
                if scope["type"] == "http" and scope["method"] == "OPTIONS":
                    await _no_content(self._origins.preflight_headers(origin), send)
                    return
                send = _with_headers(self._origins.response_headers(origin), send)
        app = self._bypass.get(scope["path"], self._app)
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._max_url_bytes:
            app = error_response(_url_too_long(self._max_url_bytes), _CLOSE)
        elif int(headers.get(b"content-length", 0)) > self._max_body_bytes:  # the parser lets nothing but digits pass
            app = error_response(_body_too_large(self._max_body_bytes), _CLOSE)
        del headers  # which the application may hold for long
        await app(scope, receive, send)


async def _no_content(headers: list[tuple[bytes, bytes]], send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(headers: list[tuple[bytes, bytes]], send: Send) -> Send:
    """For a page of another origin that is on the allow-list: let the browser hand it the answer."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return sending


async def _on_http_exception(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "bad_request")
    message = {
        404: f"there is nothing at {request.url.path[:200]!r}; GET / says what this server is",
        405: f"{request.method[:20]} is not allowed here",
    }.get(status, error.detail)
    return error_response(Refusal(code, message), dict(error.headers or {}))


async def _on_refusal(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error_response(error)


async def _on_client_disconnect(request: HttpRequest, error: Exception) -> Response:
    """The client left, or was refused, before its body was complete: no failure, and nobody hears this answer."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _on_failure(request: HttpRequest, error: Exception) -> Response:
    return error_response(Refusal("internal_error", "the server failed on this request"))
