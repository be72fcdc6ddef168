"""Long polling: each poll is held until something is new, and the next follows at once (RFC 6202, section 2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from clients.core.client import Received, Shared
from clients.core.options import ClientOptions
from clients.http.polls import Poller
from feed.transports import TRANSPORTS


class LongPolling(Poller):
    """``GET /long-poll`` back to back. The first answer comes at once, since it brings the cursor."""

    transport = TRANSPORTS["long_polling"]

    def __init__(self, url: str, options: ClientOptions, shared: Shared) -> None:
        super().__init__(url, options, shared)
        self.welcome_within_s += options.hold_s  # a poll with a cursor is held, and may bring nothing but its end
        self._hold: asyncio.Timeout | None = None

    async def receive(self) -> AsyncIterator[Received]:
        options = self.options
        self.is_first_poll = True
        hold_s = options.hold_s if options.first_hold_s is None else options.first_hold_s
        while True:
            had_cursor = self.session.cursor is not None
            answer = await self._held_poll(hold_s)
            if not answer:
                self.ledger.heartbeats += 1
            for received in answer:
                yield received
            if had_cursor:
                hold_s = options.hold_s

    async def _held_poll(self, hold_s: float) -> list[Received]:
        """One poll; abandoned for another as soon as there is a session, which this one does not name."""
        try:
            async with asyncio.timeout(None) as hold:
                self._hold = hold
                return await self.poll({"hold_s": f"{hold_s:g}"}, hold_s + self.options.answer_margin_s)
        except TimeoutError:
            if not hold.expired():
                raise
            return []

    async def open_session(self) -> None:
        await super().open_session()
        if self._hold is not None:
            with suppress(RuntimeError):  # it is between two polls
                self._hold.reschedule(0)


CLIENT: Final = LongPolling
