"""What a server counts about itself. Read through the control listener's ``/stats``."""

from typing import Any

from feed.instruments.meters import GcPauses, Lateness


class Stats:
    """Counters of one server. Transports count what they hand over; the watchdog counts connections and bytes."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.requests = 0
        self.gaps = 0
        self.publisher_lateness = Lateness()
        self.loop_lag = Lateness()
        self.gc_pauses = GcPauses()

    def reset_window(self) -> None:
        """Begin a measured part: histograms and pauses start over, counters go on."""
        self.publisher_lateness.reset()
        self.loop_lag.reset()
        self.gc_pauses.reset()

    def summary(self) -> dict[str, Any]:
        """Everything above, ready for JSON."""
        return {
            "deliveries": self.deliveries,
            "requests": self.requests,
            "gaps": self.gaps,
            "publisher_lateness": self.publisher_lateness.summary(),
            "loop_lag": self.loop_lag.summary(),
            "gc_pauses": self.gc_pauses.summary(),
        }
