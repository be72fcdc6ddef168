"""Publishes a source's events when they are due: open loop, never early, and records how late."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from feed.instruments.clock import Timer, now_ns
from feed.instruments.meters import Lateness
from feed.sources import Item

MAX_PUBLICATIONS: Final = 4096
"""How many of the newest events keep their instants: under 1 MB."""


class Publisher:
    """Runs at most one feed at a time, into ``publish`` (room, data). It never waits for subscribers."""

    def __init__(self, publish: Callable[[str, bytes], object], timer: Timer, lateness: Lateness) -> None:
        self._publish = publish
        self._timer = timer
        self._lateness = lateness
        self._task: asyncio.Task[None] | None = None
        self.published = 0
        """Events published by the current feed, or by the last one."""
        self.publications: deque[tuple[int, int]] = deque(maxlen=MAX_PUBLICATIONS)
        """For each of the newest events: when it was due and when it was published (CLOCK_MONOTONIC, ns)."""

    @property
    def running(self) -> bool:
        """Is a feed under way?"""
        return self._task is not None and not self._task.done()

    def start(self, items: Iterable[Item], start_ns: int) -> None:
        """Replace the running feed by ``items``, whose offsets count from the instant ``start_ns``."""
        self.stop()
        self.published = 0
        self.publications.clear()
        self._task = asyncio.ensure_future(self._run(items, start_ns))

    def stop(self) -> None:
        """Publish nothing more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, items: Iterable[Item], start_ns: int) -> None:
        for item in items:
            due_ns = start_ns + item.offset_ns
            # Making the data takes time that would count as lateness, so it is made ahead unless it is a reading.
            data = b"" if item.live else item.make(due_ns)
            await self._timer.sleep_until(due_ns)
            if item.live:
                data = item.make(due_ns)
            publish_ns = now_ns()
            self._lateness.record(publish_ns - due_ns)
            self.publications.append((due_ns, publish_ns))
            self._publish(item.room, data)
            self.published += 1


def repeated(items: list[Item]) -> Iterable[Item]:
    """A recording played again and again, each time from its end on."""
    for turn in itertools.count():
        for item in items:
            yield item._replace(offset_ns=item.offset_ns + turn * (items[-1].offset_ns + 1))
