"""Membership of rooms: joining, leaving, presence, typing indicators, and the inboxes of users."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from feed.cursor import Cursor, CursorError, parse_cursor
from feed.envelope import encode_ack
from feed.requests import Join, Leave, Typing
from feed.rooms import inbox_name
from servers.gate.errors import Refusal
from servers.hub.hub import Hub, TooManyRoomsError
from servers.hub.room import Room
from servers.platform.connections import Connection, Connections
from servers.platform.service import Service

TYPING_TIMEOUT_S: Final = 7.0
"""A typing indicator expires after this: clients repeat it every 3 s, and one repetition may be lost."""
EMPTY_ROOM_S: Final = 300.0
"""A room that members made is forgotten this long after the last of them left."""


class Membership:
    """The members of every room in one namespace. What changes is published in the room, and told to ``services``."""

    def __init__(
        self, hub: Hub, connections: Connections, rooms_per_connection: int, services: Iterable[Service]
    ) -> None:
        self.members: dict[str, dict[str, Connection]] = {}
        """Room -> client id -> member."""
        self._hub = hub
        self._connections = connections
        self._rooms_per_connection = rooms_per_connection
        self._services = services
        self._drops: dict[str, asyncio.TimerHandle] = {}
        """Rooms that may be forgotten soon, as nobody is a member of them any more."""

    def join(self, connection: Connection, request: Join) -> bytes:
        """Make a connection a member of a room, and let it receive the room. Raises ``Refusal``."""
        room = request.room
        since = _since(request.since)
        if room.startswith("@"):
            if room != inbox_name(connection.identity.user):
                raise Refusal("not_allowed", f"{room!r} is the inbox of somebody else")
            self._attach(connection, room, since)
            return encode_ack(request.id, room, {})
        if room in connection.rooms:
            return encode_ack(request.id, room, {"members": len(self.members[room])})
        if len(connection.rooms) >= self._rooms_per_connection:
            raise Refusal("too_many_rooms", f"a connection may join {self._rooms_per_connection} rooms")
        self._attach(connection, room, since)
        connection.rooms = (*connection.rooms, room)
        members = self.members.setdefault(room, {})
        members[connection.client] = connection
        self._publish(room, "joined", connection)
        for service in self._services:
            service.joined(connection, room)
        return encode_ack(request.id, room, {"members": len(members)})

    def leave(self, connection: Connection, request: Leave) -> bytes:
        """End a membership, and what is received by it. Raises ``Refusal``."""
        room = request.room
        require_member(connection, room)
        connection.rooms = tuple(name for name in connection.rooms if name != room)
        self._leave_room(connection, room, "left")
        connection.detach(room)
        return encode_ack(request.id, room, {})

    def leave_all(self, connection: Connection, reason: str) -> None:
        """End the memberships of a connection that is gone; members are told the reason."""
        rooms, connection.rooms = connection.rooms, ()
        for room in rooms:
            self._leave_room(connection, room, reason)

    def typing(self, connection: Connection, request: Typing) -> bytes:
        """Start, prolong or stop a member's typing indicator. Raises ``Refusal``."""
        room = request.room
        require_member(connection, room)
        if not request.active:
            self._stop_typing(connection, room)
            return encode_ack(request.id, room, {})
        connection.typing = connection.typing or {}
        running = connection.typing.get(room)
        if running is None:
            self._publish(room, "typing", connection, active=True)
        else:
            running.cancel()
        stop = asyncio.get_running_loop().call_later(TYPING_TIMEOUT_S, self._stop_typing, connection, room)
        connection.typing[room] = stop
        return encode_ack(request.id, room, {"timeout_s": TYPING_TIMEOUT_S})

    def ensure_room(self, name: str) -> Room:
        """The room or inbox of that name, made now if there is none. Raises ``Refusal``."""
        try:
            return self._hub.ensure(name)
        except TooManyRoomsError as error:
            raise Refusal("too_many_rooms", str(error)) from error

    def drop_later(self, room: str) -> None:
        """Forget a room or an inbox after ``EMPTY_ROOM_S``, unless somebody has come back by then."""

        def drop() -> None:
            del self._drops[room]
            used = self._connections.of_user(room[1:]) if room.startswith("@") else self.members.get(room)
            if not used:
                self._hub.drop(room)

        if room in self._drops:
            self._drops[room].cancel()
        self._drops[room] = asyncio.get_running_loop().call_later(EMPTY_ROOM_S, drop)

    def _attach(self, connection: Connection, room: str, since: Cursor | None) -> None:
        try:
            connection.attach(self.ensure_room(room), since)
        except CursorError as error:
            raise Refusal("bad_cursor", str(error)) from error

    def _leave_room(self, connection: Connection, room: str, reason: str) -> None:
        self._stop_typing(connection, room)
        members = self.members[room]
        del members[connection.client]
        self._publish(room, "left", connection, reason=reason)
        if not members:
            del self.members[room]
            self.drop_later(room)
        for service in self._services:
            service.left(connection, room, reason)

    def _stop_typing(self, connection: Connection, room: str) -> None:
        timer = (connection.typing or {}).pop(room, None)
        if timer is not None:
            timer.cancel()
            self._publish(room, "typing", connection, active=False)

    def _publish(self, room: str, type_: str, connection: Connection, **data: Any) -> None:
        """Tell the room's readers what a member did; nobody hears of everybody's leaving when the server stops."""
        if not self._hub.closing:
            told = {"client": connection.client, "user": connection.identity.user, **data}
            self._hub.publish(room, msgspec.json.encode(told), type_)


def require_member(connection: Connection, room: str) -> None:
    """Raises ``Refusal`` unless the connection has joined the room."""
    if room not in connection.rooms:
        raise Refusal("not_joined", f"join room {room!r} first")


def require_user(connection: Connection) -> str:
    """The user of a connection. Raises ``Refusal`` for an anonymous one."""
    user = connection.identity.user
    if not user:
        raise Refusal("not_allowed", "only a user can do this: connect with a token")
    return user


def _since(text: str) -> Cursor | None:
    try:
        return parse_cursor(text) if text else None
    except CursorError as error:
        raise Refusal("bad_cursor", str(error)) from error
