"""One room: the history of its events, and the callbacks that run after each of them."""

from collections.abc import Callable

from feed.wire import Event
from servers.hub.conflation import ConflatingRing
from servers.hub.ring import Ring


class Room:
    """A name, a bounded history, and the listeners that are called once an event is in it."""

    def __init__(self, name: str, epoch: str, history: int, conflates: bool = False) -> None:
        self.name = name
        self.ring: Ring[Event] = ConflatingRing(epoch) if conflates else Ring(epoch, history)
        self.listeners: dict[Callable[[], None], None] = {}
        """In the order in which they came; a dictionary, so that removing one costs the same for any number."""
        self.selective_seq = 0
        """Number of the newest event that is not for everybody."""
        self.closing = False
        """The server stops: no event will follow."""

    def wake(self) -> None:
        """Call every listener. A listener may remove itself."""
        for listener in tuple(self.listeners):
            listener()

    def close(self) -> None:
        """Wake every listener for the last time; waiting readers raise ``HubClosedError`` from now on."""
        self.closing = True
        self.wake()
