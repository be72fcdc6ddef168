"""What all clients have in common: one iterator of events over all connections, requests, and joined rooms."""

import asyncio
import importlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, NamedTuple

from clients.core.backoff import Backoff
from clients.core.errors import (
    NOT_PUSHMARK,
    RETRIED,
    ClientError,
    GaveUpError,
    RefusedError,
    asked_wait_s,
    end_if_permanent,
    failure,
    words,
)
from clients.core.ledger import Ledger
from clients.core.membership import Membership
from clients.core.options import ClientOptions
from clients.core.reconnection import Reconnection
from clients.core.requests import Requests
from clients.core.session import RecentMessages, SessionTable, Verdict
from clients.core.sightings import Beats
from feed.cursor import parse_cursor
from feed.envelope import Envelope, decode_error, decode_message_id, decode_welcome
from feed.instruments.clock import Timer, now_ns
from feed.transports import TRANSPORTS, Transport


class State(StrEnum):
    """State of a client's connection."""

    CONNECTING = "connecting"
    OPEN = "open"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class Received(NamedTuple):
    """One envelope, and when its last byte came in: CLOCK_MONOTONIC, ns, first line of ``data_received``."""

    envelope: Envelope
    receive_ns: int


class Shared(NamedTuple):
    """What the clients of one process share."""

    ledger: Ledger
    timer: Timer
    draw: random.Random
    """Source of the jitter."""


def new_shared(seed: int | None = None) -> Shared:
    """A ledger, a timer on the running loop, and a random source. Close the timer when done."""
    return Shared(Ledger(), Timer(asyncio.get_running_loop()), random.Random(seed))


