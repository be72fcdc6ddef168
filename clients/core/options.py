"""A client's options, with every time and bound it keeps, and the address of its transport on a server."""

from typing import Final

import msgspec
from yarl import URL

from feed.rooms import DEFAULT_ROOM
from feed.transports import Transport

HEADER_SETS: Final = ("browser", "minimal")
_SCHEMES: Final = {"http": False, "ws": False, "tcp": False, "https": True, "wss": True, "tcps": True}
"""Scheme of a server's address -> TLS."""


class UrlError(ValueError):
    """The address cannot be used; the message shows what one looks like."""


class ClientOptions(msgspec.Struct, frozen=True):
    """Options of one subscriber. Seconds unless the name says otherwise."""

    room: str = DEFAULT_ROOM
    since: str = ""
    headers: str = "browser"
    """HTTP headers to send: one of ``HEADER_SETS``."""
    poll_interval_s: float = 1.0
    poll_phase_s: float = 0.0
    """Polling only: polls come at start + phase + k x interval, after one at once that brings the cursor."""
    hold_s: float = 25.0
    first_hold_s: float | None = None
    """Hold of the first request only, so that many clients started together do not time out together."""
    keep_alive: bool = True
    """Polls only: one connection for all requests, or one for each."""
    connect_timeout_s: float = 10.0
    answer_margin_s: float = 10.0
    """A poll is given up this long after its answer should have come."""
    silence_timeout_s: float = 65.0
    """A stream that brings nothing for this long, not even a heartbeat, is broken: two pings of 30 s, and 5 s."""
    backoff_base_s: float = 1.0
    backoff_factor: float = 2.0
    backoff_cap_s: float = 30.0
    max_attempts: int = 5
    request_timeout_s: float = 10.0
    """A request without an answer by then fails, however often it was sent."""
    namespace: str = ""
    token: str = ""
    ca_file: str = ""
    """Certificate authority to trust instead of the system's, for TLS."""
    variant: str = ""
    """Variant of the server, where the client must know it: Socket.IO ``websocket_only`` does not poll first."""


def target(url: str, transport: Transport, namespace: str = "") -> URL:
    """The address of a transport on the server at ``url``, whose own scheme may be that of any transport.

    A path in ``url`` replaces the transport's own. Raises ``UrlError``.
    """
    try:
        parsed = URL(url)
        if parsed.scheme not in _SCHEMES or not parsed.host or not parsed.port:
            raise ValueError("it lacks a known scheme, a host or a port")
        secure = "s" if _SCHEMES[parsed.scheme] else ""
        address = parsed.with_scheme(transport.scheme + secure).with_port(parsed.port)
        path = f"/{namespace}{transport.path}" if namespace else transport.path
        return address if parsed.path not in ("", "/") else address.with_path(path, keep_query=True)
    except (ValueError, IndexError) as error:  # yarl raises either
        example = f"{transport.scheme}://127.0.0.1:8000"
        raise UrlError(f"{url!r} is no server address such as {example}: {error}") from error
