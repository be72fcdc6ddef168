"""Publishing that drops, repeats, reorders or delays one event in a hundred, or wastes CPU: a test of the benchmark.

It stands between the publisher, whose record of due and published instants stays true, and the hub. So every
transport serves the same faults, and what finds them is what finds a transport's own.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from feed.faults import EVERY, Sabotage
from feed.instruments.clock import NS_PER_MS

DELAY_S: Final = 0.8
MAX_BURN_NS: Final = 100 * NS_PER_MS
"""At once: what connecting many subscribers took is not burned for before the first event."""
Publish = Callable[[str, bytes], object]
"""Publishes data in a room."""


def sabotaged(publish: Publish, sabotage: Sabotage) -> Publish:
    """The same with the fault; unchanged if there is none."""
    if sabotage.kind:
        publish = Saboteur(publish, sabotage.kind)
    return _burning(publish, sabotage.burn_share) if sabotage.burn_share else publish


def _burning(publish: Publish, share: float) -> Publish:
    """Before each event, burn a share of the CPU that this thread has used since the last: so it is that share more of
    whatever an event costs here and now, on a slow host as on a fast one."""
    burned_at_ns = time.thread_time_ns()

    def burn_and_publish(room: str, data: bytes) -> None:
        nonlocal burned_at_ns
        at_ns = time.thread_time_ns()
        until_ns = at_ns + min(share * (at_ns - burned_at_ns), MAX_BURN_NS)
        while burned_at_ns < until_ns:
            burned_at_ns = time.thread_time_ns()
        publish(room, data)

    return burn_and_publish


class Saboteur:
    """Publishes, but for one event in ``EVERY``. Call in the event loop's thread."""

    def __init__(self, publish: Publish, kind: str) -> None:
        self._publish = publish
        self._commit: Callable[[str, bytes], None] = {
            "drop": self._drop,
            "repeat": self._repeat,
            "reorder": self._reorder,
            "delay": self._delay,
        }[kind]
        self._events = 0
        self._held: dict[str, list[bytes]] = {}
        """Per room what waits for the next event, at most ``DELAY_S`` (``reorder``), or so long (``delay``)."""

    def __call__(self, room: str, data: bytes) -> None:
        """Publish an event, or commit the fault on it."""
        self._events += 1
        held = self._held.get(room)
        if held is not None:
            held.append(data)
            if self._commit == self._reorder:
                self._release(room, held)
        elif self._events % EVERY == 0:
            self._commit(room, data)
        else:
            self._publish(room, data)

    def _drop(self, room: str, data: bytes) -> None:
        pass

    def _repeat(self, room: str, data: bytes) -> None:
        self._publish(room, data)
        self._publish(room, data)

    def _reorder(self, room: str, data: bytes) -> None:
        self._hold(room, data)

    def _delay(self, room: str, data: bytes) -> None:
        """Later events of the room wait behind it: at most those of ``DELAY_S``."""
        self._hold(room, data)

    def _hold(self, room: str, data: bytes) -> None:
        self._held[room] = held = [data]
        asyncio.get_running_loop().call_later(DELAY_S, lambda: self._release(room, held))

    def _release(self, room: str, held: list[bytes]) -> None:
        if self._held.get(room) is not held:
            return  # the next event has come, and both are out
        del self._held[room]
        for data in reversed(held) if self._commit == self._reorder else held:
            self._publish(room, data)
