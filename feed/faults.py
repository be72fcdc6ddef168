"""Faults that a server can be told to commit, so that it can be seen that the benchmark finds them. Pure."""

import math
from typing import Final, NamedTuple

KINDS: Final = ("drop", "repeat", "reorder", "delay")
"""What happens to one event in a hundred (``EVERY``)."""
BURN: Final = "burn"
EVERY: Final = 100
MAX_BURN_PERCENT: Final = 400.0
ALLOWED: Final = f"{', '.join(KINDS)}, or {BURN}:P to use P % more CPU than it takes, up to {MAX_BURN_PERCENT:g}"


class SabotageError(ValueError):
    """No such sabotage; the message names what is allowed."""


class Sabotage(NamedTuple):
    """``kind``: one of ``KINDS``, or empty. ``burn_share``: CPU that is wasted, as a share of what the server uses."""

    kind: str
    burn_share: float = 0.0


def parse_sabotage(text: str) -> Sabotage:
    """Read ``drop``, ``repeat``, ``reorder``, ``delay`` or ``burn:P``; empty is none. Raises ``SabotageError``."""
    if not text or text in KINDS:
        return Sabotage(text)
    kind, _, size = text.partition(":")
    try:
        percent = float(size)
    except ValueError:
        percent = math.nan
    if kind != BURN or not 0 < percent <= MAX_BURN_PERCENT:
        raise SabotageError(f"sabotage {text!r}: allowed are {ALLOWED}")
    return Sabotage("", percent / 100)
