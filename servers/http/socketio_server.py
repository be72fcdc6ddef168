"""python-socketio's server, with an answer to every packet that the library takes for valid and is not.

The answer is an acknowledgement if the client asked for one, else an event ``error``.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import msgspec
import socketio
from socketio.packet import ACK, BINARY_EVENT, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT

from feed.envelope import decode_envelope
from servers.gate.errors import Refusal
from servers.http.engineio import Engine
from servers.http.socketio_packets import Json, PacketError, TextPacket, parse_packet, with_attachment

DEFAULT_NAMESPACE: Final = "/"
UNANNOUNCED: Final = "a binary message that no event announced"
NOT_FOLLOWED: Final = "the event before this packet announced an attachment, and none followed"
NOT_ONE: Final = "a binary event has one attachment: the field 'payload' of its request"
UNASKED: Final = "this server asks for no acknowledgements: a client may connect, disconnect, and send events"
NOT_CONNECTED: Final = Refusal("bad_request", "not connected to this namespace: connect to it first").body
LEAVING: Final = Refusal("closed", "this connection is ending").body


class Space(Protocol):
    """One namespace, as it answers its clients; ``sid`` names the client."""

    async def answer(self, sid: str, event: str, acknowledged: bool) -> bytes:
        """The answer to an event, given as its JSON text; an envelope if it needs not be ``acknowledged``."""

    def reject(self, sid: str, size_bytes: int, message: str) -> bytes:
        """The error for something that is no event."""


Answering = Callable[[Space, str], bytes]
"""Makes an answer from the namespace and the ``sid`` of the client."""


class Server(socketio.AsyncServer):  # type: ignore[misc]  # the library has no types
    """Ends sessions that join no namespace in time: the library keeps them for ever; Node's has ``connectTimeout``."""

    def __init__(
        self, connect_timeout_s: float, close: Callable[[str], Coroutine[Any, Any, None]], **options: Any
    ) -> None:
        super().__init__(serializer=TextPacket, json=Json, **options)
        self.spaces: dict[str, Space] = {}
        self._connect_timeout_s = connect_timeout_s
        self._close = close
        self._closing: set[asyncio.Task[None]] = set()
        self._announced: dict[str, int] = {}
        """Engine.IO session -> binary messages that are still to come for an event that was answered."""
        self._held: dict[str, TextPacket] = {}
        """Engine.IO session -> an event whose attachment is still to come."""

    def end_unless_used(self, eio_sid: str) -> None:
        """Schedule the end of an Engine.IO session that is in no namespace by then."""

        def end_unused() -> None:
            namespaces = tuple(self.manager.get_namespaces())
            if not any(self.manager.sid_from_eio_sid(eio_sid, name) for name in namespaces):
                self.end(eio_sid)

        asyncio.get_running_loop().call_later(self._connect_timeout_s, end_unused)

    def end(self, eio_sid: str) -> None:
        """End an Engine.IO session after the packets that wait for it are sent."""
        closing = asyncio.ensure_future(self._close(eio_sid))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _handle_eio_connect(self, eio_sid: str, environ: Mapping[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        self.end_unless_used(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._announced.pop(eio_sid, None)
        self._held.pop(eio_sid, None)
        await super()._handle_eio_disconnect(eio_sid, reason)

    async def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        if eio_sid not in self.environ:
            return  # it has ended, and the library would fail to find it
        if isinstance(data, bytes):
            await self._handle_attachment(eio_sid, data)
            return
        self._announced.pop(eio_sid, None)
        if (held := self._held.pop(eio_sid, None)) is not None:
            await self._answer(
                eio_sid, held.namespace or DEFAULT_NAMESPACE, held.id, lambda at, sid: at.reject(sid, 0, NOT_FOLLOWED)
            )
        try:
            packet = parse_packet(data)
        except PacketError as error:
            said, size = str(error), len(data)
            await self._answer(eio_sid, self._any_namespace(eio_sid), None, lambda at, sid: at.reject(sid, size, said))
            self.end(eio_sid)
            return
        if packet.packet_type == BINARY_EVENT and packet.attachment_count == 1:
            self._held[eio_sid] = packet
            return
        if packet.attachment_count:
            self._announced[eio_sid] = packet.attachment_count
        await self._handle_packet(eio_sid, packet, len(data))

    async def _handle_packet(self, eio_sid: str, packet: TextPacket, size: int) -> None:
        name, kind = packet.namespace or DEFAULT_NAMESPACE, packet.packet_type
        if kind == CONNECT:
            await self._handle_connect(eio_sid, name, packet.data)
        elif kind == DISCONNECT:
            await self._handle_disconnect(eio_sid, name, self.reason.CLIENT_DISCONNECT)
        elif kind == EVENT:
            await self._handle_event(eio_sid, name, packet.id, packet.data or "null")
        elif kind == BINARY_EVENT:
            await self._answer(eio_sid, name, packet.id, lambda at, sid: at.reject(sid, size, NOT_ONE))
        else:
            await self._answer(eio_sid, name, None, lambda at, sid: at.reject(sid, size, UNASKED))

    async def _handle_connect(self, eio_sid: str, namespace: str, data: str | None) -> None:
        if namespace not in self.spaces:
            refusal = Refusal("not_found", f"there is no namespace {namespace!r}: there are {', '.join(self.spaces)}")
            said = {"message": refusal.message, "data": {"code": refusal.code, "message": refusal.message}}
            await self._send_packet(eio_sid, TextPacket(CONNECT_ERROR, said, namespace))
        elif self.manager.sid_from_eio_sid(eio_sid, namespace) is not None:
            said_twice = f"connected to {namespace!r} already: disconnect first"
            await self._answer(eio_sid, namespace, None, lambda at, sid: at.reject(sid, len(data or ""), said_twice))
        else:
            await super()._handle_connect(eio_sid, namespace, data)

    async def _handle_event(self, eio_sid: str, namespace: str, id: int | None, data: str) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if self.manager.is_connected(sid, namespace):
            await super()._handle_event(eio_sid, namespace, id, data)
            await asyncio.sleep(0)  # lets its task begin before the next packet, which may disconnect
        else:
            await self._answer(eio_sid, namespace, id, lambda at, sid: LEAVING)

    async def _handle_event_internal(
        self, server: "Server", sid: str, eio_sid: str, data: str, namespace: str, id: int | None
    ) -> None:
        body = await self.spaces[namespace].answer(sid, data, id is not None)
        if id is not None or decode_envelope(body).type == "error":
            await self._say(eio_sid, namespace, id, body)

    async def _handle_attachment(self, eio_sid: str, data: bytes) -> None:
        """Take a binary message: the attachment of an event, one of an event that was answered, or one on its own."""
        held, announced = self._held.pop(eio_sid, None), self._announced.get(eio_sid, 0)
        if held is not None:
            await self._handle_event_with(eio_sid, held, data)
        elif announced:
            self._announced[eio_sid] = announced - 1
        else:
            name, size = self._any_namespace(eio_sid), len(data)
            await self._answer(eio_sid, name, None, lambda at, sid: at.reject(sid, size, UNANNOUNCED))

    async def _handle_event_with(self, eio_sid: str, packet: TextPacket, payload: bytes) -> None:
        name = packet.namespace or DEFAULT_NAMESPACE
        try:
            event = with_attachment(packet.data or "null", payload)
        except PacketError as error:
            said, size = str(error), len(payload)
            await self._answer(eio_sid, name, packet.id, lambda at, sid: at.reject(sid, size, said))
        else:
            await self._handle_event(eio_sid, name, packet.id, event)

    def _any_namespace(self, eio_sid: str) -> str:
        """A namespace of the session, for answers that concern no namespace in particular."""
        inside = (name for name in self.spaces if self.manager.sid_from_eio_sid(eio_sid, name) is not None)
        return next(inside, DEFAULT_NAMESPACE)

    async def _answer(self, eio_sid: str, namespace: str, id_: int | None, answering: Answering) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        body = NOT_CONNECTED if sid is None else answering(self.spaces[namespace], sid)
        await self._say(eio_sid, namespace, id_, body)

    async def _say(self, eio_sid: str, namespace: str, id_: int | None, body: bytes) -> None:
        kind, said = (EVENT, ["error", msgspec.Raw(body)]) if id_ is None else (ACK, [msgspec.Raw(body)])
        await self._send_packet(eio_sid, TextPacket(kind, said, namespace, id_))

    def _engineio_server_class(self) -> type[Engine]:
        return Engine
