"""What all clients have in common: state, session table, reconnection with back-off, and one iterator of events."""

import asyncio
import importlib
import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from enum import StrEnum
from itertools import count
from typing import Any, Final, NamedTuple

from clients.core.backoff import Backoff, asked_at_most_s
from clients.core.errors import (
    NOT_PUSHMARK,
    RETRIED,
    SENSELESS,
    ClientError,
    GaveUpError,
    RefusedError,
    RequestError,
    asked_wait_s,
    end_if_permanent,
    failure,
    words,
)
from clients.core.ledger import Ledger
from clients.core.options import TRANSPORTS, ClientOptions
from clients.core.session import HOLES_PER_PLACE, RecentMessages, Session, Verdict
from feed.cursor import parse_cursor
from feed.envelope import Envelope, decode_error, decode_message_id, decode_welcome
from feed.instruments.clock import Timer
from feed.requests import encode_request
from feed.rooms import check_room
from feed.wire import TooLargeError

MAX_PENDING_REQUESTS: Final = 1000
"""Requests of one client that wait for their answers."""
MAX_PLACES: Final = 1024
"""Rooms beside the first that one client receives; a server that sends more of them is left."""
RETRY_PAUSE_S: Final = 0.05
"""Longest pause, of those drawn, before a request that was cut off is sent again."""


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
    """A receiver of one room, and of those it joins. Iterate over ``events()``, or ``run()`` with handlers.

    Requests are answered while one of the two runs. Subclasses say how to receive and how to ask.
    """

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        self.url = url
        self.options = options
        self.ledger = shared.ledger
        self.timer = shared.timer
        self.session = Session(parse_cursor(options.since) if options.since else None)
        self.places: dict[str, Session] = {}
        """Other rooms that are received, by name."""
        self.joined: dict[str, None] = {}
        """Rooms to join again after a reconnection."""
        self.handlers: dict[str, list[Callable[[Envelope], object]]] = {}
        self.token = options.token
        self.id = ""
        """What the server calls this connection; empty until it says so."""
        self.state = State.CLOSED
        self.state_listeners: list[Callable[[State], None]] = []
        self.reconnects = 0
        self.last_failure = ""
        self._secret = ""
        """Of the receiving side, for requests that come by another connection."""
        self._instance = ""
        self._numbers = count(1)
        self._answers: dict[str, asyncio.Future[Envelope]] = {}
        self._is_open = asyncio.Event()
        self._messages = RecentMessages()
        self._rejoining: asyncio.Task[None] | None = None
        self.draw = shared.draw
        self._backoff = self._new_backoff()
        self._reconnection_s = 0.0
        """What the stream has said to wait before any reconnection (SSE's ``retry:``)."""
        self._in_doubt = False
        """Did a connection end with bytes that make no sense? Then a welcome alone is no success any more."""

    async def events(self) -> AsyncGenerator[Received, None]:
        """Every new envelope in order of arrival: events, messages, and the notices ``welcome`` and ``gap``.

        Duplicates are counted and left out. Resumes by itself after a cut, not before the server has said, and joins
        its rooms again. Raises ``RefusedError`` if the server does not want this request, is none of this feed (its
        first message is no ``welcome``), or sends what is over a bound; ``GaveUpError`` after too many failures in a
        row. What cannot be read behind a good welcome is such a failure, and no other welcome ends the row then, only
        something delivered.
        """
        self._enter(State.CONNECTING)
        try:
            while True:
                asked_s = 0.0
                try:
                    stream = self._receive()
                    first = await self._first_of(stream)
                    if first is not None and self._judge(first.envelope):
                        yield first
                    async for received in stream:
                        if self._judge(received.envelope):
                            yield received
                    self.last_failure = "the server ended the stream"
                except RETRIED as error:
                    end_if_permanent(error, opened=self.state is State.OPEN)
                    self._in_doubt |= isinstance(error, SENSELESS)
                    self.last_failure = words(error)
                    asked_s = asked_wait_s(error)
                self._fail_answers()
                await self._wait_before_retry(asked_s)
        finally:
            self._enter(State.CLOSED)
            self._fail_answers()
            if self._rejoining is not None:
                self._rejoining.cancel()
            await self._release()

    async def run(self) -> None:
        """Receive until cancelled, and call the handlers that ``on`` was given."""
        async with aclosing(self.events()) as stream:
            async for received in stream:
                for handler in self.handlers.get(received.envelope.type, ()):
                    handler(received.envelope)

    def on(self, type_: str, handler: Callable[[Envelope], object]) -> None:
        """Let ``run`` call a handler for every envelope of a type. It stays through reconnections."""
        self.handlers.setdefault(type_, []).append(handler)

    async def request(self, type_: str, **fields: Any) -> Any:
        """Ask for something, and return the data of the acknowledgement (docs/protocol.md, Requests).

        Sent again with the same id after a cut, so that it is applied once. Raises ``RequestError`` if it was refused,
        ``TimeoutError`` if there was no answer within ``request_timeout_s``, and ``ClientError`` where a transport
        takes no requests, or too many wait.
        """
        if len(self._answers) >= MAX_PENDING_REQUESTS:
            raise ClientError(f"{MAX_PENDING_REQUESTS} requests wait for their answers already")
        self._instance = self._instance or secrets.token_hex(16)
        id_ = str(next(self._numbers))
        body = encode_request(type_, id_, instance=self._instance, **fields)
        wait_s = self.options.request_timeout_s + float(fields.get("ack_timeout_s") or 0)
        try:
            async with asyncio.timeout(wait_s):
                answer = await self._ask_until_answered(id_, body)
        except TimeoutError:
            reason = f"; {self.last_failure}" if self.last_failure else ""
            raise TimeoutError(f"no answer to {type_!r} within {wait_s:g} s{reason}") from None
        try:
            if answer.type != "error":
                return answer.value()
            error = decode_error(answer.data)
        except SENSELESS as nonsense:
            raise RefusedError(NOT_PUSHMARK, f"got an answer that cannot be read: {nonsense}") from nonsense
        raise RequestError(error.code, error.message, error.retry_after_s)

    async def join(self, room: str) -> Any:
        """Become a member of a room, and receive it; again after every reconnection, from where it was."""
        answer = await self.request("join", room=room, since=self._since(room))
        self.joined[room] = None
        return answer

    async def leave(self, room: str) -> Any:
        """Stop being a member of a room, and receiving it."""
        was_member = room in self.joined
        self.joined.pop(room, None)
        try:
            return await self.request("leave", room=room)
        except RequestError as error:
            if error.code != "not_joined" or not was_member:
                raise
            return {}  # a cut came between, and this connection has not joined the room
        finally:
            self.places.pop(room, None)

    async def renew(self, token: str) -> None:
        """Go on with another token of the same user, on this connection and on those after it."""
        self.token = token
        if self._needs_renewal():
            await self.request("renew", token=token)

    def _needs_renewal(self) -> bool:
        """Does the server keep the token it was shown last?"""
        return True

    def place(self, room: str) -> Session:
        """Where this client is in a room. Raises ``TooLargeError`` for one too many, ``RoomNameError`` for no name."""
        if room in (self.options.room, ""):
            return self.session
        if room not in self.places:
            check_room(room.removeprefix("@"))
            if len(self.places) >= MAX_PLACES:
                raise TooLargeError(f"room {room!r} is one more than the {MAX_PLACES} that a client receives")
            self.places[room] = Session(max_holes=HOLES_PER_PLACE)
        return self.places[room]

    async def _first_of(self, stream: AsyncIterator[Received]) -> Received | None:
        """The first envelope of a connection, ``None`` if there is none. Raises ``TimeoutError`` if it does not come.

        What is no feed may keep a connection open for ever all the same, with heartbeats.
        """
        within_s = self._welcome_within_s()
        try:
            async with asyncio.timeout(within_s) as limit:
                return await anext(stream, None)
        except TimeoutError:
            raise TimeoutError(f"no welcome within {within_s:g} s") if limit.expired() else TimeoutError from None

    def _welcome_within_s(self) -> float:
        """How long the first envelope of a connection may take, from before it is made."""
        return self.options.connect_timeout_s + self.options.answer_margin_s

    def _receive(self) -> AsyncIterator[Received]:
        """One connection's envelopes, from ``self.session.cursor`` on; ends or raises when the connection does."""
        raise NotImplementedError

    async def _ask(self, id_: str, body: bytes) -> Envelope:
        """Send one request and return its answer. Raises one of ``RETRIED`` if the connection ends before."""
        raise ClientError("this transport takes no requests")

    async def _release(self) -> None:
        """Let go of what outlives a connection."""

    async def _ask_until_answered(self, id_: str, body: bytes) -> Envelope:
        while True:
            await self._is_open.wait()
            try:
                return await self._ask(id_, body)
            except RETRIED as error:
                end_if_permanent(error, opened=True)
                self.last_failure = words(error)
                asked_s = asked_at_most_s(asked_wait_s(error))
            await asyncio.sleep(asked_s + self.draw.uniform(0, RETRY_PAUSE_S))

    async def _answer_after(self, id_: str, sending: Awaitable[None]) -> Envelope:
        """Send, and wait for the answer that comes among the events."""
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._answers[id_] = future
        try:
            await sending
            return await future
        finally:
            future.cancel()
            del self._answers[id_]

    def _fail_answers(self) -> None:
        for future in tuple(self._answers.values()):
            if not future.done():
                future.set_exception(ConnectionResetError("the connection ended before the answer came"))

    def _judge(self, envelope: Envelope) -> bool:
        """Take note of an envelope; is it something new for who listens?"""
        if envelope.type in ("ack", "error") and envelope.id:
            future = self._answers.get(envelope.id)
            if future is not None and not future.done():
                future.set_result(envelope)
            return False
        if envelope.type == "error":
            raise failure(decode_error(envelope.data))
        if self.state is not State.OPEN and envelope.type != "welcome":
            text = f"got a message of type {envelope.type!r:.40}; expected is a 'welcome' first"
            raise RefusedError(NOT_PUSHMARK, text)
        message = decode_message_id(envelope.data) if envelope.type == "message" else ""
        verdict = self.place(envelope.room).observe(envelope)  # not before all that it needs could be read
        if self.state is not State.OPEN:
            self._opened(envelope)
        if verdict is Verdict.DUPLICATE or envelope.type == "skip":
            return False
        if verdict is not Verdict.NOTICE:
            if self._in_doubt:
                self._in_doubt = False
                self._backoff.succeeded()
            self.ledger.deliveries += 1
            self.ledger.payload_bytes += len(bytes(envelope.data))
            return envelope.type != "message" or self._messages.is_first(message)
        return True

    def _opened(self, envelope: Envelope) -> None:
        welcome = decode_welcome(envelope.data)
        self.id = welcome.client or self.id
        self._secret = welcome.session or self._secret
        if not self._in_doubt:
            self._backoff.succeeded()
        self._enter(State.OPEN)
        if self.joined and self.reconnects:
            if self._rejoining is not None:
                self._rejoining.cancel()
            self._rejoining = asyncio.ensure_future(self._rejoin())

    async def _rejoin(self) -> None:
        """Join every room again, from where this client was in it."""
        for room in tuple(self.joined):
            await self._join_again(room)

    async def _join_again(self, room: str) -> None:
        """Ask until it is granted. Refused for good, or too often: the room is not received any more."""
        backoff = self._new_backoff()
        delay_s: float | None = 0.0
        while delay_s is not None:
            await asyncio.sleep(delay_s)
            try:
                await self.request("join", room=room, since=self._since(room))
                return
            except TimeoutError:
                delay_s = backoff.delay_s()
            except RequestError as error:
                delay_s = backoff.delay_s(asked_wait_s(error)) if error.is_passing else None
            except ClientError:  # it ends the receiving side too, if it is about that
                return

    def _since(self, room: str) -> str | None:
        cursor = self.places[room].cursor if room in self.places else None
        return None if cursor is None else str(cursor)

    def _new_backoff(self) -> Backoff:
        of = self.options
        return Backoff(of.backoff_base_s, of.backoff_factor, of.backoff_cap_s, of.max_attempts, self.draw)

    async def _wait_before_retry(self, asked_s: float) -> None:
        self._enter(State.RECONNECTING)
        delay_s = self._backoff.delay_s(max(asked_s, self._reconnection_s))
        if delay_s is None:
            attempts = self.options.max_attempts
            raise GaveUpError(f"gave up on {self.url} after {attempts} reconnections; {self.last_failure}")
        self.reconnects += 1
        await asyncio.sleep(delay_s)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            (self._is_open.set if state is State.OPEN else self._is_open.clear)()
            for listener in self.state_listeners:
                listener(state)


def new_client(transport: str, url: str, options: ClientOptions, shared: Shared) -> Client:
    """The client of that transport for the server at ``url``. Raises ``UrlError``, ``CursorError`` for ``since``."""
    module, _, name = TRANSPORTS[transport].partition(":")
    client_class: type[Client] = getattr(importlib.import_module(module), name)
    return client_class(url, options, shared)
