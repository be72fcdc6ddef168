"""How long to wait before trying again: exponential, with full jitter, and not for ever.

Full jitter draws uniformly from zero to the exponential bound, which spreads a crowd of clients that lost the same
server best (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

import random


class Backoff:
    """Counts consecutive failures. ``delay_s`` after each one, ``succeeded`` after a success."""

    def __init__(self, base_s: float, factor: float, cap_s: float, max_attempts: int, draw: random.Random) -> None:
        self._base_s = base_s
        self._factor = factor
        self._cap_s = cap_s
        self._max_attempts = max_attempts
        self._draw = draw
        self.failures = 0

    def bound_s(self, failures: int) -> float:
        """Longest possible wait after that many failures in a row."""
        return min(self._cap_s, self._base_s * self._factor ** min(failures - 1, 64))

    def delay_s(self) -> float | None:
        """Note a failure; the seconds to wait before the next attempt, ``None`` if there shall be none."""
        self.failures += 1
        if self.failures > self._max_attempts:
            return None
        return self._draw.uniform(0, self.bound_s(self.failures))

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
