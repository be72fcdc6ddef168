"""Long polling: ask, be held until something is new, ask again at once (RFC 6202, section 2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from clients.core.client import Received
from clients.http.polls import Poller


class LongPolling(Poller):
    """``GET /long-poll`` back to back. The first answer comes at once, since it brings the cursor."""

    path = "/long-poll"
    _hurry: asyncio.Timeout | None = None

    async def _receive(self) -> AsyncIterator[Received]:
        options = self.options
        self._first = True
        hold_s = options.hold_s if options.first_hold_s is None else options.first_hold_s
        while True:
            asked_from = self.session.cursor
            answer = await self._held_poll(hold_s)
            if not answer:
                self.ledger.heartbeats += 1
            for received in answer:
                yield received
            if asked_from is not None:
                hold_s = options.hold_s

    def _welcome_within_s(self) -> float:
        """A poll with a cursor is held as any other, and answered with nothing new when its hold ends."""
        return super()._welcome_within_s() + self.options.hold_s

    async def _held_poll(self, hold_s: float) -> list[Received]:
        """One poll; given up for another as soon as there is a session, which this one does not name."""
        try:
            async with asyncio.timeout(None) as hurry:
                self._hurry = hurry
                return await self._poll({"hold_s": f"{hold_s:g}"}, hold_s + self.options.answer_margin_s)
        except TimeoutError:
            if not hurry.expired():
                raise
            return []

    async def _open_session(self) -> None:
        await super()._open_session()
        if self._hurry is not None:
            with suppress(RuntimeError):  # it is between two polls
                self._hurry.reschedule(0)
