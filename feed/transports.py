"""The transports: one row each, with every fact that both ends of a connection need. Pure (docs/add-a-transport.md).

How a transport is served, received, predicted and drawn stands under its name in ``servers``, ``clients``,
``bench.theory`` and ``reports.style``.
"""

from typing import Final, NamedTuple

from feed.wire import encode_frame


class Transport(NamedTuple):
    """The facts of one transport."""

    name: str
    """Name of its modules, in commands and in results."""
    label: str
    """Name in tables and messages."""
    scheme: str
    """Scheme of a server's address without TLS; with TLS an ``s`` is appended."""
    path: str
    """Path of its subscriptions on a server; empty without HTTP."""
    is_poll: bool
    """Does each answer need a request? Otherwise one connection carries a stream of events and heartbeats."""
    takes_requests: bool
    """May its clients send requests (docs/protocol.md, Requests)?"""
    heartbeat: str
    """What it sends while there is no event."""
    opening: bytes
    """The shortest valid first bytes of a subscriber, whatever the server's address."""
    variants: tuple[str, ...] = ()
    """Named variants of its server; the empty variant is the one in the table."""
    measuring_only: tuple[str, ...] = ()
    """Named servers that lack parts of the protocol, and serve nothing but a measurement."""


FLOOR: Final = "floor"
"""The variant of the baseline that only writes bytes which exist already (``servers.floor``)."""

CONDITIONAL: Final = "conditional"
"""The variant of polling whose answers have an ``ETag``: a poll without news is answered with 304 (RFC 9110, 13)."""
POLL_INTERVAL: Final = "X-Poll-Interval"
"""Header of its answers: seconds that a client should wait between polls (as GitHub's notifications have it)."""

_UPGRADE: Final = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
)
_SUBSCRIBE: Final = encode_frame(b'{"type":"subscribe"}')


def _get(target: str, fields: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode("ascii")


TRANSPORTS: Final[dict[str, Transport]] = {
    row.name: row
    for row in (
        Transport(
            "polling", "Polling", "http", "/poll", True, True, "an empty answer", _get("/poll"), ("tuned", CONDITIONAL)
        ),
        Transport(
            "long_polling",
            "Long polling",
            "http",
            "/long-poll",
            True,
            True,
            "an empty answer at the end of a hold",
            _get("/long-poll"),
            ("tuned",),
        ),
        Transport("sse", "SSE", "http", "/sse", False, True, "a comment", _get("/sse"), ("plain",)),
        Transport(
            "websocket", "WebSocket", "ws", "/ws", False, True, "a ping frame", _get("/ws", _UPGRADE), ("tuned",)
        ),
        Transport(
            "socketio",
            "Socket.IO",
            "http",
            "/socket.io/",
            False,
            True,
            "an Engine.IO ping packet",
            _get("/socket.io/?EIO=4&transport=websocket", _UPGRADE),
            ("websocket_only",),
        ),
        Transport("raw", "Raw TCP", "tcp", "", False, False, "an empty frame", _SUBSCRIBE, (), (FLOOR,)),
    )
}
"""Transport by name, in the order of every table; the baseline comes last."""

POLLING: Final = "polling"
POLLS: Final = tuple(name for name, row in TRANSPORTS.items() if row.is_poll)
BASELINE: Final = "raw"
"""Bare TCP: for comparison, not a product. Something else may cost less."""
CONTENDERS: Final = tuple(name for name in TRANSPORTS if name != BASELINE)
