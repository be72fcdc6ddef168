"""What polling and long polling share: one poll, and the envelopes in its answer."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import aiohttp

from clients.core.client import Received, Shared
from clients.core.errors import NOT_PUSHMARK, PASSING, SENSELESS, PassingError, RefusedError, failure
from clients.core.options import ClientOptions
from clients.http.answers import JSON, check_answer, read_envelope
from clients.http.headers import authorization, header_set
from clients.http.requests import HttpClient
from clients.http.stamped import OneConnection, new_session, note
from feed.cursor import Cursor, parse_cursor
from feed.envelope import (
    Batch,
    Envelope,
    Welcome,
    decode_batch,
    decode_envelope,
    decode_error,
    decode_welcome,
    encode_envelope,
)
from feed.instruments.clock import now_ns
from feed.transports import CONDITIONAL, POLL_INTERVAL

LEAVE_TIMEOUT_S: Final = 1.0
"""How long a client that stops waits for the server to close its session."""
MAX_HINT_S: Final = 3600.0


class Poller(HttpClient):
    """A client that polls again and again. Its connection outlives each poll, if ``keep_alive``."""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self.is_first_poll = True
        """Is the next answer the first of a connection? Then it begins with a ``welcome``, as a stream does."""
        self._headers = header_set(options.headers, "fetch", str(self.target.origin()))
        self.hint_s = 0.0
        """Interval that the server asks for between polls; 0: none."""
        self._session: aiohttp.ClientSession | None = None
        self._connector: OneConnection

    async def poll(self, extra: dict[str, str], answer_within_s: float) -> list[Received]:
        """Poll once; the envelopes in the answer, notices included. Raises as ``clients.http.answers``."""
        if self._session is None:
            self._connector = OneConnection(self.ledger, self.options.keep_alive, self.options.ca_file)
            self._session = new_session(self._connector, self.options.connect_timeout_s)
        params = {"room": self.options.room, **extra}
        if self.session.cursor is not None:
            params["since"] = str(self.session.cursor)
        if self.secret:
            others = self.sessions.others.items()
            params["also"] = ",".join(f"{room}={of.cursor}" for room, of in others if of.cursor)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.options.connect_timeout_s, sock_read=answer_within_s
        )
        self.ledger.requests += 1
        if not self.is_first_poll:
            self.polls.mark(now_ns())
        url, secret = self.target.update_query(params), self.secret
        condition = self._condition()
        headers = self._headers | authorization(self.token) | self.session_header() | condition
        async with (
            asyncio.timeout(self.options.connect_timeout_s + answer_within_s) as limit,
            self._session.get(url, headers=headers, timeout=timeout) as response,
        ):
            limit.reschedule(None)  # the body has a bound of its own
            note(self.ledger, response)
            self.hint_s = interval_hint_s(response.headers)
            batch = None
            if response.status != HTTPStatus.NOT_MODIFIED or not condition:
                await self._check(response, secret)
                batch = await read_envelope(response, "batch")
            protocol = self._connector.protocol
            receive_ns = protocol.receive_ns
            self.ledger.answers += 1
            self.ledger.body_bytes += response.content.total_bytes
            protocol.meter.first_answer()
        first, self.is_first_poll = self.is_first_poll, False
        return [] if batch is None else [Received(envelope, receive_ns) for envelope in _unpack(batch, first)]

    def _condition(self) -> dict[str, str]:
        """The header that makes a poll conditional: it names what is known already."""
        if self.options.variant != CONDITIONAL or self.is_first_poll or self.session.cursor is None:
            return {}
        return {"If-None-Match": f'"{self.session.cursor}"'}

    async def _check(self, response: aiohttp.ClientResponse, secret: str) -> None:
        try:
            await check_answer(response, JSON)
        except RefusedError as error:
            if not secret or error.code not in PASSING:
                raise
            self.forget_session(secret)  # the next request opens another
            raise PassingError(str(error)) from error

    async def open_session(self) -> None:
        """Open the session that requests need; from now on every poll names it.

        If the server has forgotten the one before, no poll need notice, so the rooms are joined again here.
        """
        url = self.sibling("sessions").update_query({"room": self.options.room})
        answer = await self.post(url, b"", "welcome")
        if answer.type == "error":
            raise failure(decode_error(answer.data))
        welcome = decode_welcome(answer.data)
        self.id, self.secret = welcome.client, welcome.session
        self.membership.start_rejoining()

    async def renew(self, token: str) -> None:
        """Continue with another token; without a session the next poll shows it."""
        if self.secret:
            await super().renew(token)
        else:
            self.token = token

    async def _close_session(self) -> None:
        """Tell the server, which otherwise notices only that no poll comes."""
        if self.secret and self.request_session is not None:
            timeout = aiohttp.ClientTimeout(total=LEAVE_TIMEOUT_S)
            url, headers = self.sibling("sessions"), self.session_header()
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                await self.request_session.delete(url, headers=headers, timeout=timeout)

    async def release(self) -> None:
        await self._close_session()
        await super().release()
        if self._session is not None:
            await self._session.close()
            self._session = None


def interval_hint_s(headers: Mapping[str, str]) -> float:
    """The seconds that ``X-Poll-Interval`` asks for, at most ``MAX_HINT_S``; 0 without it, or if it is no number."""
    try:
        hint_s = float(headers.get(POLL_INTERVAL, "0"))
    except ValueError:
        return 0.0
    return min(hint_s, MAX_HINT_S) if hint_s > 0 else 0.0


def _unpack(envelope: Envelope, first: bool) -> list[Envelope]:
    """The envelopes in an answer. Raises ``RefusedError``: the answer is whole, so another would be no better."""
    try:
        return _entries(envelope, first)
    except SENSELESS as error:
        raise RefusedError(NOT_PUSHMARK, f"got a batch that cannot be read: {error}") from error


def _entries(envelope: Envelope, first: bool) -> list[Envelope]:
    batch = decode_batch(envelope.data)
    if not first and batch.resume == "resumed":
        return batch.events
    type_ = "welcome" if first else "gap"
    welcome = Welcome(batch.resume, batch.missed, conflated=batch.conflated)
    notice = encode_envelope(type_, str(_start(envelope, batch)), envelope.room, welcome)
    return [decode_envelope(notice), *batch.events]


def _start(envelope: Envelope, batch: Batch) -> Cursor:
    """The position before the first event of the answer's own room, which may stand behind those of others."""
    own = next((event for event in batch.events if event.room == envelope.room), None)
    if own is None:
        return parse_cursor(envelope.id)
    first = parse_cursor(own.id)
    return first._replace(seq=first.seq - 1)
