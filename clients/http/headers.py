"""The HTTP headers that clients send: those of a browser, or only what the formats ask for (``headers.json``)."""

import json
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).with_name("headers.json")


def header_set(name: str, kind: str, base: str) -> dict[str, str]:
    """The headers of ``fetch``, ``eventsource`` or ``websocket``, with ``base`` as the page's origin.

    ``name``: one of ``clients.core.options.HEADER_SETS``.
    """
    headers: dict[str, str] = json.loads(_FILE.read_text())[name][kind]
    return {key: value.replace("{base}", base) for key, value in headers.items()}


def authorization(token: str) -> dict[str, str]:
    """The header that carries a bearer token (RFC 6750, section 2.1); no header without a token."""
    return {"authorization": f"Bearer {token}"} if token else {}
