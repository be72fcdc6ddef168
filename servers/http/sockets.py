"""uvicorn's WebSocket protocol with the bounds that it lacks. ``servers.http.protocols`` has checked the handshake."""

import asyncio
import contextlib
import weakref
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request
from websockets.protocol import State

from servers.gate.errors import Refusal, raw_error_response
from servers.gate.watchdog import ConnectionWatchdog
from servers.http.heads import HANDSHAKE_FIELDS, encode_head
from servers.http.protocols import PROTOCOL
from servers.hub.push import Push


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, watched; an application finds it in its scope as ``PROTOCOL``."""

    __slots__ = ("_watchdog", "push")

    def __init__(self, watchdog: ConnectionWatchdog, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._watchdog = watchdog
        self.push: Push | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Replaces the HTTP protocol's callback, which would keep that object and its request alive.
        watched = self._watchdog.watch(cast(asyncio.Transport, transport), _no_request)
        self._watchdog.request_complete(watched)  # the handshake

    def begin(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer a handshake that was checked."""
        needed = [field for field in headers if field[0].startswith(HANDSHAKE_FIELDS)]
        self.data_received(encode_head("GET", b"/", "1.1", needed))
        if not self.transport.is_closing():
            raw_path, _, query = target.partition(b"?")
            path = unquote(raw_path.decode())
            shown = {"path": path, "raw_path": raw_path, "query_string": query, "headers": headers}
            cast(dict[str, Any], self.scope).update(shown)

    def handle_connect(self, event: Request) -> None:
        if self.conn.accept(event).status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._refuse()
            return
        super().handle_connect(event)
        self.scope["extensions"][PROTOCOL] = weakref.ref(self)  # type: ignore[assignment]  # asgiref types none but its own

    def start_keepalive(self) -> None:
        """After the handshake, free its headers: a quarter of a connection's memory (decision 0008)."""
        super().start_keepalive()
        self.request.headers.clear()  # its parser still holds the request
        del self.response
        self.scope["headers"] = []

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.push is not None:
            self.push.pause()
        self.transport.pause_reading()  # pings are answered even if the peer does not read: take no more of them

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()
        if self.push is not None:
            self.push.resume()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self._refuse()  # the first data is the whole handshake; uvicorn waits for ever if it cannot parse it

    def _refuse(self) -> None:
        """Refuse a handshake that meets our rules but not the library's, mostly for malformed lists."""
        refusal = Refusal("bad_request", "not a WebSocket handshake (RFC 6455, section 4.1)")
        self.transport.write(raw_error_response(refusal, sec_websocket_version="13"))
        self.transport.close()

    def send_receive_event_to_app(self) -> None:
        with contextlib.suppress(InvalidState):  # the peer's close after bad text, for which uvicorn has closed
            super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        self._watchdog.lost(self.transport)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self.conn.state is State.CLOSING:  # uvicorn would begin to close again, and fail
            self.transport.close()
        else:
            super().shutdown()


def _no_request() -> None:
    """Answer nothing: after the handshake no request is expected."""
