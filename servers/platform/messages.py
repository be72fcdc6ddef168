"""Messages of clients: to rooms, to everyone, or to a user, whose acknowledgement can be asked for."""

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any

import msgspec

from feed.envelope import encode_ack
from feed.requests import Acknowledge, Publish
from feed.rooms import inbox_name
from servers.gate.errors import Refusal
from servers.hub.hub import Hub
from servers.platform.claims import RoomClaims
from servers.platform.connections import Connection, Connections


class Messages:
    """Publishes the messages of one namespace, and brings acknowledgements back to their senders."""

    def __init__(self, hub: Hub, connections: Connections, claims: RoomClaims) -> None:
        self._hub = hub
        self._connections = connections
        self._claims = claims
        self._waiting: dict[str, tuple[str, asyncio.Future[msgspec.Raw]]] = {}
        """Message -> the user that has to acknowledge it, and what becomes of that."""

    def publish(self, connection: Connection, request: Publish) -> bytes | Coroutine[Any, Any, bytes]:
        """Publish a message. The ack, or a coroutine that waits for the user's acknowledgement. Raises ``Refusal``."""
        message = secrets.token_hex(8)
        wanted = request.ack_timeout_s > 0
        data = {"message": message, "from": connection.client, "user": connection.identity.user, "data": request.data}
        body = msgspec.json.encode({**data, "ack": True} if wanted else data)
        if request.user is not None:
            if not self._connections.of_user(request.user):
                raise Refusal("not_connected", f"no connection of user {request.user!r}")
            names = [inbox_name(request.user)]
        else:
            names = self._rooms_of(connection, request)
        exclude = connection.client if request.except_me else ""
        events = self._hub.publish_to_all(names, body, "message", exclude)
        if wanted and request.user is not None:
            return self._acknowledgement(request, request.user, message)
        cursors = {name: event.id for name, event in zip(names, events, strict=True)}
        return encode_ack(request.id, request.room or "", {"message": message, "cursors": cursors})

    def acknowledge(self, connection: Connection, request: Acknowledge) -> bytes:
        """Take an acknowledgement; only a user's first one reaches the sender. Raises ``Refusal``."""
        user, future = self._waiting.get(request.message, ("", None))
        if future is None or user != connection.identity.user:
            raise Refusal("unknown_message", "no message of yours with this id waits for an acknowledgement")
        first = not future.done()
        if first:
            future.set_result(request.data)
        return encode_ack(request.id, "", {"first": first})

    def _rooms_of(self, connection: Connection, request: Publish) -> list[str]:
        """The rooms that a message goes to; "everyone" is all rooms that the sender may publish in."""
        if request.everyone:
            identity = connection.identity
            rooms = [name for name in self._hub.rooms if not name.startswith("@")]
            return [name for name in rooms if not self._claims.lacking(identity, name)]
        names = list(dict.fromkeys(request.rooms or [request.room or ""]))
        for name in names:
            if name not in self._hub.rooms:
                raise Refusal("unknown_room", f"there is no room {name!r}: rooms exist once somebody has joined them")
        return names

    async def _acknowledgement(self, request: Publish, user: str, message: str) -> bytes:
        """Wait for the first of the user's connections that acknowledges."""
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[message] = (user, future)
        try:
            async with asyncio.timeout(request.ack_timeout_s):
                data = await future
        except TimeoutError:
            said = f"user {user!r} did not acknowledge within {request.ack_timeout_s:g} s"
            raise Refusal("timed_out", said) from None
        finally:
            del self._waiting[message]
        return encode_ack(request.id, "", {"message": message, "data": data})
