"""Long polling: ask, be held until something is new, ask again at once (RFC 6202, section 2)."""

from collections.abc import AsyncIterator

from clients.client import Received
from clients.polls import Poller


class LongPolling(Poller):
    """``GET /long-poll`` back to back. The first answer comes at once, since it brings the cursor."""

    path = "/long-poll"

    async def _receive(self) -> AsyncIterator[Received]:
        options = self.options
        self._first = True
        hold_s = options.hold_s if options.first_hold_s is None else options.first_hold_s
        while True:
            asked_from = self.session.cursor
            answer = await self._ask({"hold_s": f"{hold_s:g}"}, hold_s + options.answer_margin_s)
            if not answer:
                self.ledger.heartbeats += 1
            for received in answer:
                yield received
            if asked_from is not None:
                hold_s = options.hold_s
