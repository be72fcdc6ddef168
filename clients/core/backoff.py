"""How long to wait before trying again: exponential, with full jitter, and not for ever.

Full jitter draws uniformly from zero to the exponential bound, which spreads a crowd of clients that lost the same
server best (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). Where the server has said how
long to wait at least, the jitter comes on top of that.
"""

import random
from typing import Final

MAX_ASKED_WAIT_S: Final = 3600.0
"""What a server may ask to wait at most: as long as the lowest rate that ours can be limited to, one an hour, needs."""


def asked_at_most_s(asked_s: float) -> float:
    """What a server asks to wait, within the bound: nobody can put a client to sleep for ever."""
    return min(max(asked_s, 0.0), MAX_ASKED_WAIT_S)


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
        """Longest possible wait after that many failures in a row, if the server asks for none."""
        return min(self._cap_s, self._base_s * self._factor ** min(failures - 1, 64))

    def delay_s(self, at_least_s: float = 0.0) -> float | None:
        """Note a failure; the seconds to wait before the next attempt, ``None`` if there shall be none.

        ``at_least_s``: what the server asks for, of which ``MAX_ASKED_WAIT_S`` is kept to.
        """
        self.failures += 1
        if self.failures > self._max_attempts:
            return None
        return asked_at_most_s(at_least_s) + self._draw.uniform(0, self.bound_s(self.failures))

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0
