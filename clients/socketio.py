"""Socket.IO: python-socketio's AsyncClient on our aiohttp session. It polls first, then upgrades, by default."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

import aiohttp
import engineio
import msgspec
import socketio
from engineio.packet import MESSAGE, PING, Packet

from clients.client import PASSING, Client, Received, RefusedError, Shared
from clients.http import OneConnection, StampedProtocol, new_session
from clients.ledger import Ledger
from clients.options import ClientOptions, header_set, target
from feed.envelope import Envelope, decode_envelope

MAX_MESSAGE_BYTES: Final = 1 << 20
CLOSE_TIMEOUT_S: Final = 2.0
MAX_WAITING: Final = 10_000
"""Envelopes that wait for who listens; a consumer that is slower than that loses its connection, and resumes."""


class SocketIo(Client):
    """``/socket.io/``; the cursor goes in the auth payload. Its own reconnection is off: all transports share ours."""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._target = target(url, "http", "/")
        self._headers = header_set(options.headers, "fetch", str(self._target.origin()))
        self._namespace = f"/{options.namespace}"
        self._sio: _Sio | None = None

    async def _receive(self) -> AsyncIterator[Received]:
        options = self.options
        connector = OneConnection(self.ledger, keep_alive=True, ca_file=options.ca_file)
        async with new_session(connector, options.connect_timeout_s) as session:
            sio = _Sio(session, connector, self.ledger)
            sio.listen(self._namespace)
            try:
                await self._connect(sio)
                _go_on_cancelling()
                connector.protocol.watch_silence(options.silence_timeout_s)
                self._sio = sio
                while True:
                    item = await sio.waiting.get()
                    if isinstance(item, Exception):
                        raise item
                    connector.protocol.meter.first_answer()
                    yield item
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
            if sio.refusal is not None and sio.refusal.code not in PASSING:
                raise sio.refusal from error
            raise ConnectionError(str(error)) from error

    async def _ask(self, id_: str, body: bytes) -> Envelope:
        sio = self._sio
        if sio is None:
            raise ConnectionResetError("not connected")
        return await self._answer_after(id_, sio.emit_request(body, self._namespace, self._judge))


class _Sio(socketio.AsyncClient):  # type: ignore[misc]  # a base of type Any: the library ships no types (no py.typed)
    """The library's client with a receive time for every message."""

    def __init__(self, session: aiohttp.ClientSession, connector: OneConnection, ledger: Ledger) -> None:
        super().__init__(
            reconnection=False,
            handle_sigint=False,
            json=_Json,
            http_session=session,
            websocket_extra_options={
                "timeout": aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                "compress": 0,
                "max_msg_size": MAX_MESSAGE_BYTES,
            },
        )
        self.eio.connector = connector
        self.eio.ledger = ledger
        self.waiting: asyncio.Queue[Received | Exception] = asyncio.Queue()
        """At most ``MAX_WAITING`` envelopes, and after them why it ended."""
        self.refusal: RefusedError | None = None
        self._receive_ns = 0

    def listen(self, namespace: str) -> None:
        """Put what comes in a namespace into ``waiting``, and why it ended."""
        self.on("*", self._on_event, namespace=namespace)
        self.on("connect_error", self._on_error, namespace=namespace)
        self.on("disconnect", self._on_disconnect, namespace=namespace)

    async def emit_request(self, body: bytes, namespace: str, judge: Callable[[Envelope], object]) -> None:
        """Send a request; its acknowledgement is an envelope like one that comes among the events."""
        try:
            await self.emit("request", msgspec.Raw(body), namespace, callback=lambda raw: judge(decode_envelope(raw)))
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionResetError(str(error)) from error

    async def leave(self) -> None:
        """Disconnect, also where connecting was cut short: the library would wait for a task that is not there yet.

        While it polls it would also wait for the answer of its last poll, which comes with the server's next ping.
        """
        if self.eio.read_loop_task is None:
            await self.eio.disconnect(abort=True)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.disconnect()

    async def _on_event(self, name: str, raw: msgspec.Raw) -> None:
        if self.waiting.qsize() < MAX_WAITING:
            self.waiting.put_nowait(Received(decode_envelope(raw), self._receive_ns))
        elif self.connected:
            await self.disconnect()

    async def _on_error(self, data: Any) -> None:
        self.refusal = _refusal(data)

    async def _on_disconnect(self, reason: str) -> None:
        self.waiting.put_nowait(EOFError(f"disconnected: {reason}"))

    async def _handle_eio_message(self, data: Any) -> None:
        self._receive_ns = self.eio.stamps.popleft()  # each message was put there, and its task begins in order
        await super()._handle_eio_message(data)

    def _engineio_client_class(self) -> type["_Engine"]:
        return _Engine


class _Engine(engineio.AsyncClient):  # type: ignore[misc]  # a base of type Any: the library ships no types (no py.typed)
    """Notes when the read came that brought a message: its first message on a WebSocket was read before the loop."""

    connector: OneConnection
    ledger: Ledger

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stamps: deque[int] = deque()
        self._read = 1

    async def _receive_packet(self, pkt: Packet) -> None:
        by_websocket = self.current_transport == "websocket"
        self._read += by_websocket
        if pkt.packet_type == MESSAGE:
            protocol: StampedProtocol = self.connector.protocol
            self.stamps.append(protocol.stamp(self._read) if by_websocket else protocol.receive_ns)
        elif pkt.packet_type == PING:
            self.ledger.heartbeats += 1
        await super()._receive_packet(pkt)


class _Json:
    """JSON as python-socketio wants it, but arguments that are objects stay text: an envelope is decoded once."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_: Any) -> Any:
        if not text.startswith("["):
            return json.loads(text)
        parts = msgspec.json.decode(text, type=list[msgspec.Raw])
        return [part if memoryview(part)[0] == ord("{") else msgspec.json.decode(part) for part in parts]


def _go_on_cancelling() -> None:
    """``asyncio.wait_for``, which the library uses, loses a cancellation that comes as it succeeds (until 3.12)."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _refusal(data: Any) -> RefusedError | None:
    said = data.get("data") if isinstance(data, dict) else None
    if not isinstance(said, dict) or not isinstance(said.get("code"), str):
        return None
    return RefusedError(said["code"], str(said.get("message")))
