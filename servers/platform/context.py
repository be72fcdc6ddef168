"""What a transport is handed to serve with, and the listener that it hands back."""

import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from feed.instruments.clock import Timer
from servers.gate.admission import Admission
from servers.gate.origins import Origins
from servers.gate.watchdog import ConnectionWatchdog
from servers.hub.hub import Hub
from servers.hub.stats import Stats
from servers.platform.namespace import Namespace
from servers.platform.options import ServerOptions


class Serving(NamedTuple):
    """What an HTTP listener needs, of whatever server."""

    options: ServerOptions
    watchdog: ConnectionWatchdog
    origins: Origins
    tls: ssl.SSLContext | None = None
    local: bool = False
    """Only for programs of this machine: requests that a web page can cause are refused."""


class Context(NamedTuple):
    """The parts that all transports of one server share."""

    options: ServerOptions
    watchdog: ConnectionWatchdog
    stats: Stats
    timer: Timer
    admission: Admission
    namespaces: tuple[Namespace, ...]
    """The first is the default namespace, which has the feed."""
    tls: ssl.SSLContext | None = None

    @property
    def serving(self) -> Serving:
        """For the listener of the transport itself."""
        return Serving(self.options, self.watchdog, self.admission.origins, self.tls)

    @property
    def hub(self) -> Hub:
        """The rooms of the default namespace."""
        return self.namespaces[0].hub


class Listener(Protocol):
    """A transport that accepts connections on a bound socket until ``stop`` is called."""

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Accept connections; call ``ready`` once that works; return after ``stop`` when all of them are gone."""

    def stop(self) -> None:
        """Stop accepting and end what is open in the transport's own way."""


@runtime_checkable
class PublishingListener(Listener, Protocol):
    """A listener that takes the feed's events itself, in place of the hub."""

    def publish(self, room: str, data: bytes) -> None:
        """Hand an event to every subscriber of a room."""
