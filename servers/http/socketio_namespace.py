"""One namespace over python-socketio: connecting, catching up, then receiving each room with everybody else.

What is emitted to its rooms is in ``servers.http.socketio_rooms``.
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import msgspec
from socketio.exceptions import ConnectionRefusedError as Refused

from feed.cursor import Cursor
from feed.envelope import decode_envelope
from feed.strict import JsonError, decode_strictly
from servers.gate.admission import address_of
from servers.gate.errors import Refusal
from servers.http.socketio_article import EVENTS, ArticleError, answer_of, document_of, requests_of
from servers.http.socketio_packets import REQUEST, PacketError, event_of, only
from servers.http.socketio_rooms import Emitter, RoomPump, SocketIoConnection
from servers.http.socketio_server import LEAVING, Server
from servers.hub.reader import Subscription
from servers.hub.room import Room
from servers.hub.stats import Counters
from servers.platform.namespace import Namespace


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends when it connects to a namespace."""

    room: str = ""
    since: str = ""
    token: str = ""


_NULL: Final = msgspec.Raw(b"null")
"""Stands for the argument of an event that has none."""
_AUTH_DECODER: Final = msgspec.json.Decoder(Auth | None)


class SocketIoNamespace:
    """One namespace of ours as one of Socket.IO's (``servers.http.socketio_server.Space``)."""

    def __init__(self, sio: Server, namespace: Namespace, counters: Counters) -> None:
        self._sio = sio
        self._namespace = namespace
        self._counters = counters
        self._name = f"/{namespace.name}"
        self._emitter = Emitter(sio, self._name)
        self._pumps: dict[str, RoomPump] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        sio.spaces[self._name] = self
        sio.on("connect", self._on_connect, namespace=self._name)
        sio.on("disconnect", self._on_disconnect, namespace=self._name)

    def begin(self, connection: SocketIoConnection, room: Room, since: Cursor | None) -> None:
        """Send a room to a client from a cursor on: its past by itself, then what is new with everybody else."""
        self._receive(connection, Subscription(room, since, self._counters))

    def stop_sending(self, connection: SocketIoConnection, room: str) -> None:
        """A client has left a room."""
        self._release_pump(connection, room)
        self._start(self._emitter.leave_room(connection.client, room))

    def end(self, connection: SocketIoConnection, refusal: Refusal) -> None:
        """Send the reason, and disconnect."""

        async def send_and_disconnect() -> None:
            await self._emitter.emit("error", refusal.body, to=connection.client)
            await self._sio.disconnect(connection.client, self._name)

        self._start(send_and_disconnect())

    async def answer(self, sid: str, event: str, acknowledged: bool) -> bytes:
        """Carry out what an event asks for. Without ``acknowledged`` the answer is sent only if it is an error."""
        connection = self._namespace.connections.by_client.get(sid)
        if not isinstance(connection, SocketIoConnection):
            return LEAVING
        try:
            name, arguments = event_of(event)
            if name in EVENTS:
                return await self._by_article(connection, name, arguments, acknowledged)
            if name != REQUEST:
                raise PacketError(f"event {name[:40]!r}: allowed are {REQUEST}, {', '.join(EVENTS)}")
            request = only(REQUEST, arguments)
        except PacketError as error:
            return self._namespace.requests.reject(connection, len(event.encode()), str(error))
        return await self._carried_out(connection, request)

    async def _carried_out(self, connection: SocketIoConnection, request: bytes) -> bytes:
        reply = self._namespace.requests.handle(connection, request)
        return reply if isinstance(reply, bytes) else await asyncio.shield(reply)

    async def _by_article(
        self, connection: SocketIoConnection, event: str, arguments: list[msgspec.Raw], acknowledged: bool
    ) -> bytes:
        """Carry out the requests that an event of the article's stands for, up to the first that is refused."""
        connection.by_article = True
        reply = b""
        try:
            requests = requests_of(event, only(event, arguments or [_NULL]))
        except ArticleError as error:
            size = sum(map(len, map(bytes, arguments)))
            reply, requests = self._namespace.requests.reject(connection, size, str(error)), []
        for request in requests:
            reply = await self._carried_out(connection, request)
            if decode_envelope(reply).type == "error":
                break
        else:
            if event == "doc:join" and requests:
                await self._emitter.tell("doc:sync", document_of(reply), to=connection.client)
        return answer_of(reply) if acknowledged else reply

    def reject(self, sid: str, size_bytes: int, message: str) -> bytes:
        """The error for something that is no event."""
        connection = self._namespace.connections.by_client.get(sid)
        return LEAVING if connection is None else self._namespace.requests.reject(connection, size_bytes, message)

    def close(self) -> None:
        """Stop all tasks."""
        for task in tuple(self._tasks):
            task.cancel()

    def _receive(self, connection: SocketIoConnection, subscription: Subscription) -> None:
        subscription.selects = connection
        room = subscription.room
        connection.starts[room.name] = subscription.start_seq
        pump = self._pumps.get(room.name)
        if pump is None:
            pump = self._pumps[room.name] = RoomPump(room, self._emitter, self._namespace.connections, self._counters)
            pump.task = self._start(pump.run())
        pump.receivers.add(connection.client)
        self._start(pump.catch_up(connection, subscription))

    def _release_pump(self, connection: SocketIoConnection, room: str) -> None:
        pump = self._pumps[room]
        pump.receivers.discard(connection.client)
        if not pump.receivers:
            del self._pumps[room]
            pump.close()

    async def _on_connect(self, sid: str, environ: Mapping[str, Any], auth: str | None = None) -> None:
        scope = environ["asgi.scope"]
        try:
            asked = _read_auth(auth)
            identity = self._namespace.admission.identify(scope, asked.token)
            reader = self._namespace.subscribe(identity, asked.room, asked.since)
            connection = SocketIoConnection(identity, address_of(scope), sid, self, reader.room.name)
            self._namespace.enter(connection)
        except Refusal as refusal:
            raise Refused(refusal.message, json.loads(refusal.body)["data"]) from None
        self._receive(connection, reader)

    async def _on_disconnect(self, sid: str, reason: str) -> None:
        connection = self._namespace.connections.by_client.get(sid)
        if isinstance(connection, SocketIoConnection):
            self._sio.end_unless_used(self._sio.manager.eio_sid_from_sid(sid, self._name))
            self._namespace.leave(connection, reason)
            for room in connection.starts:
                self._release_pump(connection, room)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _read_auth(text: str | None) -> Auth:
    try:
        return decode_strictly((text or "null").encode(), _AUTH_DECODER) or Auth()
    except JsonError as error:
        raise Refusal("bad_request", f"auth: {error}") from error
