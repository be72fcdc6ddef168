"""Long polling: each poll is held until something is new, and the next follows at once (RFC 6202, section 2)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from clients.core.client import Received, Shared
from clients.core.options import ClientOptions
from clients.http.polls import Poller
from feed.instruments.clock import NS_PER_S, now_ns
from feed.transports import TRANSPORTS

FIRST_POLLS: Final = 1
"""Polls with a cursor that may ask for ``first_hold_s``."""


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
                self.heartbeat()
            for received in answer:
                yield received
            if had_cursor:
                hold_s = options.hold_s

    async def _held_poll(self, hold_s: float) -> list[Received]:
        """One poll; abandoned for another as soon as there is a session, which this one does not name."""
        try:
            async with asyncio.timeout(None) as hold:
                self._hold = hold
                query, asked_ns = {"hold_s": f"{hold_s:g}"}, now_ns()
                answer = await self.poll(query, hold_s + self.options.answer_margin_s)
                self._note_hold(float(query["hold_s"]), None if answer else (now_ns() - asked_ns) / NS_PER_S)
                return answer
        except TimeoutError:
            if not hold.expired():
                raise
            return []

    def _note_hold(self, asked_s: float, lasted_s: float | None) -> None:
        """Note a hold as it was sent, and how long it lasted if nothing but its end came."""
        seen = self.ledger.sightings
        if self.polls.count > FIRST_POLLS:
            seen.holds_s.add(asked_s)
        if lasted_s is not None and self.polls.count:  # the first poll is answered at once
            seen.empty_early_s = max(seen.empty_early_s, asked_s - lasted_s)

    async def open_session(self) -> None:
        await super().open_session()
        if self._hold is not None:
            with suppress(RuntimeError):  # it is between two polls
                self._hold.reschedule(0)


CLIENT: Final = LongPolling
