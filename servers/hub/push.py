"""Straight from the publisher to the transport: no task, no queue, no coroutine per delivery.

What is written was encoded once for all subscribers, so a delivery costs little more than what the kernel charges. A
subscriber whose transport is over its high-water mark stays behind at its cursor and goes on from the ring once
the transport has room again: nothing is buffered for it, and nothing is lost until it falls off the ring.
"""

import asyncio
from collections.abc import Callable

from feed.wire import Event
from servers.hub.reader import Delivery, Notice, Reader


class Push:
    """One subscriber.

    ``encode`` gives an event's bytes on this transport, ``wrap`` those of a notice from its JSON and its id. One
    write has at most ``batch_events`` events. The protocol calls ``pause`` and ``resume`` from its ``pause_writing``
    and ``resume_writing``.
    """

    def __init__(
        self,
        reader: Reader,
        transport: asyncio.Transport,
        encode: Callable[[Event], bytes],
        wrap: Callable[[bytes, str], bytes],
        batch_events: int,
    ) -> None:
        self._reader = reader
        self._transport = transport
        self._encode = encode
        self._wrap = wrap
        self._batch_events = batch_events
        self.paused = False
        """Is the transport over its high-water mark?"""

    def start(self, client: str = "") -> None:
        """Send how the cursor was understood, then what is newer, and from now on all that is published."""
        self._notify(self._reader.welcome(client))
        self._reader.room.listeners[self.send_new] = None
        self._reader.on_nudge = self.send_others
        self.send_new()
        self.send_others()

    def stop(self) -> None:
        """Send nothing more."""
        self._reader.room.listeners.pop(self.send_new, None)
        self._reader.on_nudge = None
        self._reader.__exit__()

    def pause(self) -> None:
        """The transport has passed its high-water mark."""
        self.paused = True

    def resume(self) -> None:
        """There is room again: catch up."""
        self.paused = False
        self.send_new()
        self.send_others()

    def send_new(self) -> None:
        """Write what is newer than the cursor, as long as the transport takes it."""
        reader = self._reader
        while not self.paused and not self._transport.is_closing():
            event = reader.take_newest()
            if event is not None:
                self._transport.write(self._encode(event))
                return
            if not self._send(reader.take(self._batch_events)):
                return

    def send_others(self) -> None:
        """Write what the rooms have that were joined next to the first."""
        while not self.paused and not self._transport.is_closing():
            delivery = self._reader.take_other(self._batch_events)
            if delivery is None:
                return
            self._send(delivery)

    def _send(self, delivery: Delivery) -> bool:
        events, notice = delivery
        if notice is not None:
            self._notify(notice)
        if events:
            self._transport.write(b"".join(map(self._encode, events)))
        return bool(events)

    def _notify(self, notice: Notice) -> None:
        self._transport.write(self._wrap(notice.json, str(notice.cursor)))
