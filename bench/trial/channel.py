"""The orchestrator's end of its channel to the generator (``bench.generators.channel`` has the steps of a trial)."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from bench.generators import channel as steps
from bench.machine.processes import Child

GENERATOR_TIMEOUT_S: Final = 30.0
SLOWEST_CONNECTING_HZ: Final = 50.0
"""Connections per second that any transport's client makes, Socket.IO's handshake and upgrade included."""


class TrialError(Exception):
    """A trial that could not be carried out; the message says why."""


class UnfitError(TrialError):
    """A trial that could not be carried out because the host was busy: it is to be measured again."""


class GeneratorChannel:
    """A Unix socket at ``path``, on which the generator connects. An async context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter
        self._connected = asyncio.Event()

    async def __aenter__(self) -> "GeneratorChannel":
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

    async def send(self, command: str, **values: Any) -> None:
        """Tell the generator to take its next step."""
        self._writer.write(json.dumps({"command": command, **values}).encode() + b"\n")
        await self._writer.drain()

    async def receive(self, event: str, children: list[Child], timeout_s: float = GENERATOR_TIMEOUT_S) -> None:
        """Wait until the generator reports ``event``.

        Raises ``ChildError`` if one of the processes ends first, and ``TrialError`` for another event, or none in time.
        """
        ended = [asyncio.ensure_future(child.process.wait()) for child in children]
        received = asyncio.ensure_future(self._receive(event))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.wait((*ended, received), return_when=asyncio.FIRST_COMPLETED)
                if not received.done():
                    for child in children:
                        child.check_alive()
                await received
        except TimeoutError as error:
            raise TrialError(f"the generator did not report {event!r} within {timeout_s:g} s") from error
        finally:
            for waiting in (*ended, received):
                waiting.cancel()

    async def _receive(self, event: str) -> None:
        await self._connected.wait()
        assert self._reader is not None
        line = await self._reader.readline()
        reported = json.loads(line) if line else {}
        if reported.get("event") == steps.FAILED:
            raise TrialError(reported["why"])
        if reported.get("event") != event:
            raise TrialError(f"the generator reported {line!r}; expected is {event!r}")
