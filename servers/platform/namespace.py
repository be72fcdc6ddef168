"""One namespace: its connections, its rooms with members, its messages and its services.

All of it stands next to the fan-out path: what clients bring about is published into rooms like every event, so each
room orders it, and it is resumed by cursor (docs/protocol.md, Requests).
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from feed.rooms import DEFAULT_ROOM, inbox_name
from servers.gate.admission import Admission
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.gate.logs import log_connected, log_disconnected
from servers.hub.hub import Hub
from servers.hub.reader import Reader
from servers.hub.room import Room
from servers.platform.claims import RoomClaims
from servers.platform.connections import Connection, Connections
from servers.platform.membership import Membership
from servers.platform.messages import Messages
from servers.platform.options import ServerOptions
from servers.platform.requests import RequestHandler
from servers.platform.service import NOTHING_SHARED, Service, ServiceContext, Shared
from servers.platform.subscribing import subscribe


class Namespace:
    """What the transports of a server serve. Single-threaded: call from the event loop's thread.

    ``name`` is empty for the default namespace. ``services`` are made here, one of each kind.
    """

    def __init__(
        self,
        name: str,
        options: ServerOptions,
        hub: Hub,
        admission: Admission,
        services: Mapping[str, Callable[[ServiceContext], Service]] = MappingProxyType({}),
        shared: Shared = NOTHING_SHARED,
    ) -> None:
        self.name = name
        self.hub = hub
        self.admission = admission
        self.connections = Connections()
        self._transport = options.transport
        self._claims = RoomClaims(options.room_claims)
        made: dict[str, Service] = {}
        self.services: Mapping[str, Service] = made
        rooms_per_connection = admission.limits.options.rooms_per_connection
        self.membership = Membership(hub, self.connections, rooms_per_connection, made.values())
        messages = Messages(hub, self.connections, self._claims)
        self.requests = RequestHandler(admission, self._claims, self.membership, messages, made)
        context = ServiceContext(hub, self.connections, self.membership.members, name, shared)
        made.update({service: make(context) for service, make in services.items()})

    async def start(self) -> None:
        """Start the services, before the first connection."""
        for service in self.services.values():
            await service.start()

    async def stop(self) -> None:
        """Stop the services, after the last connection."""
        for service in self.services.values():
            await service.stop()

    def subscribe(self, identity: Identity, room: str | None, since: str | None) -> Reader:
        """A reader of a room that exists. Raises ``Refusal``, also where the room requires a claim.

        The claim comes first: an identity that lacks it does not learn whether the room exists, and how far it is.
        """
        self._claims.check(identity, room or DEFAULT_ROOM)
        return subscribe(self.hub, room, since)

    def enter(self, connection: Connection, session: str = "") -> None:
        """A client is about to be connected. Raises ``Refusal`` where there are too many; then nothing is kept."""
        user = connection.identity.user
        self.admission.admit(connection.address, user)
        if user:
            try:
                inbox = self.membership.ensure_room(inbox_name(user))
            except Refusal:
                self.admission.limits.release(connection.address, user)
                raise
            # A moment later, so that the welcome of the first room comes first.
            asyncio.get_running_loop().call_soon(self._open_inbox, connection, inbox)
        self.connections.add(connection, session)
        log_connected(connection.client, self._transport, connection.address, user)
        connection.end_with_token()

    def leave(self, connection: Connection, reason: str, session: str = "", refusal: Refusal | None = None) -> None:
        """A client is gone; the members of its rooms are told why. May be called twice.

        ``refusal`` is the reply to requests that still come for its session.
        """
        if connection.client not in self.connections.by_client:
            return
        log_disconnected(connection.client, reason, time.monotonic() - connection.entered_s)
        connection.forget_token()
        self.connections.remove(connection, session, refusal)
        user = connection.identity.user
        if user and not self.connections.of_user(user):
            self.membership.drop_later(inbox_name(user))
        self.admission.limits.release(connection.address, user)
        self.admission.limits.forget(connection.client)
        self.membership.leave_all(connection, reason)

    def counts(self) -> dict[str, int]:
        """How much there is now, and how many requests were answered, under the names of the metrics."""
        return {
            **self.connections.counts(),
            "rooms": len(self.hub.rooms),
            "requests_acknowledged": self.requests.acknowledged,
            "requests_refused": self.requests.refused,
            "events": self.hub.published,
        }

    def _open_inbox(self, connection: Connection, inbox: Room) -> None:
        if connection.client in self.connections.by_client:
            connection.attach(inbox, None)
