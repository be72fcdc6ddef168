"""Socket.IO: python-socketio's AsyncClient on our aiohttp session. By default it polls first, then upgrades."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import engineio
import msgspec
import socketio
from engineio.packet import MESSAGE, PING, Packet

from clients.core.client import Client, Received, Shared
from clients.core.errors import NOT_PUSHMARK, RETRIED, SENSELESS, ClientError, PassingError, RefusedError, failure
from clients.core.options import ClientOptions, target
from clients.http.answers import check_answer, failure_of, handshake_failure, read_body, read_error
from clients.http.headers import header_set
from clients.http.packets import BINARY_PACKETS, ONE_ATTACHMENT, Json, check_packets, with_payload
from clients.http.stamped import (
    CLOSE_TIMEOUT_S,
    MAX_MESSAGE_BYTES,
    OneConnection,
    StampedProtocol,
    new_session,
    note,
    refused_frame,
)
from feed.envelope import Envelope, ErrorData, decode_envelope
from feed.transports import TRANSPORTS
from feed.wire import WireError

MAX_WAITING: Final = 10_000
"""Most envelopes that may wait for the consumer; a slower consumer loses its connection, and resumes."""
MAX_WAITING_BYTES: Final = 16 << 20
"""The same bound for the bytes of all waiting envelopes."""
MAX_UNSENT: Final = 4096
"""Most packets that may wait to be sent, answers to pings included; a server that lets more pile up is left."""
POLL_TYPE: Final = "text/plain"
_KNOWN: Final = (ClientError, aiohttp.ClientError, OSError, TimeoutError, EOFError, *SENSELESS)


class SocketIo(Client):
    """``/socket.io/``; the cursor goes in the auth payload. The library's own reconnection is off.

    A server that is no Socket.IO server, or refuses the namespace, ends the client. Packets that the library cannot
    read end the connection, and the client tries again.
    """

    transport = TRANSPORTS["socketio"]

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._target = target(url, self.transport)
        self._headers = header_set(options.headers, "fetch", str(self._target.origin()))
        self._namespace = f"/{options.namespace}"
        self._sio: _Sio | None = None

    async def receive(self) -> AsyncIterator[Received]:
        options = self.options
        connector = OneConnection(self.ledger, keep_alive=True, ca_file=options.ca_file)
        async with new_session(connector, options.connect_timeout_s) as session:
            sio = _Sio(session, connector, self.heartbeat)
            sio.listen(self._namespace)
            try:
                await self._connect(sio)
                _go_on_cancelling()
                if sio.eio.ws is not None:
                    note(self.ledger, sio.eio.ws._response)
                connector.protocol.watch_silence(options.silence_timeout_s)
                self._sio = sio
                while True:
                    received = await sio.next()
                    connector.protocol.meter.first_answer()
                    yield received
            finally:
                self._sio = None
                await sio.leave()

    async def _connect(self, sio: "_Sio") -> None:
        options = self.options
        auth = {"room": options.room, "since": str(self.session.cursor or ""), "token": self.token}
        transports = ["websocket"] if options.variant == "websocket_only" else ["polling", "websocket"]
        self.ledger.requests += len(transports)
        try:
            async with asyncio.timeout(options.connect_timeout_s + options.answer_margin_s):
                await sio.connect(
                    str(self._target.origin()),
                    headers=dict(self._headers),
                    auth={name: value for name, value in auth.items() if value},
                    transports=transports,
                    namespaces=[self._namespace],
                    wait_timeout=options.connect_timeout_s,
                )
        except socketio.exceptions.ConnectionError as error:
            raise sio.refusal or _cause(error) from error
        except Exception as error:  # the library raises anything for bytes it cannot read
            raise _known(error) from error

    async def send_request(self, id_: str, body: bytes, payload: bytes = b"") -> Envelope:
        sio = self._sio
        if sio is None:
            raise ConnectionResetError("not connected")
        return await self.requests.answer_after(id_, sio.emit_request(body, payload, self._namespace, self.judge))


class _Sio(socketio.AsyncClient):  # type: ignore[misc]  # a base of type Any: the library ships no types (no py.typed)
    """The library's client with a receive time for every message."""

    def __init__(self, session: aiohttp.ClientSession, connector: OneConnection, beat: Callable[[], None]) -> None:
        super().__init__(
            reconnection=False,
            handle_sigint=False,
            json=Json,
            http_session=session,
            websocket_extra_options={
                "timeout": aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                "compress": 0,
                "max_msg_size": MAX_MESSAGE_BYTES,
            },
        )
        self.eio.connector = connector
        self.eio.beat = beat
        self.eio.on_failure = self.fail
        self.refusal: RefusedError | PassingError | None = None
        self._waiting: asyncio.Queue[tuple[Received, int] | Exception] = asyncio.Queue()
        """Envelopes with their sizes in bytes, and last why the connection ended."""
        self._waiting_bytes = 0
        self._receive_ns = 0
        self._attachment: bytes | None = None
        """The binary part of the event that is handled next."""

    def listen(self, namespace: str) -> None:
        """Queue a namespace's envelopes, and the end of its connection, for ``next``."""
        self.on("*", self._on_event, namespace=namespace)
        self.on("disconnect", self._on_disconnect, namespace=namespace)

    async def next(self) -> Received:
        """The next envelope. Raises why the connection ended."""
        item = await self._waiting.get()
        if isinstance(item, Exception):
            raise item
        received, size = item
        self._waiting_bytes -= size
        return received

    def fail(self, error: Exception) -> None:
        """End the queue with an error."""
        self._waiting.put_nowait(_known(error))

    async def emit_request(
        self, body: bytes, payload: bytes, namespace: str, judge: Callable[[Envelope], object]
    ) -> None:
        """Send a request; its acknowledgement is an envelope, judged like those among the events."""
        said = {**msgspec.json.decode(body), "payload": payload} if payload else msgspec.Raw(body)
        try:
            await self.emit("request", said, namespace, callback=lambda raw: judge(decode_envelope(raw)))
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionResetError(str(error)) from error

    async def leave(self) -> None:
        """Disconnect. The library alone would wait too long: while connecting for a task that does not exist yet, and
        while it polls for the answer to its last poll, which comes with the server's next ping."""
        if self.eio.read_loop_task is None:
            await self.eio.disconnect(abort=True)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.disconnect()

    async def _on_event(self, name: str, raw: msgspec.Raw) -> None:
        payload, self._attachment = self._attachment, None
        size = len(memoryview(raw)) + len(payload or b"")
        if self._waiting.qsize() < MAX_WAITING and self._waiting_bytes < MAX_WAITING_BYTES:
            envelope = decode_envelope(raw) if payload is None else with_payload(raw, payload)
            self._waiting.put_nowait((Received(envelope, self._receive_ns), size))
            self._waiting_bytes += size
        elif self.connected:
            await self.disconnect()

    async def _on_disconnect(self, reason: str) -> None:
        broken = self.eio.connector.protocol.has_refused_frame
        self.fail(refused_frame(self.eio.ws.close_code) if broken else EOFError(f"disconnected: {reason}"))

    async def _handle_eio_disconnect(self, reason: str) -> None:
        if not self.connected:  # the library calls its handlers later or never, and waits for a namespace meanwhile
            self.fail(EOFError(f"disconnected: {reason}"))
        await super()._handle_eio_disconnect(reason)

    async def _handle_connect(self, namespace: str | None, data: Any) -> None:
        if self._is_ours(namespace) and not self.connected:
            await super()._handle_connect(namespace, data)

    async def _handle_error(self, namespace: str | None, data: Any) -> None:
        if not self._is_ours(namespace):
            return
        self.refusal = _refusal(data)
        if self.connected:
            self.fail(self.refusal)
        else:
            await super()._handle_error(namespace, data)

    def _is_ours(self, namespace: str | None) -> bool:
        """Is this the namespace that we connect to? The library would keep any that a server names."""
        return (namespace or "/") in self.connection_namespaces

    async def _handle_eio_message(self, data: Any) -> None:
        self._receive_ns = self.eio.stamps.popleft()  # one per message, and the messages' tasks begin in order
        if isinstance(data, bytes) != (self._binary_packet is not None):
            raise WireError("an attachment that was not announced, or none where one was")
        if isinstance(data, bytes):
            self._attachment = data
        elif not isinstance(data, str) or (data.startswith(BINARY_PACKETS) and not data.startswith(ONE_ATTACHMENT)):
            raise WireError("an unknown packet; expected are Socket.IO's, events with at most one attachment")
        await super()._handle_eio_message(data)

    def _engineio_client_class(self) -> type["_Engine"]:
        return _Engine


