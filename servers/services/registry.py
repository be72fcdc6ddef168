"""The services of a server, by the name that clients call (docs/add-a-service.md)."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from feed.ticker import TickerOptions
from servers.platform.service import Service, ServiceContext
from servers.services.builtin import ConnectionCounts, Echo, Members
from servers.services.chat import Chat
from servers.services.collab import Collab
from servers.services.game import Game
from servers.services.notifications import NotificationOptions, Notifications
from servers.services.ticker import Ticker
from servers.services.tokens import Tokens

SERVICES: Final[dict[str, Callable[[ServiceContext], Service]]] = {
    "echo": Echo,
    "members": Members,
    "connections": ConnectionCounts,
    "chat": Chat,
    "collab": Collab,
    "game": Game,
    "notifications": Notifications,
    "ticker": Ticker,
    "tokens": Tokens,
}
OPTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "notifications": NotificationOptions,
    "ticker": TickerOptions,
}
"""Services that have options (``--service-option``): their names and types, with defaults."""
OPTION_NAMES: Final = tuple(
    f"{service}.{name}" for service, type_ in OPTIONS.items() for name in type_.__struct_fields__
)


def parse_options(texts: Mapping[str, str]) -> dict[str, msgspec.Struct]:
    """The options of all services that have some, from ``SERVICE.NAME`` -> value.

    Raises ``ValueError`` that names what was wrong and what is allowed.
    """
    given: dict[str, dict[str, str]] = {service: {} for service in OPTIONS}
    for name, value in texts.items():
        service, _, option = name.partition(".")
        if service not in OPTIONS or option not in OPTIONS[service].__struct_fields__:
            raise ValueError(f"{name!r} is no option of a service: there are {', '.join(OPTION_NAMES)}")
        given[service][option] = value
    try:
        return {service: msgspec.convert(given[service], type_, strict=False) for service, type_ in OPTIONS.items()}
    except msgspec.ValidationError as error:
        raise ValueError(f"{', '.join(f'{name}={value}' for name, value in texts.items())}: {error}") from error
