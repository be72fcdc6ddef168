"""From the accept on: a connection is counted and its time runs, also while TLS is agreed on.

An event loop that is told to speak TLS shows a connection to its protocol once the handshake is done: a peer that
never sends its part would be seen by nobody for a minute, which is the loop's own bound. So the listener accepts plain
TCP, the guard learns of the connection at once, and uvloop's TLS begins within its watch.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # what the loop itself uses; uvloop's stubs leave it out

from servers.gate.guard import SWEEP_S, Guard, Link
from servers.platform.options import ServerOptions

Make = Callable[[], asyncio.Protocol]
"""Makes the protocol of one connection."""


def accepting(make: Make, guard: Guard, tls: ssl.SSLContext | None, options: ServerOptions) -> Make:
    """The protocol factory of a listener: ``make`` itself, or with TLS before it."""
    return make if tls is None else lambda: _Tls(make, guard, tls, options)


class _Tls(SSLProtocol):  # type: ignore[misc]  # a base of type Any, see above
    """uvloop's TLS, seen by the guard from the accept on."""

    def __init__(self, make: Make, guard: Guard, tls: ssl.SSLContext, options: ServerOptions) -> None:
        self._secured = _Secured(make, guard)
        self._guard = guard
        super().__init__(
            asyncio.get_running_loop(),
            self._secured,
            tls,
            None,
            server_side=True,
            # The guard comes first, and counts; this only ends what the guard could not.
            ssl_handshake_timeout=options.request_timeout_s + SWEEP_S,
            ssl_shutdown_timeout=options.shutdown_grace_s,
        )

    def connection_made(self, transport: Any) -> None:
        self._plain = transport
        self._secured.link = self._guard.opened_by(transport, _no_answer, tls=True)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.lost(self._plain)  # if TLS was agreed on, the guard knows the connection by its other transport
        super().connection_lost(exc)


class _Secured(asyncio.Protocol):
    """Told that TLS has been agreed on: hands the connection over to its own protocol."""

    link: Link

    def __init__(self, make: Make, guard: Guard) -> None:
        self._make = make
        self._guard = guard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        secured = cast(asyncio.Transport, transport)  # uvloop's transports are not asyncio's subclasses
        self._guard.secured(self.link, secured)
        protocol = self._make()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)


def _no_answer() -> None:
    """There is nothing that could be said before the handshake is done."""