class _Engine(engineio.AsyncClient):  # type: ignore[misc]  # a base of type Any: the library ships no types (no py.typed)
    """Notes the receive time of each message; the first on a WebSocket is read before the library's loop.

    A failure in one of its tasks ends the client's connection; the library alone would only log it.
    """

    connector: OneConnection
    beat: Callable[[], None]
    on_failure: Callable[[Exception], None]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stamps: deque[int] = deque()
        self._read_count = 1

    def start_background_task(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return super().start_background_task(self._reporting, target, *args, **kwargs)

    async def _reporting(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        try:
            await target(*args, **kwargs)
        except Exception as error:  # a foreign server's packets reach every part of the library
            self.on_failure(error)

    async def _receive_packet(self, pkt: Packet) -> None:
        protocol: StampedProtocol = self.connector.protocol
        receive_ns = protocol.receive_ns
        if self.current_transport == "websocket":
            self._read_count += 1
            receive_ns = protocol.stamp(self._read_count)
        if pkt.packet_type == MESSAGE:
            self.stamps.append(receive_ns)
        elif pkt.packet_type == PING:
            self.beat()
        await super()._receive_packet(pkt)

    async def _send_packet(self, pkt: Packet) -> None:
        if self.queue.qsize() >= MAX_UNSENT:
            raise ConnectionResetError(f"{MAX_UNSENT} packets wait to be sent")
        await super()._send_packet(pkt)

    async def _send_request(
        self,
        method: str,
        url: str,
        headers: Any = None,
        body: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the parameter is that of the library's method
    ) -> aiohttp.ClientResponse:
        """Replaces the library's method, which turns failures into text and takes any answer for packets."""
        total = aiohttp.ClientTimeout(total=timeout)
        response: aiohttp.ClientResponse = await self.http.request(
            method, url, headers=headers, data=body, timeout=total
        )
        note(self.connector.ledger, response)
        if method == "GET":
            await check_answer(response, POLL_TYPE)
        elif response.status != HTTPStatus.OK:
            raise failure_of(response, await read_error(response), POLL_TYPE)
        response._body = body_read = await read_body(response)  # where the library's own read() finds it
        if method == "GET":
            check_packets(body_read, opening=self.state != "connected")
        return response


def _go_on_cancelling() -> None:
    """``asyncio.wait_for``, which the library uses, loses a cancellation that comes as it succeeds (until 3.12)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _refusal(data: Any) -> RefusedError | PassingError:
    """The meaning of a refused namespace; our servers put their error in the packet's ``data``."""
    try:
        return failure(msgspec.convert(data["data"], ErrorData))
    except (LookupError, TypeError, msgspec.ValidationError):
        return RefusedError(NOT_PUSHMARK, f"the namespace was refused with {data!r:.80}; expected is our error")


def _cause(error: Exception) -> Exception:
    """Why there is no connection; the library hides the cause behind an exception of its own."""
    behind = error.__cause__.__context__ if error.__cause__ is not None else None
    if isinstance(behind, aiohttp.WSServerHandshakeError):
        return handshake_failure(behind)
    return behind if isinstance(behind, RETRIED) else ConnectionError(str(error))


def _known(error: Exception) -> Exception:
    """A failure that ``Client`` knows; anything else that the library raises is caused by unreadable bytes."""
    if isinstance(error, _KNOWN):
        return error
    return WireError(f"packets that cannot be read: {type(error).__name__}: {error}")


CLIENT: Final = SocketIo
