"""One namespace over python-socketio: connecting, catching up, then receiving each room with everybody else.

Each room has one task, which takes what is published and emits it to the library's room of that name.
"""

import asyncio
import json
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from socketio.exceptions import ConnectionRefusedError as Refused

from feed.cursor import Cursor
from feed.strict import JsonError, decode_strictly
from feed.wire import Audience, BinaryEvent, Event
from servers.gate.admission import address_of
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.http.socketio_packets import PacketError, request_of
from servers.http.socketio_server import LEAVING, Server
from servers.hub.reader import HubClosedError, Notice, Reader, Subscription
from servers.hub.room import Room
from servers.hub.stats import Counters
from servers.platform.connections import Connection, Connections
from servers.platform.namespace import Namespace

CATCH_UP_EVENTS: Final = 64
"""How many past events are handed to a client's queue at once."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends when it connects to a namespace."""

    room: str = ""
    since: str = ""
    token: str = ""


_AUTH_DECODER: Final = msgspec.json.Decoder(Auth | None)


class SocketIoConnection(Connection):
    """A client in one namespace."""

    __slots__ = ("_space", "first", "starts")

    def __init__(self, identity: Identity, address: str, sid: str, space: "SocketIoNamespace", first: str) -> None:
        super().__init__(identity, address, sid)
        self._space = space
        self.first = first
        """The room that it asked for when it connected."""
        self.starts: dict[str, int] = {}
        """Room -> the sequence number after which it receives the room."""

    def attach(self, room: Room, since: Cursor | None) -> None:
        if room.name not in self.starts:
            self._space.begin(self, room, since)

    def detach(self, room: str) -> None:
        if room != self.first:
            self.starts.pop(room, None)
            self._space.stop_sending(self, room)

    def start_of(self, room: str) -> int | None:
        return self.starts.get(room)

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self._space.end(self, refusal)


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
        self._start(self._sio.leave_room(connection.client, room, self._name))

    def end(self, connection: SocketIoConnection, refusal: Refusal) -> None:
        """Send the reason, and disconnect."""

        async def send_and_disconnect() -> None:
            await self._emitter.emit("error", refusal.body, to=connection.client)
            await self._sio.disconnect(connection.client, self._name)

        self._start(send_and_disconnect())

    async def answer(self, sid: str, event: str) -> bytes:
        """Carry out the request that an event is."""
        connection = self._namespace.connections.by_client.get(sid)
        if connection is None:
            return LEAVING
        try:
            request = request_of(event)
        except PacketError as error:
            return self._namespace.requests.reject(connection, len(event.encode()), str(error))
        reply = self._namespace.requests.handle(connection, request)
        return reply if isinstance(reply, bytes) else await asyncio.shield(reply)

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


class Emitter:
    """Emits envelopes to clients and rooms of one of Socket.IO's namespaces."""

    def __init__(self, sio: Server, name: str) -> None:
        self._sio = sio
        self._name = name

    async def emit(self, event: str, envelope: bytes, **where: Any) -> None:
        """``where`` as in the library's ``emit``: ``to`` a client, or ``room`` and ``skip_sid``."""
        await self._sio.emit(event, json.loads(envelope), namespace=self._name, **where)

    async def send(self, event: Event, **where: Any) -> None:
        """Emit an event as ``emit`` does; a payload becomes the binary attachment of its field."""
        if isinstance(event, BinaryEvent):
            body = {**json.loads(event.head), "payload": event.payload}
            await self._sio.emit(event.type, body, namespace=self._name, **where)
        else:
            await self.emit(event.type, event.json, **where)

    async def notify(self, notice: Notice, to: str) -> None:
        """Emit a notice to a client or a room."""
        await self.emit(notice.type, notice.json, to=to)

    async def enter_room(self, client: str, room: str) -> None:
        """Let a client receive what is emitted to a room."""
        await self._sio.enter_room(client, room, self._name)

    def clients_in(self, room: str) -> Collection[str]:
        """The clients that receive what is emitted to a room."""
        inside: Collection[str] = self._sio.manager.rooms.get(self._name, {}).get(room, ())
        return inside

    async def taken(self, client: str) -> None:
        """Wait until the client's queue is taken, so that a long past does not fill it."""
        engine = self._sio.eio.sockets.get(self._sio.manager.eio_sid_from_sid(client, self._name))
        if engine is not None and engine.queue.qsize() >= CATCH_UP_EVENTS:
            await engine.queue.join()


class RoomPump:
    """Takes what is published in one room, one event at a time, so that its position is what has been emitted.

    It exists for as long as somebody receives the room.
    """

    task: asyncio.Task[None]

    def __init__(self, room: Room, emitter: Emitter, connections: Connections, counters: Counters) -> None:
        self.receivers: set[str] = set()
        self._name = room.name
        self._emitter = emitter
        self._connections = connections
        self._counters = counters
        # With counters of its own: an event that it takes is delivered as often as there are clients in the room.
        self._reader = Reader(room, None, Counters())
        self._reader.__enter__()

    async def run(self) -> None:
        """Emit everything to the room, until the server stops."""
        with suppress(HubClosedError):
            while True:
                events, notice = await self._reader.next(1)
                if notice is not None:
                    await self._emitter.notify(notice, self._name)
                for event in events:
                    await self._emit(event)

    async def catch_up(self, connection: SocketIoConnection, subscription: Subscription) -> None:
        """Send a client the welcome and what lies between its cursor and the pump; then the pump sends the rest."""
        client = connection.client
        first = self._name == connection.first
        await self._emitter.notify(subscription.welcome(client if first else ""), client)
        while subscription.seq < self._reader.seq and self._serves(connection):
            behind = min(CATCH_UP_EVENTS, self._reader.seq - subscription.seq)
            events, notice = subscription.take(behind)
            if notice is not None:
                await self._emitter.notify(notice, client)
            for event in events:
                await self._emitter.send(event, to=client)
            await self._emitter.taken(client)
        if self._serves(connection):
            await self._emitter.enter_room(client, self._name)

    def close(self) -> None:
        """Send nothing more."""
        self.task.cancel()
        self._reader.__exit__()

    def _serves(self, connection: SocketIoConnection) -> bool:
        """Is the client connected still, and has it not left the room?"""
        return connection.client in self._connections.by_client and self._name in connection.starts

    async def _emit(self, event: Event) -> None:
        """One event to all clients in the room, or its ``skip`` to those that it is not meant for."""
        self._counters.deliveries += len(self._emitter.clients_in(self._name))
        skip = [] if event.audience is None else self._not_meant(event.audience)
        await self._emitter.send(event, room=self._name, skip_sid=skip)
        for client in skip:
            await self._emitter.emit("skip", event.skipped.json, to=client)

    def _not_meant(self, audience: Audience) -> list[str]:
        clients = self._connections.by_client
        inside = self._emitter.clients_in(self._name)
        return [one for one in inside if one in clients and not clients[one].receives(self._name, audience)]


def _read_auth(text: str | None) -> Auth:
    try:
        return decode_strictly((text or "null").encode(), _AUTH_DECODER) or Auth()
    except JsonError as error:
        raise Refusal("bad_request", f"auth: {error}") from error
