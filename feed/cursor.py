"""A subscriber's position in a room: an epoch and a sequence number.

The epoch names one history. A server that starts with an empty history draws a new one, so that a restarted server
that counts from 1 again can never hide a gap (as in the stream positions of centrifuge and nchan).
"""

import re
import secrets
from typing import Final, NamedTuple

_TEXT: Final = re.compile(r"([0-9a-f]{8})-(0|[1-9][0-9]{0,17})")
FORM: Final = "8 hexadecimal digits, '-', and a decimal sequence number, as in 5f3a9c1e-17"


class CursorError(ValueError):
    """The text is no cursor, or its position is ahead of the newest event of its epoch."""


class Cursor(NamedTuple):
    """Position after event ``seq`` of ``epoch``; ``seq`` 0 is before the first event."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


def new_epoch() -> str:
    """The name of a new history: 32 random bits as 8 hexadecimal digits."""
    return secrets.token_hex(4)


def parse_cursor(text: str) -> Cursor:
    """Read a cursor. Raises ``CursorError``, which shows what a cursor looks like."""
    match = _TEXT.fullmatch(text)
    if match is None:
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise CursorError(f"{shown!r} is not a cursor: expected {FORM}")
    return Cursor(match[1], int(match[2]))
