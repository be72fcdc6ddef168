"""One uvloop event loop in a native thread of a process that locust has monkey-patched.

gevent replaces threads by greenlets; the loop needs the original, or it would block every greenlet.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import gevent
import uvloop
from gevent import monkey

POLL_S = 0.01


class LoopThread:
    """Runs functions and coroutines on the event loop on behalf of greenlets."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        monkey.get_original("_thread", "start_new_thread")(self._run, ())
        while self.loop is None or not self.loop.is_running():
            gevent.sleep(POLL_S)

    def _run(self) -> None:
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        self.loop = loop
        loop.run_forever()

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in the loop's thread, without waiting for it."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(function, *arguments)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function or coroutine function in the loop's thread and return its result; only this greenlet waits.

        Raises what the function raises.
        """
        outcome: list[tuple[Any, BaseException | None]] = []

        async def work() -> None:
            try:
                result = function(*arguments)
                outcome.append((await result if asyncio.iscoroutine(result) else result, None))
            except Exception as error:
                outcome.append((None, error))

        self.call(lambda: asyncio.ensure_future(work()))
        while not outcome:
            gevent.sleep(POLL_S)
        result, error = outcome[0]
        if error is not None:
            raise error
        return result
