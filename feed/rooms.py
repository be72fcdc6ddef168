"""Names of rooms. Each room orders its own events and keeps its own history."""

import re
from typing import Final

DEFAULT_ROOM: Final = "feed"
MAX_ROOMS: Final = 10_000
NAME_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}"
_NAME: Final = re.compile(NAME_PATTERN)
FORM: Final = "1 to 64 of A-Z a-z 0-9 _ . : -, the first a letter or digit"


class RoomNameError(ValueError):
    """The text is no room name."""


def check_room(name: str) -> str:
    """Return ``name`` if it is a room name. Raises ``RoomNameError``, which says what is allowed."""
    if _NAME.fullmatch(name) is None:
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise RoomNameError(f"{shown!r} is not a room name: allowed are {FORM}")
    return name


def room_name(index: int) -> str:
    """Name of the ``index``-th room of a feed: ``feed``, ``feed-1``, ``feed-2``, ..."""
    return DEFAULT_ROOM if index == 0 else f"{DEFAULT_ROOM}-{index}"


def inbox_name(user: str) -> str:
    """The room that only the connections of one user read. No other room name begins with ``@``."""
    return f"@{user}"
