"""Faults that a server can inject into its own feed, so that a run shows whether the benchmark finds them. Pure."""

import math
from typing import Final, NamedTuple

KINDS: Final = ("drop", "repeat", "reorder", "delay")
"""What is done to one event in ``EVERY``."""
BURN: Final = "burn"
EVERY: Final = 100
MAX_BURN_PERCENT: Final = 400.0
ALLOWED: Final = f"{', '.join(KINDS)}, or {BURN}:P for P % more CPU, P up to {MAX_BURN_PERCENT:g}"


class FaultError(ValueError):
    """The text names no fault; the message says what is allowed."""


class Fault(NamedTuple):
    """A fault to inject. An empty ``kind`` and a share of 0 are none."""

    kind: str
    """One of ``KINDS``, or empty."""
    burn_share: float = 0.0
    """CPU time to waste, as a share of what the server uses."""


def parse_fault(text: str) -> Fault:
    """Read ``drop``, ``repeat``, ``reorder``, ``delay`` or ``burn:P`` (%); empty: none. Raises ``FaultError``."""
    if not text or text in KINDS:
        return Fault(text)
    kind, _, size = text.partition(":")
    try:
        percent = float(size)
    except ValueError:
        percent = math.nan
    if kind != BURN or not 0 < percent <= MAX_BURN_PERCENT:
        raise FaultError(f"fault {text!r}: allowed are {ALLOWED}")
    return Fault("", percent / 100)
