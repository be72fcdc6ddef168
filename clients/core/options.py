"""What a client is told: where, which room, from which cursor, and every time and bound it keeps."""

import json
from pathlib import Path
from typing import Final

import msgspec
from yarl import URL

from feed.rooms import DEFAULT_ROOM

TRANSPORTS: Final = {
    "polling": "clients.polling:Polling",
    "long_polling": "clients.long_polling:LongPolling",
    "sse": "clients.sse:Sse",
    "websocket": "clients.websocket:WebSocket",
    "socketio": "clients.socketio:SocketIo",
    "raw": "clients.raw:Raw",
}
"""Transport -> its client class. The one list of what can be received."""

HEADER_SETS: Final = ("browser", "minimal")
_SCHEMES: Final = {"http": False, "ws": False, "tcp": False, "https": True, "wss": True, "tcps": True}
"""Scheme of a server's address -> TLS."""
_HEADERS_FILE: Final = Path(__file__).with_name("headers.json")


class UrlError(ValueError):
    """The address cannot be used; the message says what one looks like."""


class ClientOptions(msgspec.Struct, frozen=True):
    """One subscriber. Seconds unless the name says otherwise."""

    room: str = DEFAULT_ROOM
    since: str = ""
    headers: str = "browser"
    poll_interval_s: float = 1.0
    poll_phase_s: float = 0.0
    """The cadence of a poller is its start + phase + k x interval; its first poll is at once, to learn the cursor."""
    hold_s: float = 25.0
    first_hold_s: float | None = None
    """Hold of the first request only, so that many clients started together do not time out together."""
    keep_alive: bool = True
    """Polls only: one connection for all requests, or one for each."""
    connect_timeout_s: float = 10.0
    answer_margin_s: float = 10.0
    """A poll is given up this long after its answer should have come."""
    silence_timeout_s: float = 65.0
    """A stream that brings nothing, not even a heartbeat, for this long counts as broken: two pings of 30 s, and 5."""
    backoff_base_s: float = 1.0
    backoff_factor: float = 2.0
    backoff_cap_s: float = 30.0
    max_attempts: int = 5
    request_timeout_s: float = 10.0
    """A request that has no answer by then fails, however often it was sent."""
    namespace: str = ""
    token: str = ""
    ca_file: str = ""
    """Certificate authority to trust in the place of the system's, for TLS."""
    variant: str = ""
    """Of the server, where the client must know it: Socket.IO ``websocket_only`` does not poll first."""


def target(url: str, scheme: str, default_path: str, namespace: str = "") -> URL:
    """The address of a transport on the server at ``url``, whose own scheme may be that of any transport.

    Raises ``UrlError``.
    """
    try:
        parsed = URL(url)
        if parsed.scheme not in _SCHEMES or not parsed.host or not parsed.port:
            raise ValueError("no scheme, host or port that could be used")
        secure = "s" if _SCHEMES[parsed.scheme] else ""
        address = parsed.with_scheme(scheme + secure).with_port(parsed.port)
        path = f"/{namespace}{default_path}" if namespace else default_path
        return address if parsed.path not in ("", "/") else address.with_path(path, keep_query=True)
    except (ValueError, IndexError) as error:  # yarl raises either
        raise UrlError(f"{url!r} is no server address such as {scheme}://127.0.0.1:8000: {error}") from error


def authorization(token: str) -> dict[str, str]:
    """The header that says who asks (RFC 6750, section 2.1); none without a token."""
    return {"authorization": f"Bearer {token}"} if token else {}


def header_set(name: str, kind: str, base: str) -> dict[str, str]:
    """The headers that ``fetch``, ``eventsource`` or ``websocket`` sends, with ``base`` as the page's origin."""
    headers: dict[str, str] = json.loads(_HEADERS_FILE.read_text())[name][kind]
    return {key: value.replace("{base}", base) for key, value in headers.items()}
