"""What a transport is given to serve with, and the two things it gives back: a listener, and how to stop it."""

import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol

from feed.instruments.clock import Timer
from servers.gate.admission import Admission
from servers.gate.origins import Origins
from servers.gate.watchdog import ConnectionWatchdog
from servers.hub.hub import Hub
from servers.hub.stats import Stats
from servers.platform.namespace import Platform
from servers.platform.options import ServerOptions


class Serving(NamedTuple):
    """What an HTTP listener needs, of whatever server."""

    options: ServerOptions
    watchdog: ConnectionWatchdog
    origins: Origins
    tls: ssl.SSLContext | None = None
    local: bool = False
    """Only for programs of this machine, which no page can be made to speak for."""


class Context(NamedTuple):
    """The parts that all transports of one server share."""

    options: ServerOptions
    watchdog: ConnectionWatchdog
    stats: Stats
    timer: Timer
    gate: Admission
    platforms: tuple[Platform, ...]
    """One per namespace; the first is the default one, which has the feed."""
    tls: ssl.SSLContext | None = None

    @property
    def serving(self) -> Serving:
        """For the listener of the transport itself."""
        return Serving(self.options, self.watchdog, self.gate.origins, self.tls)

    @property
    def hub(self) -> Hub:
        """The rooms of the default namespace."""
        return self.platforms[0].hub


class Listener(Protocol):
    """A transport that accepts connections on a bound socket until it is told to stop."""

    async def serve(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Accept connections; call ``ready`` once that works; return after ``stop`` when all of them are gone."""

    def stop(self) -> None:
        """Stop accepting and end what is open in the transport's own way."""
