"""Server-Sent Events: one response that never ends, read with the event-stream parser of ``feed.wire``."""

import asyncio
from collections.abc import AsyncIterator

from clients.asking import HttpAsking
from clients.client import Received, Shared
from clients.http import OneConnection, check_status, new_session
from clients.options import ClientOptions, authorization, header_set, target
from feed.envelope import decode_envelope
from feed.wire import SseParser


class Sse(HttpAsking):
    """``GET /sse``; resumes with ``Last-Event-ID`` as a browser's EventSource does."""

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self._target = target(url, "http", "/sse", options.namespace)
        self._headers = header_set(options.headers, "eventsource", str(self._target.origin()))

    async def _receive(self) -> AsyncIterator[Received]:
        options, ledger = self.options, self.ledger
        connector = OneConnection(ledger, keep_alive=False, ca_file=options.ca_file)
        headers = self._headers | authorization(self.token)
        if self.session.cursor is not None:
            headers["last-event-id"] = str(self.session.cursor)
        url = self._target.update_query({"room": options.room})
        ledger.requests += 1
        async with (
            new_session(connector, options.connect_timeout_s) as session,
            asyncio.timeout(options.connect_timeout_s + options.answer_margin_s) as limit,
            session.get(url, headers=headers) as response,
        ):
            await check_status(response)
            limit.reschedule(None)
            protocol = connector.protocol
            protocol.watch_silence(options.silence_timeout_s)
            parser = SseParser()
            while chunk := await response.content.readany():
                for item in parser.feed(chunk):
                    if item.comment:
                        ledger.heartbeats += 1
                        continue
                    received = Received(decode_envelope(item.data), protocol.stamp(item.end))
                    protocol.meter.first_answer()
                    yield received
