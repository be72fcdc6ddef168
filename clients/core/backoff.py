"""How long a client waits before it tries again: exponential back-off with full jitter, and a bound on attempts.

Full jitter draws uniformly from zero to the exponential bound, which spreads clients that lost the same server best
(Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). Where the server says how long to wait at
least, the jitter is added to that.
"""

import random
from typing import Final

MAX_ASKED_WAIT_S: Final = 3600.0
"""Longest wait that a server can ask for: what the lowest rate limit of our servers, one request an hour, needs."""


def asked_at_most_s(asked_s: float) -> float:
    """Seconds that a server asks to wait, bounded by ``MAX_ASKED_WAIT_S``: no server can stop a client for ever."""
    return min(max(asked_s, 0.0), MAX_ASKED_WAIT_S)


class Backoff:
    """Counts consecutive failures. Call ``delay_s`` after each failure and ``succeeded`` after a success."""

    def __init__(self, base_s: float, factor: float, cap_s: float, max_attempts: int, draw: random.Random) -> None:
        self._base_s = base_s
        self._factor = factor
        self._cap_s = cap_s
        self._max_attempts = max_attempts
        self._draw = draw
        self.failures = 0

    def bound_s(self, failures: int) -> float:
        """Longest wait in seconds after so many failures in a row, if the server asks for none."""
        return min(self._cap_s, self._base_s * self._factor ** min(failures - 1, 64))

    def delay_s(self, at_least_s: float = 0.0) -> float | None:
        """Count a failure. Seconds to wait before the next attempt, or ``None`` if no attempt is left.

        ``at_least_s``: the wait that the server asks for; it is honoured up to ``MAX_ASKED_WAIT_S``.
        """
        self.failures += 1
        if self.failures > self._max_attempts:
            return None
        return asked_at_most_s(at_least_s) + self._draw.uniform(0, self.bound_s(self.failures))

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
