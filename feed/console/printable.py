"""Text from other programs, made harmless for a terminal. Pure."""

import re
from typing import Final

_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, DEL (ECMA-48): they move the cursor, or begin sequences that do more
    "\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c"  # directions (UAX 9): text is shown in another order than it has
    "\u2028\u2029"  # ends of lines
    "\ud800-\udfff]"  # lone surrogates, which no encoding has
)


def printable(text: str, keep: str = "") -> str:
    """Replace characters that a terminal would obey, or cannot encode, by escapes such as ``\\x1b``.

    Characters in ``keep`` stay. Applying it twice changes nothing more.
    """
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _escape(ord(found[0])), text)


def printable_json(text: str) -> str:
    """The same for JSON text in ASCII, whose only such character is DEL, within strings."""
    return text.replace("\x7f", "\\u007f")


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
