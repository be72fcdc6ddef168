"""The services of a server, by the name that clients call (docs/add-a-service.md)."""

from collections.abc import Callable
from typing import Final

from servers.platform.service import Service, ServiceContext
from servers.services.builtin import ConnectionCounts, Echo, Members
from servers.services.chat import Chat

SERVICES: Final[dict[str, Callable[[ServiceContext], Service]]] = {
    "echo": Echo,
    "members": Members,
    "connections": ConnectionCounts,
    "chat": Chat,
}
