"""Faults that a server can be told to commit, so that it can be seen that the benchmark finds them. Pure."""

import math
from typing import Final, NamedTuple

KINDS: Final = ("drop", "repeat", "reorder", "delay")
"""What happens to one event in a hundred (``EVERY``)."""
BURN: Final = "burn"
EVERY: Final = 100
MAX_BURN_US: Final = 100_000.0
ALLOWED: Final = f"{', '.join(KINDS)}, or {BURN}:US with US of CPU per event, up to {MAX_BURN_US:g}"


class SabotageError(ValueError):
    """No such sabotage; the message names what is allowed."""


class Sabotage(NamedTuple):
    """``kind``: one of ``KINDS``, or empty. ``burn_us``: CPU time wasted for every event that is published."""

    kind: str
    burn_us: float = 0.0


def parse_sabotage(text: str) -> Sabotage:
    """Read ``drop``, ``repeat``, ``reorder``, ``delay`` or ``burn:US``; empty is none. Raises ``SabotageError``."""
    if not text or text in KINDS:
        return Sabotage(text)
    kind, _, size = text.partition(":")
    try:
        burn_us = float(size)
    except ValueError:
        burn_us = math.nan
    if kind != BURN or not 0 < burn_us <= MAX_BURN_US:
        raise SabotageError(f"sabotage {text!r}: allowed are {ALLOWED}")
    return Sabotage("", burn_us)
