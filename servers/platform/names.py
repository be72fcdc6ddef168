"""Namespaces: rooms, members and messages of their own on one server. Sockets share nothing across them but limits.

On Socket.IO they are its own namespaces; on every other transport the first part of the path.
"""

import re
from typing import Final

from feed.transports import TRANSPORTS

MAX_NAMESPACES: Final = 32
_NAME: Final = re.compile("[a-z][a-z0-9-]{0,31}")
RESERVED: Final = frozenset({"requests", "sessions", *(row.path.strip("/") for row in TRANSPORTS.values())})
"""First parts of our own paths."""


class NamespaceError(ValueError):
    """The text names no namespace; the message says what a name looks like."""


def check_namespaces(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, each once. Raises ``NamespaceError``."""
    for name in names:
        if _NAME.fullmatch(name) is None or name in RESERVED:
            raise NamespaceError(
                f"{name[:40]!r} is no namespace: allowed are 1 to 32 of a-z 0-9 -, not one of our paths"
            )
    if len(set(names)) != len(names) or len(names) > MAX_NAMESPACES:
        raise NamespaceError(f"namespaces: each once, at most {MAX_NAMESPACES}")
    return names


def path_of(transport: str, namespace: str) -> str:
    """The path of a transport's subscriptions in a namespace."""
    return prefix(namespace) + TRANSPORTS[transport].path


def prefix(name: str) -> str:
    """What stands before the path of a transport; nothing for the default namespace, whose name is empty."""
    return f"/{name}" if name else ""