class Client:
    """A subscriber of one room, and of the rooms that it joins. Iterate over ``events()``, or ``run()`` with handlers.

    Requests are answered while one of the two runs. A subclass is one transport: it sets ``transport`` and implements
    ``receive``; ``send_request`` if the transport takes requests; ``release`` if anything outlives a connection.
    """

    transport: ClassVar[Transport]

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        self.url = url
        self.options = options
        self.ledger = shared.ledger
        self.timer = shared.timer
        self.draw = shared.draw
        self.token = options.token
        self.id = ""
        """The server's public id of this connection; empty until the server has sent it."""
        self.secret = ""
        """The server's secret for requests that do not share the subscription's connection; empty until it is sent."""
        self.state = State.CLOSED
        self.state_listeners: list[Callable[[State], None]] = []
        self.duplicate_listeners: list[Callable[[Envelope], None]] = []
        """Called with every envelope that is left out because it came before."""
        self.reconnects = 0
        self.last_failure = ""
        """Why the newest connection ended, in words."""
        self.polls = Beats()
        """All polls but the first of each connection, which comes out of turn."""
        self.heartbeats = Beats()
        self.handlers: dict[str, list[Callable[[Envelope], object]]] = {}
        self.sessions = SessionTable(options.room, parse_cursor(options.since) if options.since else None)
        self.session = self.sessions.first
        new_backoff = partial(
            Backoff,
            options.backoff_base_s,
            options.backoff_factor,
            options.backoff_cap_s,
            options.max_attempts,
            shared.draw,
        )
        self.reconnection = Reconnection(new_backoff())
        self.requests = Requests(self.send_request, options.request_timeout_s, shared.draw)
        self.membership = Membership(self.request, self.sessions, new_backoff)
        self.welcome_within_s = options.connect_timeout_s + options.answer_margin_s
        """How long the first envelope of a connection may take, connecting included."""
        self._messages = RecentMessages()

    def receive(self) -> AsyncIterator[Received]:
        """One connection's envelopes, from ``self.session.cursor`` on; ends or raises when the connection does."""
        raise NotImplementedError

    async def send_request(self, id_: str, body: bytes, payload: bytes = b"") -> Envelope:
        """Send one request and return its answer. Raises one of ``RETRIED`` if the connection ends before.

        ``payload``: what is no JSON, and goes with ``body`` in binary where the transport has that.
        """
        raise ClientError("this transport takes no requests")

    async def release(self) -> None:
        """Close what outlives a connection."""

    def heartbeat(self) -> None:
        """Count a heartbeat that has come."""
        self.ledger.heartbeats += 1
        self.heartbeats.mark(now_ns())

    async def events(self) -> AsyncGenerator[Received, None]:
        """Every new envelope in order of arrival: events, messages, and the notices ``welcome`` and ``gap``.

        Duplicates are counted and left out. After a cut the client waits as long as the server asks for, resumes, and
        joins its rooms again. Raises ``RefusedError`` if the server refuses the subscription, is no server of this
        feed (its first message is no ``welcome``), or sends something over a bound; ``GaveUpError`` after too many
        failures in a row (``Reconnection``).
        """
        self._enter(State.CONNECTING)
        try:
            while True:
                asked_s = 0.0
                try:
                    stream = self.receive()
                    first = await _first_of(stream, self.welcome_within_s)
                    if first is not None and self.judge(first.envelope):
                        yield first
                    async for received in stream:
                        if self.judge(received.envelope):
                            yield received
                    self.last_failure = "the server ended the stream"
                except RETRIED as error:
                    end_if_permanent(error, opened=self.state is State.OPEN)
                    self.reconnection.failed(error)
                    self.last_failure = words(error)
                    asked_s = asked_wait_s(error)
                await self._wait_before_reconnection(asked_s)
        finally:
            self._enter(State.CLOSED)
            self.requests.connection_ended(self.last_failure)
            self.membership.stop_rejoining()
            await self.release()

    async def run(self) -> None:
        """Receive until cancelled, and call the handlers that were registered with ``on``."""
        async with aclosing(self.events()) as stream:
            async for received in stream:
                for handler in self.handlers.get(received.envelope.type, ()):
                    handler(received.envelope)

    def on(self, type_: str, handler: Callable[[Envelope], object]) -> None:
        """Let ``run`` call a handler for every envelope of a type, on this connection and on later ones."""
        self.handlers.setdefault(type_, []).append(handler)

    async def request(self, type_: str, **fields: Any) -> Any:
        """Send a request, and return the data of its acknowledgement (docs/protocol.md, Requests).

        It is sent again with the same id after a cut, and applied once. Raises ``RequestError`` if the server refuses
        it, ``TimeoutError`` if no answer comes within ``request_timeout_s``, and ``ClientError`` if the transport
        takes no requests or too many are pending.
        """
        return await self.requests.make(type_, fields)

    async def join(self, room: str) -> Any:
        """Become a member of a room and receive it, after every reconnection from where it was."""
        return await self.membership.join(room)

    async def leave(self, room: str) -> Any:
        """Stop being a member of a room, and receiving it."""
        return await self.membership.leave(room)

    async def renew(self, token: str) -> None:
        """Continue with another token of the same user, on this connection and on later ones."""
        self.token = token
        await self.request("renew", token=token)

    def judge(self, envelope: Envelope) -> bool:
        """Take note of an envelope. Is it something new for the subscriber?"""
        if envelope.type in ("ack", "error") and envelope.id:
            self.requests.take(envelope)
            return False
        if envelope.type == "error":
            raise failure(decode_error(envelope.data))
        if self.state is not State.OPEN and envelope.type != "welcome":
            text = f"got a message of type {envelope.type!r:.40}; expected is a 'welcome' first"
            raise RefusedError(NOT_PUSHMARK, text)
        message = decode_message_id(envelope.data) if envelope.type == "message" else ""
        verdict = self.sessions.of(envelope.room).observe(envelope)  # only after all its parts could be read
        if self.state is not State.OPEN:
            self._opened(envelope)
        if verdict is Verdict.DUPLICATE:
            return self._leave_out(envelope)
        if envelope.type == "skip":
            return False
        if verdict is not Verdict.NOTICE:
            if self.reconnection.in_doubt:
                self.reconnection.delivered()
            self.ledger.deliveries += 1
            self.ledger.payload_bytes += len(bytes(envelope.data)) + len(envelope.payload)
            if envelope.type == "message" and not self._messages.is_first(message):
                return self._leave_out(envelope)
        return True

    def _leave_out(self, envelope: Envelope) -> bool:
        for listener in self.duplicate_listeners:
            listener(envelope)
        return False

    def _opened(self, envelope: Envelope) -> None:
        welcome = decode_welcome(envelope.data)
        self.id = welcome.client or self.id
        self.secret = welcome.session or self.secret
        self.reconnection.welcomed()
        self._enter(State.OPEN)
        if self.reconnects:
            self.membership.start_rejoining()

    async def _wait_before_reconnection(self, asked_s: float) -> None:
        self.requests.connection_ended(self.last_failure)
        self._enter(State.RECONNECTING)
        delay_s = self.reconnection.delay_s(asked_s)
        if delay_s is None:
            attempts = self.options.max_attempts
            raise GaveUpError(f"gave up on {self.url} after {attempts} reconnections; {self.last_failure}")
        self.reconnects += 1
        await asyncio.sleep(delay_s)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            can_send = self.requests.can_send
            (can_send.set if state is State.OPEN else can_send.clear)()
            for listener in self.state_listeners:
                listener(state)


async def _first_of(stream: AsyncIterator[Received], within_s: float) -> Received | None:
    """The first envelope of a connection, ``None`` if it has none. Raises ``TimeoutError`` if it does not come.

    A server of something else can keep a connection open for ever, with heartbeats that mean nothing here.
    """
    try:
        async with asyncio.timeout(within_s) as limit:
            return await anext(stream, None)
    except TimeoutError:
        raise TimeoutError(f"no welcome within {within_s:g} s") if limit.expired() else TimeoutError from None


def new_client(transport: str, url: str, options: ClientOptions, shared: Shared) -> Client:
    """The client of a transport (``CLIENT`` of the module ``clients.NAME``) for the server at ``url``.

    Raises ``KeyError`` for an unknown transport, ``UrlError`` for the address, ``CursorError`` for ``since``.
    """
    module = importlib.import_module(f"clients.{TRANSPORTS[transport].name}")
    client_class: type[Client] = module.CLIENT
    return client_class(url, options, shared)
