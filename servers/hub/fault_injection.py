"""Fault injection, a test of the benchmark: drop, repeat, reorder or delay one event in a hundred, or waste CPU.

It stands between the publisher, whose record of due and published instants stays true, and the hub. Therefore every
transport serves the same faults, and the checks that find them are those that would find a transport's own.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from feed.faults import EVERY, Fault
from feed.instruments.clock import NS_PER_MS

DELAY_S: Final = 0.8
"""How long an event is delayed, and the longest that a reordered one waits for the next."""
MAX_BURN_NS: Final = 100 * NS_PER_MS
"""Longest burn before one event, so that the CPU time of connecting many subscribers does not hold up the first."""
Publish = Callable[[str, bytes], object]
"""Publishes data in a room."""


def with_fault(publish: Publish, fault: Fault) -> Publish:
    """Publish with the fault injected; ``publish`` itself if there is none."""
    if fault.kind:
        publish = FaultInjector(publish, fault.kind)
    return _burning(publish, fault.burn_share) if fault.burn_share else publish


def _burning(publish: Publish, share: float) -> Publish:
    """Before each event, burn a share of the CPU time that this thread has used since the last one.

    So an event costs that share more on a slow host as on a fast one, whatever it costs there.
    """
    burned_at_ns = time.thread_time_ns()

    def burn_and_publish(room: str, data: bytes) -> None:
        nonlocal burned_at_ns
        at_ns = time.thread_time_ns()
        until_ns = at_ns + min(share * (at_ns - burned_at_ns), MAX_BURN_NS)
        while burned_at_ns < until_ns:
            burned_at_ns = time.thread_time_ns()
        publish(room, data)

    return burn_and_publish


class FaultInjector:
    """Publishes, and injects the fault into one event in ``EVERY``. Call it in the event loop's thread."""

    def __init__(self, publish: Publish, kind: str) -> None:
        self._publish = publish
        self._inject: Callable[[str, bytes], None] = {
            "drop": self._drop,
            "repeat": self._repeat,
            "reorder": self._hold,
            "delay": self._hold,
        }[kind]
        self._reorders = kind == "reorder"
        self._events = 0
        self._held: dict[str, list[bytes]] = {}
        """Room -> events held for ``DELAY_S``; a reordered event only until the next one of its room."""

    def __call__(self, room: str, data: bytes) -> None:
        """Publish an event, or inject the fault into it."""
        self._events += 1
        held = self._held.get(room)
        if held is not None:
            held.append(data)
            if self._reorders:
                self._release(room, held)
        elif self._events % EVERY == 0:
            self._inject(room, data)
        else:
            self._publish(room, data)

    def _drop(self, room: str, data: bytes) -> None:
        pass

    def _repeat(self, room: str, data: bytes) -> None:
        self._publish(room, data)
        self._publish(room, data)

    def _hold(self, room: str, data: bytes) -> None:
        """Hold the event; later ones of its room wait behind it."""
        self._held[room] = held = [data]
        asyncio.get_running_loop().call_later(DELAY_S, lambda: self._release(room, held))

    def _release(self, room: str, held: list[bytes]) -> None:
        if self._held.get(room) is not held:
            return  # released already, by the next event
        del self._held[room]
        for data in reversed(held) if self._reorders else held:
            self._publish(room, data)
