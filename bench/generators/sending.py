"""Requests that subscribers send while a trial runs, each when it is due (``RequestLoad``), and their outcomes."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any

from bench.generators.scripts.script import Script
from bench.generators.spec import ANSWERED, RequestLoad, RequestSample
from clients.core.client import Client
from clients.core.errors import ClientError, RequestError
from feed.instruments.clock import Timer, now_ns
from feed.schedule import Due, dues


class Sending:
    """The requests of one process. Create and call inside the event loop."""

    def __init__(self, clients: Mapping[int, Client], timer: Timer, failures: deque[str]) -> None:
        self.samples: list[RequestSample] = []
        """In the order in which they were sent."""
        self.failures = failures
        """Why subscribers could not do what their script says, a sentence each."""
        self._clients = clients
        self._timer = timer
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, loads: list[RequestLoad], start_ns: int) -> None:
        """Send what is due, counted from ``start_ns``, from the subscribers that are in this process."""
        for load in loads:
            self.spawn(self._send(load, start_ns))

    def act(self, script: Script, start_ns: int) -> None:
        """Let every subscriber of this process do what the script says, from ``start_ns`` on."""
        for index in self._clients:
            self.spawn(self._act(script, index, start_ns))

    async def stop(self) -> None:
        """Send nothing more, and wait for no answer any longer."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background, until ``stop``."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, load: RequestLoad, start_ns: int) -> None:
        """Send each request when it is due, however long the answers to earlier ones take."""
        for due in dues(load.schedule):
            if due.room in self._clients:
                await self._timer.sleep_until(start_ns + due.offset_ns)
                self.spawn(self._request(load, due, start_ns + due.offset_ns))

    async def _act(self, script: Script, index: int, start_ns: int) -> None:
        try:
            await script.act(index, start_ns)
        except* (ClientError, TimeoutError) as group:
            self.failures.extend(f"subscriber {index}: {type(error).__name__} {error}" for error in group.exceptions)

    async def _request(self, load: RequestLoad, due: Due, due_ns: int) -> None:
        sample = RequestSample(load.kind, due.room, due.n, due_ns, now_ns())
        self.samples.append(sample)
        try:
            await self._clients[due.room].request(load.type, **load.fields)
            sample.outcome = ANSWERED
        except RequestError as error:  # a refusal is an answer
            sample.outcome = error.code
        except (ClientError, TimeoutError) as error:
            sample.outcome = type(error).__name__
            return
        sample.answered_ns = now_ns()
