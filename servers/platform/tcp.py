"""What listeners of bare TCP share: accept until stopped, close what is open, and wait until all of it is gone."""

import asyncio
import socket
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class TcpConnection(Protocol):
    """A connection that tells its listener when it is made (``open``) and when it is gone (``lost``)."""

    transport: asyncio.Transport


C = TypeVar("C", bound=TcpConnection)


class TcpListener(Generic[C]):
    """The connections of one listener, and its end."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self._all_gone = asyncio.Event()
        self.open: set[C] = set()

    async def accept(
        self, make: Callable[[], asyncio.BaseProtocol], sock: socket.socket, backlog: int, ready: Callable[[], None]
    ) -> None:
        """Accept connections until ``stop``; return when all of them are gone."""
        server = await asyncio.get_running_loop().create_server(make, sock=sock, backlog=backlog)
        ready()
        await self._stopped.wait()
        server.close()
        for connection in tuple(self.open):
            connection.transport.close()
        if self.open:
            await self._all_gone.wait()

    @property
    def stopping(self) -> bool:
        """Has ``stop`` been called?"""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Accept no more, and close what is open."""
        self._stopped.set()

    def lost(self, connection: C) -> None:
        """A connection is gone; the last one after a stop ends the serving."""
        self.open.discard(connection)
        if self.stopping and not self.open:
            self._all_gone.set()
