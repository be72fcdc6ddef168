"""WebSocket: one connection, one message per event: text, or binary for an event with a payload."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from clients.core.client import Client, Received, Shared
from clients.core.options import ClientOptions, target
from clients.http.answers import handshake_failure
from clients.http.headers import authorization, header_set
from clients.http.stamped import CLOSE_TIMEOUT_S, MAX_MESSAGE_BYTES, OneConnection, new_session, note, refused_frame
from feed.envelope import Envelope, decode_envelope, decode_packet, encode_packet
from feed.transports import TRANSPORTS

_DECODERS: Final = {aiohttp.WSMsgType.TEXT: decode_envelope, aiohttp.WSMsgType.BINARY: decode_packet}


class WebSocket(Client):
    """``/ws?since=``. Compression is not offered, as all servers have it off."""

    transport = TRANSPORTS["websocket"]

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._target = target(url, self.transport, options.namespace)
        origin = str(self._target.with_scheme(self._target.scheme.replace("ws", "http")).origin())
        self._headers = header_set(options.headers, "websocket", origin)
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None

    async def receive(self) -> AsyncIterator[Received]:
        options, ledger = self.options, self.ledger
        connector = OneConnection(ledger, keep_alive=False, ca_file=options.ca_file)
        ledger.requests += 1
        async with new_session(connector, options.connect_timeout_s) as session:
            async with asyncio.timeout(options.connect_timeout_s + options.answer_margin_s):
                socket = await self._connect(session)
            note(ledger, socket._response)
            protocol = connector.protocol
            protocol.watch_silence(options.silence_timeout_s)
            count = 0
            self._socket = socket
            try:
                while True:
                    message = await socket.receive()
                    count += 1
                    if message.type in _DECODERS:
                        yield Received(_DECODERS[message.type](message.data), protocol.stamp(count))
                        protocol.meter.first_answer()
                        continue
                    protocol.stamp(count)  # also for reads that bring no envelope
                    if message.type is aiohttp.WSMsgType.PING:
                        self.heartbeat()
                        await socket.pong(message.data)
                    elif message.type is not aiohttp.WSMsgType.PONG:
                        raise _end(message.type, socket.close_code)
            finally:
                self._socket = None
                await socket.close()

    async def send_request(self, id_: str, body: bytes, payload: bytes = b"") -> Envelope:
        socket = self._socket
        if socket is None:
            raise ConnectionResetError("not connected")
        sent = socket.send_bytes(encode_packet(body, payload)) if payload else socket.send_str(body.decode())
        return await self.requests.answer_after(id_, sent)

    async def _connect(self, session: aiohttp.ClientSession) -> "aiohttp.ClientWebSocketResponse[bool]":
        query = {"room": self.options.room}
        if self.session.cursor is not None:
            query["since"] = str(self.session.cursor)
        try:
            return await session.ws_connect(
                self._target.update_query(query),
                headers=self._headers | authorization(self.token),
                autoping=False,  # so that one receive() is one message, which keeps the receive times aligned
                heartbeat=None,
                compress=0,
                max_msg_size=MAX_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise handshake_failure(error) from error


def _end(type_: aiohttp.WSMsgType, code: int | None) -> Exception:
    """Why there are no more messages."""
    if type_ is aiohttp.WSMsgType.ERROR:
        return refused_frame(code)
    return EOFError(f"closed with code {code}")


CLIENT: Final = WebSocket
