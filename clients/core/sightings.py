"""What clients do and see on the wire, noted at the edges of connections and answers and never for each event. Pure.

A benchmark compares these facts with its plan (``bench.trial.plausible``).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

UNCODED: Final = ("", "identity")
MAX_INSTANTS: Final = 64
"""How many of the newest instants are kept."""


class Beats:
    """Instants of something that should be periodic: a client's polls, or the heartbeats that it receives."""

    def __init__(self) -> None:
        self.count = 0
        self.first_ns = 0
        self.last_ns = 0
        """Both on CLOCK_MONOTONIC; 0 before the first."""
        self.newest: deque[int] = deque(maxlen=MAX_INSTANTS)

    def mark(self, at_ns: int) -> None:
        """Note one."""
        self.count += 1
        self.first_ns = self.first_ns or at_ns
        self.last_ns = at_ns
        self.newest.append(at_ns)

    @property
    def period_s(self) -> float | None:
        """The mean time from one to the next in seconds; ``None`` for fewer than two."""
        return (self.last_ns - self.first_ns) / 1e9 / (self.count - 1) if self.count > 1 else None


class Sightings:
    """What all clients of a process have seen."""

    def __init__(self) -> None:
        self.requests: dict[str, tuple[tuple[str, str], ...]] = {}
        """Method and path -> the headers of the first such request, as they were sent."""
        self.codings: set[str] = set()
        """Codings of content and extensions of WebSocket that answers named; empty while nothing was compressed."""
        self.holds_s: set[float] = set()
        """Holds that long polls asked for, in seconds; those of a client's first polls left out."""
        self.empty_early_s = 0.0
        """How much sooner than asked an empty answer ended a hold, at most."""

    def request(self, method_and_path: str, headers: Iterable[tuple[str, str]]) -> None:
        """Note a request's headers, unless one like it was noted before."""
        if method_and_path not in self.requests:
            self.requests[method_and_path] = tuple((str(name), str(value)) for name, value in headers)

    def answer(self, headers: Mapping[str, str]) -> None:
        """Note an answer's coding."""
        for name in ("Content-Encoding", "Sec-WebSocket-Extensions"):
            if headers.get(name, "") not in UNCODED:
                self.codings.add(headers[name])
