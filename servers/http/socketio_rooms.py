"""Clients of one of Socket.IO's namespaces, and what each room emits to them.

Each room has one task, which takes what is published and emits it to the library's room of that name; those who speak
the article's vocabulary are in another one of the library's rooms.
"""

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final, Protocol

from feed.cursor import Cursor
from feed.wire import Audience, BinaryEvent, Event
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.http.socketio_article import told_of
from servers.http.socketio_server import Server
from servers.hub.reader import HubClosedError, Notice, Reader, Subscription
from servers.hub.room import Room
from servers.hub.stats import Counters
from servers.platform.connections import Connection, Connections

CATCH_UP_EVENTS: Final = 64
"""How many past events are handed to a client's queue at once."""


class Home(Protocol):
    """The namespace that a client is in."""

    def begin(self, connection: "SocketIoConnection", room: Room, since: Cursor | None) -> None:
        """Send a room to a client from a cursor on."""

    def stop_sending(self, connection: "SocketIoConnection", room: str) -> None:
        """A client has left a room."""

    def end(self, connection: "SocketIoConnection", refusal: Refusal) -> None:
        """Send the reason, and disconnect."""


class SocketIoConnection(Connection):
    """A client in one namespace."""

    __slots__ = ("_space", "by_article", "first", "starts")

    def __init__(self, identity: Identity, address: str, sid: str, space: Home, first: str) -> None:
        super().__init__(identity, address, sid)
        self._space = space
        self.first = first
        """The room that it asked for when it connected."""
        self.starts: dict[str, int] = {}
        """Room -> the sequence number after which it receives the room."""
        self.by_article = False
        """Has it emitted an event of the article's? Rooms that it joins then are told in those names."""

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

    async def tell(self, name: str, argument: Any, **where: Any) -> None:
        """Emit an event of the article's."""
        await self._sio.emit(name, argument, namespace=self._name, **where)

    async def enter_room(self, client: str, room: str) -> None:
        """Let a client receive what is emitted to a room."""
        await self._sio.enter_room(client, room, self._name)

    async def leave_room(self, client: str, room: str) -> None:
        """Let a client receive nothing of a room any more, in whichever words."""
        for name in (room, article_room(room)):
            await self._sio.leave_room(client, name, self._name)

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
        self._emitted = self._reader.seq
        """The newest event that was emitted, or is being emitted."""
        self._is_emitting = False
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Emit everything to the room, until the server stops."""
        with suppress(HubClosedError):
            while True:
                events, notice = await self._reader.next(1)
                self._is_emitting, self._emitted = True, self._reader.seq
                if notice is not None:
                    await self._emitter.notify(notice, self._name)
                for event in events:
                    await self._emit(event)
                self._is_emitting = False
                self._moved.set()
                self._moved.clear()

    async def catch_up(self, connection: SocketIoConnection, subscription: Subscription) -> None:
        """Send a client the welcome and what lies between its cursor and the pump; then the pump sends the rest.

        It enters the room between two events: in the middle of one it would get that twice, or not at all.
        """
        client = connection.client
        first, article = self._name == connection.first, connection.by_article
        await self._emitter.notify(subscription.welcome(client if first else ""), client)
        while self._serves(connection):
            if subscription.seq < self._emitted:
                await self._send_past(client, subscription, article)
            elif subscription.seq > self._emitted or self._is_emitting:
                await self._moved.wait()
            else:
                await self._emitter.enter_room(client, article_room(self._name) if article else self._name)
                return

    async def _send_past(self, client: str, subscription: Subscription, article: bool) -> None:
        behind = min(CATCH_UP_EVENTS, self._emitted - subscription.seq)
        events, notice = subscription.take(behind)
        if notice is not None:
            await self._emitter.notify(notice, client)
        for event in events:
            if article:
                await self._tell(event, [], to=client)
            else:
                await self._emitter.send(event, to=client)
        await self._emitter.taken(client)

    def close(self) -> None:
        """Send nothing more."""
        self._moved.set()  # who waits for it looks whether it is served still
        self.task.cancel()
        self._reader.__exit__()

    def _serves(self, connection: SocketIoConnection) -> bool:
        """Is the client connected still, and has it not left the room?"""
        return connection.client in self._connections.by_client and self._name in connection.starts

    async def _emit(self, event: Event) -> None:
        """One event to all clients in the room, or its ``skip`` to those that it is not meant for."""
        self._counters.deliveries += len(self._emitter.clients_in(self._name))
        skip = [] if event.audience is None else self._not_meant(event.audience, self._name)
        await self._emitter.send(event, room=self._name, skip_sid=skip)
        for client in skip:
            await self._emitter.emit("skip", event.skipped.json, to=client)
        others = article_room(self._name)
        if inside := self._emitter.clients_in(others):
            self._counters.deliveries += len(inside)
            skip = [] if event.audience is None else self._not_meant(event.audience, others)
            await self._tell(event, skip, room=others)

    async def _tell(self, event: Event, skip: list[str], **where: str) -> None:
        """Emit an event as the article names it."""
        for told in told_of(event, self._user_of):
            await self._emitter.tell(told.name, told.argument, skip_sid=[*skip, told.by], **where)

    def _user_of(self, client: str) -> str:
        connection = self._connections.by_client.get(client)
        return (connection.identity.user if connection is not None else "") or client

    def _not_meant(self, audience: Audience, emitted_to: str) -> list[str]:
        clients = self._connections.by_client
        inside = self._emitter.clients_in(emitted_to)
        return [one for one in inside if one in clients and not clients[one].receives(self._name, audience)]


def article_room(room: str) -> str:
    """The library's room of those who are told of a room in the article's names. No room of ours has such a name."""
    return f"{room}/article"
