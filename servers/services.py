"""What clients may ask the server itself, by name. A service is a function; another one is one line more."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from servers.errors import Refusal
from servers.peers import Peer

if TYPE_CHECKING:
    from servers.platform import Platform

Service = Callable[["Platform", Peer, msgspec.Raw], Any]
"""From the namespace, who asks, and the request's data to the answer's data. Raises ``Refusal``."""


class RoomNamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data of a request about a room."""

    room: str


def echo(platform: "Platform", peer: Peer, data: msgspec.Raw) -> msgspec.Raw:
    """Give back what came."""
    return data


def members(platform: "Platform", peer: Peer, data: msgspec.Raw) -> dict[str, Any]:
    """Who is in a room that the asker has joined."""
    try:
        room = msgspec.json.decode(data, type=RoomNamed).room
    except msgspec.DecodeError as error:
        raise Refusal("bad_request", f"data: {error}") from error
    if room not in peer.rooms:
        raise Refusal("not_joined", f"join room {room!r} first")
    inside = platform.members[room].values()
    return {"members": [{"client": member.client, "user": member.identity.user} for member in inside]}


def connections(platform: "Platform", peer: Peer, data: msgspec.Raw) -> dict[str, Any]:
    """How many are connected: in all, by room, and of the asker's own user."""
    rooms = {room: len(platform.members[room]) for room in peer.rooms}
    return {"total": len(platform.peers), "rooms": rooms, "mine": platform.connections_of(peer.identity.user)}


SERVICES: Final[dict[str, Service]] = {"echo": echo, "members": members, "connections": connections}
