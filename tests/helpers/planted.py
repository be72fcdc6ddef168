"""``python -m tests.helpers.planted FAULT TRANSPORT OPTIONS``: a server that breaks the contract in one way."""

import sys
from collections.abc import Callable

from feed.wire import Event
from servers.hub.hub import Hub
from servers.hub.reader import Delivery, Subscription
from servers.hub.ring import Resume, Ring
from servers.process.cli import main

AT = 150
"""The event that a single fault hits, by its number in the room."""
AFTER_THE_FIRST_CHECKS = 350
"""More events than are published before the check that resumes in traffic, and fewer than when it resumes."""


def send_changed(change: Callable[[Subscription, list[Event]], list[Event]]) -> None:
    """Whatever a subscriber takes is changed on its way out, below the history."""
    take = Subscription.take

    def take_changed(self: Subscription, limit: int | None = None) -> Delivery:
        delivery = take(self, limit)
        return delivery._replace(events=change(self, delivery.events))

    Subscription.take = take_changed  # type: ignore[method-assign]


def twice(_: Subscription, events: list[Event]) -> list[Event]:
    return [event for event in events for _ in range(2)]


def hundredth_twice(_: Subscription, events: list[Event]) -> list[Event]:
    return [event for event in events for _ in range(2 if event.seq % 100 == 0 else 1)]


def one_dropped(_: Subscription, events: list[Event]) -> list[Event]:
    return [event for event in events if event.seq != AT]


held: dict[Subscription, Event] = {}


def two_swapped(reader: Subscription, events: list[Event]) -> list[Event]:
    """Of a stream, on which the later one may come in another write."""
    sent: list[Event] = []
    for event in events:
        if event.seq == AT:
            held[reader] = event
            continue
        sent.append(event)
        if reader in held:
            sent.append(held.pop(reader))
    return sent


def resume_off(by: int, least_seq: int = 0) -> None:
    """A cursor of this history is taken for one that many events further, once the history is that long."""
    resume = Ring.resume

    def resume_elsewhere(self: "Ring[Event]", cursor: object) -> Resume:
        found = resume(self, cursor)  # type: ignore[arg-type]
        hit = found.verdict == "resumed" and self.last_seq >= least_seq
        return found._replace(seq=max(0, found.seq + by)) if hit else found

    Ring.resume = resume_elsewhere  # type: ignore[method-assign, assignment]


def padded() -> None:
    """Events with eight spaces more, which mean nothing in JSON."""
    publish = Hub.publish

    def publish_padded(self: Hub, name: str, data: bytes) -> Event:
        return publish(self, name, data[:-1] + b" " * 8 + data[-1:])

    Hub.publish = publish_padded  # type: ignore[method-assign, assignment]


PLANTED: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "twice": lambda: send_changed(twice),
    "hundredth_twice": lambda: send_changed(hundredth_twice),
    "one_dropped": lambda: send_changed(one_dropped),
    "two_swapped": lambda: send_changed(two_swapped),
    "resumed_early": lambda: resume_off(-1),
    "resumed_late": lambda: resume_off(1),
    "resumed_early_in_traffic": lambda: resume_off(-1, least_seq=AFTER_THE_FIRST_CHECKS),
    "padded": padded,
}

if __name__ == "__main__":
    PLANTED[sys.argv.pop(1)]()
    main()
