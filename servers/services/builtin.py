"""Services that every server has: an echo, the members of a room, and counts of connections."""

from typing import Any

import msgspec

from servers.gate.errors import Refusal
from servers.platform.connections import Connection
from servers.platform.membership import require_member
from servers.platform.service import Service


class RoomNamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data of a request about a room."""

    room: str


class Echo(Service):
    """Gives back what was sent."""

    def call(self, connection: Connection, data: msgspec.Raw) -> msgspec.Raw:
        return data


class Members(Service):
    """Lists the members of a room that the caller has joined."""

    def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        try:
            room = msgspec.json.decode(data, type=RoomNamed).room
        except msgspec.DecodeError as error:
            raise Refusal("bad_request", f"data: {error}") from error
        require_member(connection, room)
        return {"members": self.members(room)}


class ConnectionCounts(Service):
    """Counts the connections: in all, in each of the caller's rooms, and of the caller's user."""

    def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        connections, members = self.context.connections, self.context.members
        return {
            "total": len(connections.by_client),
            "rooms": {room: len(members[room]) for room in connection.rooms},
            "mine": len(connections.of_user(connection.identity.user)),
        }
