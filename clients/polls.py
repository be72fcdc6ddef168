"""What polling and long polling share: one request, and the envelopes in its answer."""

import aiohttp

from clients.client import Client, Received, Shared
from clients.http import OneConnection, check_status, new_session
from clients.options import ClientOptions, header_set, target
from feed.cursor import Cursor, parse_cursor
from feed.envelope import Batch, Envelope, Welcome, decode_batch, decode_envelope, encode_envelope


class Poller(Client):
    """A client that asks again and again. Its connection outlives each request, if ``keep_alive``."""

    path = ""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._target = target(url, "http", self.path)
        self._headers = header_set(options.headers, "fetch", str(self._target.origin()))
        self._session: aiohttp.ClientSession | None = None
        self._first = True
        """Is the next answer the first of a connection? Then it begins with a ``welcome``, as a stream does."""
        self._connector: OneConnection

    async def _ask(self, extra: dict[str, str], answer_within_s: float) -> list[Received]:
        """One request; the envelopes in its answer, notices included."""
        if self._session is None:
            self._connector = OneConnection(self.ledger, self.options.keep_alive)
            self._session = new_session(self._connector, self.options.connect_timeout_s)
        params = {"room": self.options.room, **extra}
        if self.session.cursor is not None:
            params["since"] = str(self.session.cursor)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.options.connect_timeout_s, sock_read=answer_within_s
        )
        self.ledger.requests += 1
        url = self._target.update_query(params)
        async with self._session.get(url, headers=self._headers, timeout=timeout) as response:
            await check_status(response)
            body = await response.read()
            protocol = self._connector.protocol
            receive_ns = protocol.receive_ns
            protocol.stamps.clear()
            protocol.meter.first_answer()
        first, self._first = self._first, False
        return [Received(envelope, receive_ns) for envelope in _unpack(decode_envelope(body), first)]

    async def _release(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _unpack(envelope: Envelope, first: bool) -> list[Envelope]:
    batch = decode_batch(envelope.data)
    if not first and batch.resume == "resumed":
        return batch.events
    type_ = "welcome" if first else "gap"
    notice = encode_envelope(type_, str(_start(envelope, batch)), envelope.room, Welcome(batch.resume, batch.missed))
    return [decode_envelope(notice), *batch.events]


def _start(envelope: Envelope, batch: Batch) -> Cursor:
    """The position before the answer's first event."""
    if not batch.events:
        return parse_cursor(envelope.id)
    first = parse_cursor(batch.events[0].id)
    return first._replace(seq=first.seq - 1)
