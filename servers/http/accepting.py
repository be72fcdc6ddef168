"""TLS whose handshake the watchdog sees: connections are counted, and have a deadline, from the accept on.

An event loop that does TLS itself shows a connection to its protocol only after the handshake, so that a peer that
never completes it would stay unseen for a minute, the loop's own bound. Therefore the listener accepts plain TCP,
reports the connection to the watchdog at once, and then lets uvloop's TLS begin.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # what the loop itself uses; uvloop's stubs leave it out

from servers.gate.watchdog import SWEEP_S, ConnectionWatchdog, WatchedConnection
from servers.platform.options import ServerOptions

Make = Callable[[], asyncio.Protocol]
"""Makes the protocol of one connection."""


def accepting(make: Make, watchdog: ConnectionWatchdog, tls: ssl.SSLContext | None, options: ServerOptions) -> Make:
    """The protocol factory of a listener: ``make`` itself, or TLS in front of it."""
    return make if tls is None else lambda: _Tls(make, watchdog, tls, options)


class _Tls(SSLProtocol):  # type: ignore[misc]  # a base of type Any, see above
    """uvloop's TLS, watched from the accept on."""

    def __init__(self, make: Make, watchdog: ConnectionWatchdog, tls: ssl.SSLContext, options: ServerOptions) -> None:
        self._secured = _Secured(make, watchdog)
        self._watchdog = watchdog
        super().__init__(
            asyncio.get_running_loop(),
            self._secured,
            tls,
            None,
            server_side=True,
            # Later than the watchdog's deadline, which counts: this only ends what the watchdog could not.
            ssl_handshake_timeout=options.request_timeout_s + SWEEP_S,
            ssl_shutdown_timeout=options.shutdown_grace_s,
        )

    def connection_made(self, transport: Any) -> None:
        self._plain = transport
        self._secured.watched = self._watchdog.watch(transport, _no_answer, tls=True)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watchdog.lost(self._plain)  # without effect after the handshake, since when another transport is watched
        super().connection_lost(exc)


class _Secured(asyncio.Protocol):
    """Called when the TLS handshake is done; hands the connection over to its own protocol."""

    watched: WatchedConnection

    def __init__(self, make: Make, watchdog: ConnectionWatchdog) -> None:
        self._make = make
        self._watchdog = watchdog

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secured = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self._watchdog.secured(self.watched, secured)
        protocol = self._make()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)


def _no_answer() -> None:
    """Send nothing to a peer that is overdue: before the handshake is done there is no way to."""
