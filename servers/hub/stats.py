"""What a server counts about itself. Read through the control listener's ``/stats``."""

from typing import Any

from feed.instruments.meters import GcPauses, Lateness


class Counters:
    """What readers of rooms have handed out."""

    def __init__(self) -> None:
        self.deliveries = 0
        """Events, once for each subscriber."""
        self.requests = 0
        """Polls answered and streams begun."""
        self.gaps = 0
        """Times a subscriber was told that events are missing."""


class Stats(Counters):
    """The counters of one server, and its meters. Connections and bytes are counted where they are watched."""

    def __init__(self) -> None:
        super().__init__()
        self.publisher_lateness = Lateness()
        self.loop_lag = Lateness()
        self.gc_pauses = GcPauses()

    def reset_window(self) -> None:
        """Begin a measured part: histograms and pauses start over, counters go on."""
        self.publisher_lateness.reset()
        self.loop_lag.reset()
        self.gc_pauses.reset()

    def summary(self) -> dict[str, Any]:
        """All counters and meters, ready for JSON."""
        return {
            "deliveries": self.deliveries,
            "requests": self.requests,
            "gaps": self.gaps,
            "publisher_lateness": self.publisher_lateness.summary(),
            "loop_lag": self.loop_lag.summary(),
            "gc_pauses": self.gc_pauses.summary(),
        }
