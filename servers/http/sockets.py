"""uvicorn's WebSocket protocol with the bounds that it lacks. Handshakes have passed ``protocols`` before."""

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
from servers.gate.guard import Guard
from servers.http.heads import HANDSHAKE_FIELDS, encode_head
from servers.http.protocols import PROTOCOL
from servers.hub.push import Push


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, seen by the guard; an application finds it in its scope as ``PROTOCOL``."""

    __slots__ = ("_guard", "push")

    def __init__(self, guard: Guard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._guard = guard
        self.push: Push | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Another callback than before, which would keep the HTTP protocol and its request for as long as this lives.
        link = self._guard.opened_by(cast(asyncio.Transport, transport), _no_request)
        self._guard.request_complete(link)  # or this protocol would not be here

    def begin(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer a handshake that has been checked."""
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
        if not self.handshake_initiated and not self.transport.is_closing():
            self._refuse()  # the first data is the whole handshake, and uvicorn waits for ever if it cannot be read

    def _refuse(self) -> None:
        """What the library finds wrong with a handshake beyond our own rules: lists that are none, mostly."""
        refusal = Refusal("bad_request", "not a WebSocket handshake (RFC 6455, section 4.1)")
        self.transport.write(raw_error_response(refusal, sec_websocket_version="13"))
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


def _no_request() -> None:
    """No request is expected any more that could be overdue."""
