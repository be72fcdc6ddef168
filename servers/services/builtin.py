"""What clients may ask the server itself, by name. A service is a function; another one is one line more."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from servers.gate.errors import Refusal
from servers.platform.connections import Peer


class Namespace(Protocol):
    """What services see of ``servers.platform.namespace.Platform``."""

    @property
    def peers(self) -> Mapping[str, Peer]:
        """All connections, by client id."""

    @property
    def members(self) -> Mapping[str, Mapping[str, Peer]]:
        """Who is in a room, by client id."""

    def connections_of(self, user: str) -> int:
        """How many connections a user has."""


Service = Callable[[Namespace, Peer, msgspec.Raw], Any]
"""From the namespace, who asks, and the request's data to the answer's data. Raises ``Refusal``."""


class RoomNamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data of a request about a room."""

    room: str


def echo(namespace: Namespace, peer: Peer, data: msgspec.Raw) -> msgspec.Raw:
    """Give back what came."""
    return data


def members(namespace: Namespace, peer: Peer, data: msgspec.Raw) -> dict[str, Any]:
    """Who is in a room that the asker has joined."""
    try:
        room = msgspec.json.decode(data, type=RoomNamed).room
    except msgspec.DecodeError as error:
        raise Refusal("bad_request", f"data: {error}") from error
    if room not in peer.rooms:
        raise Refusal("not_joined", f"join room {room!r} first")
    inside = namespace.members[room].values()
    return {"members": [{"client": member.client, "user": member.identity.user} for member in inside]}


def connections(namespace: Namespace, peer: Peer, data: msgspec.Raw) -> dict[str, Any]:
    """How many are connected: in all, by room, and of the asker's own user."""
    rooms = {room: len(namespace.members[room]) for room in peer.rooms}
    return {"total": len(namespace.peers), "rooms": rooms, "mine": namespace.connections_of(peer.identity.user)}


SERVICES: Final[dict[str, Service]] = {"echo": echo, "members": members, "connections": connections}
