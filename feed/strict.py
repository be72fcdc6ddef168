"""Strict decoding of JSON from outside: any strict reader can read again what passes here.

In values that are kept as text, the decoder alone accepts bytes that are no UTF-8 and numbers that no double can hold.
If an object has a name twice, the last value counts.
"""

import math
import re
from typing import Final, TypeVar

import msgspec

MAX_DEPTH: Final = 32
"""Deepest nesting of arrays and objects."""

_STRING: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+"?', re.DOTALL)
"""Also matches a string without an end; otherwise every quote in it would be tried as the start of another."""
_NUMBER: Final = re.compile(rb"[0-9.]+(?:[eE][+-]?[0-9]+)?")

Value = TypeVar("Value")


class JsonError(ValueError):
    """The text is not JSON, or not of the expected form; the message says what is wrong and where."""


def decode_strictly(text: bytes, decoder: msgspec.json.Decoder[Value]) -> Value:
    """Decode a JSON text (RFC 8259). Raises ``JsonError``.

    It refuses bytes that are no UTF-8 (section 8.1), lone surrogates (8.2), numbers that a double cannot hold (6), and
    more than ``MAX_DEPTH`` levels (9).
    """
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8: {error.reason} (byte {error.start}); JSON is sent in UTF-8") from None
    bare = _STRING.sub(b"", text)
    if (depth := _depth(bare)) > MAX_DEPTH:
        raise JsonError(f"nested {depth} deep; allowed are {MAX_DEPTH}")
    try:
        value = decoder.decode(text)
    except msgspec.ValidationError as error:
        raise JsonError(str(error)) from None
    except msgspec.DecodeError as error:
        raise JsonError(f"not JSON (RFC 8259): {error}") from None
    if math.inf in map(float, _NUMBER.findall(bare)):
        raise JsonError("a number is too large: allowed is what a double holds, up to 1.797e308 (RFC 8259, section 6)")
    return value


def nesting(text: bytes) -> int:
    """Depth of nested arrays and objects in a JSON text, without parsing it."""
    return _depth(_STRING.sub(b"", text))


def _depth(bare: bytes) -> int:
    depth = deepest = 0
    for byte in bare:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
