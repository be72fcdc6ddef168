"""Polling on a fixed cadence, start + phase + k x interval; a tick that was missed is skipped, not made up for.

Where the server asks for a longer interval than the client's, the next poll is that long after the last one.
"""

from collections.abc import AsyncIterator
from typing import Final

from clients.core.client import Received
from clients.http.polls import Poller
from feed.instruments.clock import NS_PER_S, now_ns
from feed.transports import TRANSPORTS


class Polling(Poller):
    """``GET /poll`` every ``poll_interval_s``, on an absolute timer."""

    transport = TRANSPORTS["polling"]

    async def receive(self) -> AsyncIterator[Received]:
        options = self.options
        self.is_first_poll = True
        interval_ns = round(options.poll_interval_s * NS_PER_S)
        start_ns = now_ns() + round(options.poll_phase_s * NS_PER_S)
        tick = -1
        while True:
            for received in await self.poll({}, options.answer_margin_s):
                yield received
            tick = max(tick + 1, (now_ns() - start_ns) // interval_ns + 1)
            hinted_ns = now_ns() + round(self.hint_s * NS_PER_S) if self.hint_s > options.poll_interval_s else 0
            await self.timer.sleep_until(max(start_ns + tick * interval_ns, hinted_ns))


CLIENT: Final = Polling
