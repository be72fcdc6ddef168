"""Text that somebody else wrote, made harmless for a terminal. Pure."""

import re
from typing import Final

_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls, DEL (ECMA-48): they move the cursor, or begin sequences that do more
    "\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c"  # directions (UAX 9): what is shown is not the order of what is read
    "\u2028\u2029"  # ends of lines
    "\ud800-\udfff]"  # lone surrogates, which no encoding has
)


def printable(text: str, keep: str = "") -> str:
    """Show what a terminal would obey, or could not encode, as an escape such as ``\\x1b``; not what is in ``keep``.

    What comes of it is left alone by a second time.
    """
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _escape(ord(found[0])), text)


def printable_json(text: str) -> str:
    """The same for a JSON text, of ASCII: of all these it can have only DEL raw, and only within a string."""
    return text.replace("\x7f", "\\u007f")


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
