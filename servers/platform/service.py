"""The contract between a namespace and its services, which clients call by name (docs/add-a-service.md)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import msgspec

from feed.instruments.clock import Timer
from feed.strict import JsonError, decode_strictly
from servers.gate.errors import Refusal
from servers.hub.hub import Hub
from servers.platform.connections import Connection, Connections
from servers.store.contract import Store

Ask = TypeVar("Ask")


def decoded(data: msgspec.Raw, decoder: msgspec.json.Decoder[Ask]) -> Ask:
    """The data of a request, read strictly. Raises ``Refusal``."""
    try:
        return decode_strictly(bytes(data), decoder)
    except JsonError as error:
        raise Refusal("bad_request", f"data: {error}") from error


class Shared(NamedTuple):
    """What all namespaces of a server share. Services use ``Service.store`` and ``Service.timer``."""

    store: Store | None = None
    """What outlives the process; ``None`` for a server without ``--store``."""
    timer: Timer | None = None
    """``None`` only in tests of services that need none."""
    options: Mapping[str, Any] = MappingProxyType({})
    """Service -> its options, of a type of its own; without an entry its defaults hold."""


NOTHING_SHARED: Final = Shared()


class ServiceContext(NamedTuple):
    """Everything that a service is handed, and all that it may use.

    What services need later becomes one more field: no service's constructor changes.
    """

    hub: Hub
    """To read rooms, and to publish in them."""
    connections: Connections
    members: Mapping[str, Mapping[str, Connection]]
    """Room -> client id -> member, as it is now."""
    namespace: str = ""
    """Empty for the default one."""
    shared: Shared = NOTHING_SHARED

    def log(self, service: str, name: str) -> str:
        """The name of a service's log in the store, which is one for all namespaces."""
        return f"{self.namespace}/{service}/{name}"


class Service:
    """Base class of services. A server makes one of each kind per namespace, so state belongs in attributes.

    Everything is called in the event loop's thread. All but ``call`` are hooks: a service overrides those it needs.
    """

    takes_payload: ClassVar[bool] = False
    """Do requests carry what is no JSON? Then ``call_with_payload`` is called in place of ``call``."""
    messages_hz: ClassVar[float] = 0.0
    """Requests per second that a connection needs for this service beyond the limit of all connections.

    The service grants them, ``connection.more_messages_hz``, to those that use it."""

    def __init__(self, context: ServiceContext) -> None:
        self.context = context

    @property
    def store(self) -> Store:
        """What outlives the process. Raises ``Refusal`` on a server that has none."""
        store = self.context.shared.store
        if store is None:
            raise Refusal("no_store", "this server keeps nothing: it was started without --store")
        return store

    @property
    def timer(self) -> Timer:
        """Calls back at absolute instants, never early."""
        timer = self.context.shared.timer
        assert timer is not None
        return timer

    def members(self, room: str) -> list[dict[str, str]]:
        """The members of a room as clients know them."""
        members = self.context.members.get(room, {}).values()
        return [{"client": member.client, "user": member.identity.user} for member in members]

    def publish(self, room: str, data: Any, type_: str = "message") -> None:
        """Publish in a room, as long as there is somebody in it and the server does not stop."""
        if room in self.context.members and not self.context.hub.closing:
            self.context.hub.publish(room, msgspec.json.encode(data), type_)

    async def start(self) -> None:
        """The server starts; it accepts connections once this has returned."""

    async def stop(self) -> None:
        """The server stops; all connections are gone. End what ``start`` began."""

    def joined(self, connection: Connection, room: str) -> None:
        """A connection has become a member of a room; the room has been told."""

    def left(self, connection: Connection, room: str, reason: str) -> None:
        """A connection is no member of a room any more: ``reason`` is ``left``, or why it was disconnected."""

    def call(self, connection: Connection, data: msgspec.Raw) -> Any:
        """Answer a client's request: ``data`` as it was sent, the return value as JSON. Raises ``Refusal``.

        May be a coroutine function; other requests of the connection are answered meanwhile. A request that is
        sent again with the same id gets the same answer, and is not carried out again.
        """
        raise NotImplementedError

    def call_with_payload(self, connection: Connection, data: msgspec.Raw, payload: bytes) -> Any:
        """As ``call``, with a payload, which is empty where none was sent."""
        raise NotImplementedError
