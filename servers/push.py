"""Straight from the publisher to the transport: no task, no queue, no coroutine per delivery.

What is written was encoded once for all subscribers, so a delivery costs little more than what the kernel charges. A
subscriber whose transport is over its high-water mark stays behind at its cursor and goes on from the ring once
the transport has room again: nothing is buffered for it, and nothing is lost until it falls off the ring.
"""

import asyncio
from collections.abc import Callable

from feed.envelope import Welcome, encode_envelope
from feed.wire import Event
from servers.context import Context
from servers.hub import Subscription


class Push:
    """One subscriber.

    ``encode`` gives an event's bytes on this transport, ``wrap`` those of a notice from its JSON and its id. The
    protocol calls ``pause`` and ``resume`` from its ``pause_writing`` and ``resume_writing``.
    """

    def __init__(
        self,
        context: Context,
        subscription: Subscription,
        transport: asyncio.Transport,
        encode: Callable[[Event], bytes],
        wrap: Callable[[bytes, str], bytes],
    ) -> None:
        self._stats = context.stats
        self._batch_events = context.options.stream_batch_events
        self._subscription = subscription
        self._transport = transport
        self._encode = encode
        self._wrap = wrap
        self.paused = False
        """Is the transport over its high-water mark?"""

    def start(self, client: str = "") -> None:
        """Say how the cursor was understood, send what is newer, and from now on all that is published."""
        resume = self._subscription.resume
        self._stats.requests += 1
        self._stats.gaps += resume.verdict == "gap"
        self._tell("welcome", str(self._subscription.cursor), Welcome(resume.verdict, resume.missed, client))
        self._subscription.room.listeners[self.send_new] = None
        self.send_new()

    def stop(self) -> None:
        """Send nothing more."""
        self._subscription.room.listeners.pop(self.send_new, None)

    def pause(self) -> None:
        """The transport has passed its high-water mark."""
        self.paused = True

    def resume(self) -> None:
        """There is room again: catch up."""
        self.paused = False
        self.send_new()

    def send_new(self) -> None:
        """Write what is newer than the cursor, as long as the transport takes it."""
        subscription = self._subscription
        while not self.paused and not self._transport.is_closing():
            event = subscription.take_newest()
            if event is not None:
                self._stats.deliveries += 1
                self._transport.write(self._encode(event))
                return
            events, missed = subscription.take(self._batch_events)
            if not events:
                return
            if missed:
                self._stats.gaps += 1
                self._tell("gap", str(subscription.before(events[0])), Welcome("gap", missed))
            self._stats.deliveries += len(events)
            self._transport.write(b"".join(map(self._encode, events)))

    def _tell(self, type_: str, cursor: str, data: Welcome) -> None:
        body = encode_envelope(type_, cursor, self._subscription.room.name, data)
        self._transport.write(self._wrap(body, cursor))
