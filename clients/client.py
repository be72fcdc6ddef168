"""What all clients have in common: state, session table, reconnection with back-off, and one iterator of events."""

import asyncio
import importlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from enum import StrEnum
from typing import NamedTuple

import aiohttp
import msgspec

from clients.backoff import Backoff
from clients.ledger import Ledger
from clients.options import TRANSPORTS, ClientOptions
from clients.session import Session, Verdict
from feed.clock import Timer
from feed.cursor import parse_cursor
from feed.envelope import Envelope

RETRIED = (aiohttp.ClientError, OSError, TimeoutError, EOFError, ValueError, msgspec.DecodeError)
"""Failures after which another attempt may help: the network's, and bytes that make no sense."""


class ClientError(Exception):
    """A client that has stopped for good; the message says why."""


class RefusedError(ClientError):
    """The server refused the request itself; asking again would not help. ``code`` is one of docs/protocol.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"refused ({code}): {message}")
        self.code = code


class GaveUpError(ClientError):
    """No success within the allowed attempts."""


class State(StrEnum):
    """Where the connection is."""

    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class Received(NamedTuple):
    """One envelope and when its last byte came in: CLOCK_MONOTONIC, ns, first line of ``data_received``."""

    envelope: Envelope
    receive_ns: int


class Shared(NamedTuple):
    """What the clients of one process share."""

    ledger: Ledger
    timer: Timer
    draw: random.Random
    """Of the jitter."""


def new_shared(seed: int | None = None) -> Shared:
    """A ledger, a timer on the running loop, and a random source. Close the timer when done."""
    return Shared(Ledger(), Timer(asyncio.get_running_loop()), random.Random(seed))


class Client:
    """A subscriber of one room. Iterate over ``events()``; subclasses say how to receive."""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        self.url = url
        self.options = options
        self.ledger = shared.ledger
        self.timer = shared.timer
        self.session = Session(parse_cursor(options.since) if options.since else None)
        self.state = State.CLOSED
        self.state_listeners: list[Callable[[State], None]] = []
        self.reconnects = 0
        self.last_failure = ""
        self._backoff = Backoff(
            options.backoff_base_s, options.backoff_factor, options.backoff_cap_s, options.max_attempts, shared.draw
        )

    async def events(self) -> AsyncGenerator[Received, None]:
        """Every new envelope in order of arrival: events, and the notices ``welcome`` and ``gap``.

        Duplicates are counted and left out. Resumes by itself after a cut; raises ``RefusedError`` if the server
        does not want this request, ``GaveUpError`` after too many failures in a row.
        """
        self._enter(State.CONNECTING)
        try:
            while True:
                try:
                    async for received in self._receive():
                        if self._judge(received.envelope):
                            yield received
                    self.last_failure = "the server ended the stream"
                except RETRIED as error:
                    cause = getattr(error, "os_error", error)  # aiohttp wraps the system's words in its own
                    self.last_failure = f"{type(cause).__name__}: {cause}".removesuffix(": ")
                await self._wait_before_retry()
        finally:
            self._enter(State.CLOSED)
            await self._release()

    def _receive(self) -> AsyncIterator[Received]:
        """One connection's envelopes, from ``self.session.cursor`` on; ends or raises when the connection does."""
        raise NotImplementedError

    async def _release(self) -> None:
        """Let go of what outlives a connection."""

    def _judge(self, envelope: Envelope) -> bool:
        if self.state is not State.OPEN:
            self._backoff.succeeded()
            self._enter(State.OPEN)
        verdict = self.session.observe(envelope)
        if verdict is Verdict.DUPLICATE:
            return False
        if verdict is not Verdict.NOTICE:
            self.ledger.deliveries += 1
            self.ledger.payload_bytes += len(bytes(envelope.data))
        return True

    async def _wait_before_retry(self) -> None:
        self._enter(State.RECONNECTING)
        delay_s = self._backoff.delay_s()
        if delay_s is None:
            attempts = self.options.max_attempts
            raise GaveUpError(f"gave up on {self.url} after {attempts} reconnections; {self.last_failure}")
        self.reconnects += 1
        await asyncio.sleep(delay_s)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            for listener in self.state_listeners:
                listener(state)


def new_client(transport: str, url: str, options: ClientOptions, shared: Shared) -> Client:
    """The client of that transport for the server at ``url``. Raises ``UrlError``, ``CursorError`` for ``since``."""
    module, _, name = TRANSPORTS[transport].partition(":")
    client_class: type[Client] = getattr(importlib.import_module(module), name)
    return client_class(url, options, shared)
