"""The Unix socket over which locust is told what to do next and says what it has done: one JSON object a line."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from bench.machine.processes import Child

GENERATOR_TIMEOUT_S: Final = 30.0
SLOWEST_CONNECTING_HZ: Final = 50.0
"""Connections a second that any transport's client makes, Socket.IO's handshake and upgrade included."""


class TrialError(Exception):
    """A trial that could not be carried out; the message says why."""


class OrderLine:
    """The orchestrator's end. An async context manager; the other end is ``bench.generators.driver.Conductor``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter
        self._connected = asyncio.Event()

    async def __aenter__(self) -> "OrderLine":
        self._server = await asyncio.start_unix_server(self._on_connect, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._reader is not None:
            self._writer.close()
        self.path.unlink(missing_ok=True)

    async def _on_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._connected.set()

    async def order(self, command: str, **values: Any) -> None:
        """Give an order."""
        self._writer.write(json.dumps({"command": command, **values}).encode() + b"\n")
        await self._writer.drain()

    async def hear(self, event: str, children: list[Child], timeout_s: float = GENERATOR_TIMEOUT_S) -> None:
        """Wait until the generator says ``event``. Raises ``ChildError`` if a process ends first, or ``TrialError``."""
        ended = [asyncio.ensure_future(child.process.wait()) for child in children]
        heard = asyncio.ensure_future(self._hear(event))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait((*ended, heard), return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    for child in children:
                        child.check_alive()
                await heard
        except TimeoutError as error:
            raise TrialError(f"the generator did not say {event!r} within {timeout_s:g} s") from error
        finally:
            for waiting in (*ended, heard):
                waiting.cancel()

    async def _hear(self, event: str) -> None:
        await self._connected.wait()
        assert self._reader is not None
        line = await self._reader.readline()
        if not line or json.loads(line)["event"] != event:
            raise TrialError(f"the generator said {line!r} where {event!r} was expected")
