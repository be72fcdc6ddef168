"""The clock of both ends, CLOCK_MONOTONIC in nanoseconds, and timers on it that never fire early.

An event loop's own timers have whole milliseconds and may fire up to one millisecond early, which is more than a
loopback delivery takes. An absolute timerfd, read through the loop's ``add_reader``, is exact (timerfd_create(2)).
"""

import asyncio
import ctypes
import heapq
import os
import time
from collections.abc import Callable
from itertools import count
from typing import Final

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
NS_PER_US: Final = 1_000
now_ns = time.monotonic_ns

_MONOTONIC_COARSE: Final = 6
"""CLOCK_MONOTONIC_COARSE of linux/time.h, for which Python has no name."""
_FIRST_PRIORITY: Final = 1
"""Lowest real-time priority, which is above every ordinary thread."""
_TFD_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1


def tick_ns() -> int:
    """The time between two ticks of the kernel."""
    return round(time.clock_getres(_MONOTONIC_COARSE) * NS_PER_S)


class _TimeSpec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _ITimerSpec(ctypes.Structure):
    _fields_ = (("it_interval", _TimeSpec), ("it_value", _TimeSpec))


# os.timerfd_create exists from Python 3.13 on; the C library's functions serve every version alike.
_libc: Final = ctypes.CDLL(None, use_errno=True)


def timerfd_create() -> int:
    """A non-blocking timer file descriptor on CLOCK_MONOTONIC. Raises ``OSError``."""
    fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    return fd


def timerfd_set(fd: int, due_ns: int, interval_ns: int = 0) -> None:
    """Make ``fd`` readable at the instant ``due_ns`` (0 disarms it), then every ``interval_ns``. Raises ``OSError``."""
    seconds, nanoseconds = divmod(due_ns, NS_PER_S)
    every_s, every_ns = divmod(interval_ns, NS_PER_S)
    spec = _ITimerSpec(_TimeSpec(every_s, every_ns), _TimeSpec(seconds, nanoseconds))
    if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) < 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime")


def run_first(priority: int = _FIRST_PRIORITY) -> str:
    """Give the calling thread real-time scheduling (SCHED_FIFO). Returns the policy in force: ``fifo`` or ``other``.

    Code that models the network or notes an instant must not wait for the end of another thread's time slice. Where
    real-time scheduling is not allowed, the ordinary policy stays, and the lateness is reported as always.
    ``priority``: among real-time threads, the highest runs first.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return "other"
    return "fifo"


class Timer:
    """Calls back at absolute instants, never early. One per event loop; use it in the loop's thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._armed_ns = 0
        self._fd = timerfd_create()
        loop.add_reader(self._fd, self._fire)

    def call_at(self, due_ns: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` at ``due_ns``; for an instant in the past, at the loop's next turn."""
        heapq.heappush(self._heap, (due_ns, next(self._order), callback))
        if not self._armed_ns or due_ns < self._armed_ns:
            self._arm(due_ns)

    async def sleep_until(self, due_ns: int) -> None:
        """Wait until ``due_ns``."""
        if now_ns() >= due_ns:
            await asyncio.sleep(0)
            return
        future = self._loop.create_future()
        self.call_at(due_ns, lambda: None if future.done() else future.set_result(None))
        await future

    def close(self) -> None:
        """Release the descriptor; callbacks that are not due yet are never called."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._heap.clear()

    def _arm(self, due_ns: int) -> None:
        self._armed_ns = due_ns
        timerfd_set(self._fd, max(due_ns, 1))  # 0 would disarm it

    def _fire(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # re-armed for later after it had become readable
        self._armed_ns = 0
        heap = self._heap
        try:
            while heap and heap[0][0] <= now_ns():
                heapq.heappop(heap)[2]()
        finally:  # one callback that raises does not stop the others
            if heap:
                self._arm(heap[0][0])
