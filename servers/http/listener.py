"""HTTP and WebSocket on uvicorn: every option explicit, and the checks in front of every application.

The protocols are those of ``servers.http.protocols`` and ``servers.http.sockets``.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servers.gate.admission import address_of
from servers.gate.errors import Refusal, error_response
from servers.gate.logs import log_refused
from servers.gate.origins import check_local
from servers.http.accepting import accepting
from servers.http.protocols import BoundedHttp
from servers.http.sockets import BoundedWebSocket
from servers.platform.context import Serving
from servers.platform.options import ServerOptions

HANDSHAKE: Final = "websocket"
"""An entry in the methods of a path that takes WebSocket handshakes."""
READ_METHODS: Final = frozenset({"GET", "HEAD"})
FALSE_ALARMS: Final = frozenset(
    {"ASGI callable returned without completing handshake.", "Invalid UTF-8 sequence received from client."}
)
"""What uvicorn reports as errors: a WebSocket refused with a response, and a peer's bad text, which it closes for."""


def _no_false_alarm(record: logging.LogRecord) -> bool:
    return record.msg not in FALSE_ALARMS


logging.getLogger("uvicorn.error").addFilter(_no_false_alarm)


class HttpListener:
    """Starlette routes on uvicorn.

    ``bypass``: applications at exact paths, past Starlette; they take ``bypass_methods``. ``ws_ping``: heartbeats are
    WebSocket pings; otherwise the application sends its own.
    """

    def __init__(
        self,
        serving: Serving,
        routes: Sequence[BaseRoute],
        websocket: bool = False,
        bypass: Mapping[str, ASGIApp] = MappingProxyType({}),
        bypass_methods: frozenset[str] = READ_METHODS,
        ws_ping: bool = True,
    ) -> None:
        routes = [*routes, Route("/", _about(serving.options))]
        methods = {**_methods(routes), **dict.fromkeys(bypass, bypass_methods)}
        app = _Front(_application(routes), bypass, methods, serving)
        self._server = _Server(_config(serving, app, websocket, ws_ping))

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        self._server.when_started = ready
        await self._server.serve(sockets=[sock])

    def stop(self) -> None:
        self._server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: ``servers.process`` decides when to stop, and the exit code is 0."""

    when_started: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.when_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(serving: Serving, app: ASGIApp, websocket: bool, ws_ping: bool) -> uvicorn.Config:
    options, watchdog, tls = serving.options, serving.watchdog, serving.tls

    def http_protocol(**kwargs: Any) -> asyncio.Protocol:
        return accepting(lambda: BoundedHttp(watchdog, options, **kwargs), watchdog, tls, options)()

    def websocket_protocol(**kwargs: Any) -> asyncio.Protocol:
        return BoundedWebSocket(watchdog, **kwargs)

    return uvicorn.Config(
        app,
        loop="none",
        http=cast(type[asyncio.Protocol], http_protocol),
        ws=cast(type[asyncio.Protocol], websocket_protocol) if websocket else "none",
        ws_max_size=options.max_frame_bytes,
        ws_ping_interval=options.heartbeat_s if ws_ping else None,
        ws_ping_timeout=options.ping_timeout_s if ws_ping else None,
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
    )


def _application(routes: Sequence[BaseRoute]) -> Starlette:
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _on_http_exception,
            Refusal: _on_refusal,
            ClientDisconnect: _on_client_disconnect,
            Exception: _on_failure,
        },
    )
    app.router.redirect_slashes = False  # a redirect leads to whatever host the request names
    return app


def _about(options: ServerOptions) -> Callable[[HttpRequest], Awaitable[Response]]:
    """``GET /``: transport, variant and rooms, so that a client needs nothing but the address."""

    async def about(request: HttpRequest) -> Response:
        return JSONResponse({"transport": options.transport, "variant": options.variant, "rooms": options.rooms})

    return about


def _methods(routes: Iterable[BaseRoute]) -> dict[str, frozenset[str]]:
    """Path -> the methods of all its routes; ``HANDSHAKE`` for that of a WebSocket."""
    found: dict[str, frozenset[str]] = {}
    for route in routes:
        if isinstance(route, Route):
            found[route.path] = found.get(route.path, frozenset()) | (route.methods or frozenset())
        elif isinstance(route, WebSocketRoute):
            found[route.path] = found.get(route.path, frozenset()) | {HANDSHAKE}
    return found


_CLOSE: Final = {"connection": "close"}


class _Front:
    """Checks in front of every application: origin, path, method, size of the body."""

    def __init__(
        self, app: ASGIApp, bypass: Mapping[str, ASGIApp], methods: Mapping[str, frozenset[str]], serving: Serving
    ) -> None:
        self._app = app
        self._bypass = bypass
        self._methods = methods
        self._origins = serving.origins
        self._local = serving.local
        self._max_body_bytes = serving.options.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])  # one pass for all questions, since every request comes here
        if b"origin" in headers or self._local:
            try:
                origin = self._check_origin(scope)
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
        if int(headers.get(b"content-length", 0)) > self._max_body_bytes:  # the parser has let nothing but digits pass
            app = error_response(Refusal("body_too_large", f"the body is over {self._max_body_bytes} bytes"), _CLOSE)
        else:
            method = HANDSHAKE if scope["type"] == "websocket" else scope["method"]
            # The exact path: Starlette's routes would also match one with a line feed at its end.
            methods = self._methods.get(scope["path"])
            if methods is None or method not in methods:
                app = self._refused(scope["path"], method, methods)
        del headers  # not needed while the application runs, maybe for long
        await app(scope, receive, send)

    def _check_origin(self, scope: Scope) -> str | None:
        if self._local:
            check_local(scope)
            return None
        return self._origins.check(scope)

    def _refused(self, path: str, method: str, allowed: frozenset[str] | None) -> ASGIApp:
        """Answer 404, 405, or OPTIONS with the methods (RFC 9110, sections 9.3.7 and 15.5.6)."""
        if allowed is None or method == HANDSHAKE:
            text = f"there is nothing at {path[:200]!r}; GET / says what this server is"
            return error_response(Refusal("not_found", text))
        allow = {"allow": ", ".join(sorted({*allowed, "OPTIONS"} - {HANDSHAKE}))}
        if method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=allow)
        refusal = Refusal("method_not_allowed", f"{method[:20]} is not allowed here; allowed are {allow['allow']}")
        return error_response(refusal, allow)


async def _no_content(headers: list[tuple[bytes, bytes]], send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(headers: list[tuple[bytes, bytes]], send: Send) -> Send:
    """Add headers to the answer, with which the browser lets a page of an allowed origin read it."""

    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return sending


async def _on_http_exception(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(Refusal("bad_request", error.detail), dict(error.headers or {}))


async def _on_refusal(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error_response(error)


async def _on_client_disconnect(request: HttpRequest, error: Exception) -> Response:
    """The client left, or was refused, before its body was complete: no failure, and this answer is never sent."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _on_failure(request: HttpRequest, error: Exception) -> Response:
    return error_response(Refusal("internal_error", "the server failed on this request"))
