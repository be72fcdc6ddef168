"""Server-Sent Events: one response that never ends, read with the event-stream parser of ``feed.wire``."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from clients.core.client import Received, Shared
from clients.core.options import ClientOptions
from clients.http.answers import EVENT_STREAM, check_answer
from clients.http.headers import authorization, header_set
from clients.http.requests import HttpClient
from clients.http.stamped import OneConnection, StampedProtocol, new_session, note
from feed.envelope import decode_envelope
from feed.transports import TRANSPORTS
from feed.wire import SseParser


class Sse(HttpClient):
    """``GET /sse``; resumes with ``Last-Event-ID``, after the time of ``retry:``, as an EventSource does."""

    transport = TRANSPORTS["sse"]

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._headers = header_set(options.headers, "eventsource", str(self.target.origin()))

    async def receive(self) -> AsyncIterator[Received]:
        options, ledger = self.options, self.ledger
        connector = OneConnection(ledger, keep_alive=False, ca_file=options.ca_file, is_stream=True)
        headers = self._headers | authorization(self.token)
        if self.session.cursor is not None:
            headers["last-event-id"] = str(self.session.cursor)
        url = self.target.update_query({"room": options.room})
        ledger.requests += 1
        async with (
            new_session(connector, options.connect_timeout_s) as session,
            asyncio.timeout(options.connect_timeout_s + options.answer_margin_s) as limit,
            session.get(url, headers=headers) as response,
        ):
            note(ledger, response)
            await check_answer(response, EVENT_STREAM)
            limit.reschedule(None)
            connector.protocol.watch_silence(options.silence_timeout_s)
            async for received in self._read(response.content, connector.protocol):
                yield received

    async def _read(self, body: aiohttp.StreamReader, protocol: StampedProtocol) -> AsyncIterator[Received]:
        parser = SseParser()
        while chunk := await body.readany():
            for item in parser.feed(chunk):
                self._take_retry(parser)  # first, since the item may end the connection
                if item.comment:
                    self.heartbeat()
                    continue
                received = Received(decode_envelope(item.data), protocol.stamp(item.end))
                protocol.meter.first_answer()
                yield received
            self._take_retry(parser)
            protocol.stamp(parser.consumed)  # also for reads that brought only comments, or a part of an item

    def _take_retry(self, parser: SseParser) -> None:
        if parser.retry_ms is not None:
            self.reconnection.stream_retry_s = parser.retry_ms / 1000


CLIENT: Final = Sse
