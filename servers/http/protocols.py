"""uvicorn's HTTP/1.1 protocol with the bounds and the rules that it lacks.

Each connection is reported to ``servers.gate.watchdog``, a request over a bound is refused before it is held in memory,
and the rules of RFC 9110, 9112 and 6455 for servers are kept here, for every route and variant alike.
"""

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from servers.gate.errors import Refusal, raw_error_response
from servers.gate.watchdog import ConnectionWatchdog, WatchedConnection
from servers.http.heads import (
    UPGRADE_FIELDS,
    check_handshake,
    check_head,
    check_version,
    encode_head,
    origin_form,
    wants_websocket,
    without,
)
from servers.platform.options import ServerOptions

PROTOCOL: Final = "pushmark.protocol"
"""Extension of a scope: a weak reference to the connection's protocol object, for variants that bypass ASGI."""
MAX_PIPELINED: Final = 16
"""Most requests of a connection that wait for earlier answers; each takes some 2.5 KB."""
_FIELD_OVERHEAD_BYTES: Final = 4
"""Colon, space and line end of a header."""


class WatchedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, watched, with one answer per request, in their order."""

    __slots__ = ("_in_head", "_options", "_running", "_watchdog", "_watched", "_when_lost")
    # In the object's dict, these would be more attributes than objects can share the names of: 1 KB per connection.

    def __init__(self, watchdog: ConnectionWatchdog, options: ServerOptions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._watchdog = watchdog
        self._options = options
        self._watched: WatchedConnection
        self._in_head = True
        self._running: RequestResponseCycle | None = None
        self._when_lost: Callable[[], None] = _nothing

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows the type too
        super().connection_made(transport)
        transport.set_write_buffer_limits(self._options.write_buffer_bytes)
        self._watched = self._watchdog.watch(transport, self._on_overdue)

    @contextlib.contextmanager
    def telling(self, lost: Callable[[], None]) -> Iterator[None]:
        """Within the context, call ``lost`` when the connection ends, or at once if it has ended already."""
        self._when_lost = lost
        if self.transport.is_closing():
            lost()
        try:
            yield
        finally:
            self._when_lost = _nothing

    def connection_lost(self, exc: Exception | None) -> None:
        self._watchdog.lost(self.transport)
        self._when_lost()
        if self._running is not None:
            self._running.disconnected = True  # of pipelined requests, uvicorn only marks the newest
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # which uvicorn does not do after a reset: it would keep all this alive

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app if cycle.keep_alive else cast(Any, _closing(app, cycle)))

    def _on_overdue(self) -> None:
        if self._may_answer():
            limit_s = self._options.request_timeout_s
            self._write(Refusal("request_timeout", f"no complete request within {limit_s:g} s"))

    def _refuse(self, refusal: Refusal, **headers: str) -> None:
        if self._may_answer():
            self._write(refusal, **headers)
        self.transport.close()

    def _may_answer(self) -> bool:
        """True if an answer may be sent: there is one per request, in their order (RFC 9112, section 9.3.2)."""
        running = self._running
        if self.transport.is_closing():
            return False
        if self._in_head:  # of the next request: all earlier ones must have been answered
            return running is None or running.response_complete
        return running is self.cycle and not self.cycle.response_started

    def _write(self, refusal: Refusal, **headers: str) -> None:
        answer = raw_error_response(refusal, **headers)
        if self.parser.get_method() == b"HEAD":
            answer = answer[: len(answer) - len(refusal.body)]
        self.transport.write(answer)


class BoundedHttp(WatchedHttp):
    """The same with bounds on the head and the body of a request, and with the rules that the parser does not know."""

    __slots__ = ("_behind", "_body_bytes", "_field_bytes", "_head_bytes")

    def __init__(self, watchdog: ConnectionWatchdog, options: ServerOptions, **kwargs: Any) -> None:
        super().__init__(watchdog, options, **kwargs)
        self._head_bytes = 0
        """Bytes read of a head that is not complete."""
        self._field_bytes = 0
        """Bytes of the headers and trailers that were parsed."""
        self._body_bytes = 0
        self._behind = False
        """A request has ended in the read that is being parsed; what follows it has a head of its own."""

    def data_received(self, data: bytes) -> None:
        self._behind = False
        self._feed(data)
        if self._in_head and not self._behind:
            self._head_bytes += len(data)
            if self._head_bytes > self._options.max_head_bytes:
                self._refuse(self._head_too_large())

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            rest = data[stop.args[0] :]
            if self._should_upgrade():
                self._begin_websocket(rest)
            else:
                self._ignore_upgrade(rest)
        except httptools.HttpParserError as error:  # of the parser itself, or raised in one of the callbacks below
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Refusal) else Refusal("bad_request", "this is no HTTP/1.1 request"))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Ignore the offer of another protocol (RFC 9110, section 7.8): parse the request as if it were not there.

        After such a head the parser takes everything, even the body, for data of that protocol. So a new parser reads
        the request again without the offer.
        """
        method, version = self.parser.get_method().decode(), self.parser.get_http_version()
        head = encode_head(method, self.url, version, without(self.headers, b"upgrade"))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed(head)
        if rest and not self.transport.is_closing():
            self._feed(rest)

    def on_message_begin(self) -> None:
        # Only now: empty lines before a request are ignored (RFC 9112, section 2.2), and keep no connection open.
        self._unset_keepalive_if_required()
        if not self._watched.request_due_ns:
            self._watchdog.expect_request(self._watched)
        self._head_bytes = self._field_bytes = self._body_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = {PROTOCOL: weakref.ref(self)}  # type: ignore[dict-item]  # asgiref types none but its own

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self._options.max_url_bytes:
            raise Refusal("url_too_long", f"the URL is over {self._options.max_url_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value) + _FIELD_OVERHEAD_BYTES
        if self._field_bytes > self._options.max_head_bytes:
            raise self._head_too_large()
        if not self._in_head:
            return  # a trailer, which is no header (RFC 9110, section 6.5.1)
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))  # what uvicorn's on_header does, without a call per header

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        check_version(version)
        check_head(version, self.headers)
        if not self.url.startswith(b"/"):
            self._take_target(self.parser.get_method().decode())
        if len(self.pipeline) >= MAX_PIPELINED:
            raise Refusal("bad_request", f"over {MAX_PIPELINED} requests wait for answers before theirs")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Refusal("bad_request", "CONNECT is for proxies, and this is none (RFC 9110, section 9.3.6)")
            return  # the parser stops here, whatever the offer, and ``_feed`` continues
        if version == "1.0":
            self.expect_100_continue = False  # which HTTP/1.0 does not have (RFC 9110, section 10.1.1)
        self._in_head = False
        super().on_headers_complete()

    def _take_target(self, method: str) -> None:
        self.url, host = origin_form(method, self.url)
        if host is not None:
            self.headers[:] = [(b"host", host), *without(self.headers, b"host")]

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._options.max_body_bytes:
            raise Refusal("body_too_large", f"the body is over {self._options.max_body_bytes} bytes")
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # only the head was read
        self._in_head, self._behind = True, True
        self._watchdog.request_complete(self._watched)
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return self._should_upgrade_to_ws() and wants_websocket(self.parser.get_http_version(), self.headers)

    def _begin_websocket(self, rest: bytes) -> None:
        if not self._may_answer():
            self.transport.close()
            return
        method = self.parser.get_method().decode()
        try:
            check_handshake(method, self.headers)
            if rest:
                raise Refusal("bad_request", "data before the handshake is answered (RFC 6455, section 4.1)")
        except Refusal as refusal:
            self._refuse(refusal, sec_websocket_version="13")
            return
        self.handle_websocket_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the WebSocket protocol, and show the application all headers.

        The parser of that protocol is given the fields of the handshake only, since it has tighter bounds on lines.
        """
        self.connections.discard(self)
        protocol = cast(Any, self.ws_protocol_class)(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        others = without(without(self.headers, b"upgrade"), b"connection")
        protocol.begin(self.url, [*UPGRADE_FIELDS, *others])

    def _head_too_large(self) -> Refusal:
        return Refusal("headers_too_large", f"the request head is over {self._options.max_head_bytes} bytes")


def _closing(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """Wrap an application whose answer ends the connection: no ``keep-alive``, and no chunks for HTTP/1.0.

    HTTP/1.0 has no ``Transfer-Encoding`` (RFC 9112, section 6.1): an answer without a length ends with the connection.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        by_the_end = False

        async def sending(message: Message) -> None:
            nonlocal by_the_end
            if message["type"] == "http.response.start":
                headers = [field for field in message.get("headers", ()) if not _keeps_alive(*field)]
                message["headers"] = headers
                has_length = any(name == b"content-length" for name, _ in headers)
                by_the_end = scope["http_version"] == "1.0" and not has_length
                if by_the_end:
                    cycle.chunked_encoding = False
            elif by_the_end:
                cycle.expected_content_length = len(message.get("body", b""))  # uvicorn subtracts what it writes
            await send(message)

        await app(scope, receive, sending)

    return wrapped


def _keeps_alive(name: bytes, value: bytes) -> bool:
    return name.lower() == b"connection" and value.lower() == b"keep-alive"


def _nothing() -> None:
    """Do nothing when the connection is lost."""
