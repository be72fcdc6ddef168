"""Users of a trial: a key made for it, and a token for each of them, as the server would make them.

The server is told the key by a file (``--auth jwt --jwt-key-file``).
"""

import secrets
import time
from pathlib import Path
from typing import Final

import jwt

KEY_BYTES: Final = 32
TTL_S: Final = 3600.0
"""Longer than any trial."""


def make_key(folder: Path) -> Path:
    """A file with a new key."""
    file = folder / "jwt.key"
    file.write_text(secrets.token_hex(KEY_BYTES))
    return file


def make_tokens(key: Path, count: int) -> list[str]:
    """Tokens of the users ``user-0``, ``user-1`` and so on (RFC 7519)."""
    secret, expires_at_s = key.read_text(), time.time() + TTL_S
    return [jwt.encode({"sub": f"user-{n}", "exp": expires_at_s}, secret, algorithm="HS256") for n in range(count)]
