"""The article's table as data, and the rules that turn a measured number into a rating word.

The rules were committed before the first full run (DESIGN section 4, Words). Complexity is never computed: next to the
article's word stand the requirements that the transport's specification and documentation state.
"""

from typing import Final

import msgspec

from feed.transports import TRANSPORTS

HIGHEST: Final = "high"
LATENCY_BOUNDS: Final = ((1.25, "very low"), (2.0, "low"), (5.0, "medium"))
"""Highest median latency, in one-way transits (half a round trip each), that gets the word; above all of them: high."""
BANDWIDTH_BOUNDS: Final = ((1.5, "very low"), (2.5, "low"), (5.0, "medium"))
"""Most wire bytes per event, in multiples of the payload, that get the word; above all of them: high."""


def rate(value: float, bounds: tuple[tuple[float, str], ...]) -> str:
    """The word for a value; a value at a bound gets that bound's word."""
    return next((word for bound, word in bounds if value <= bound), HIGHEST)


def rules(bounds: tuple[tuple[float, str], ...]) -> str:
    """The bounds as one line of text: ``very low ≤ 1.25, ..., else high``."""
    return ", ".join(f"{word} ≤ {bound:g}" for bound, word in bounds) + f", else {HIGHEST}"


class Requirement(msgspec.Struct, frozen=True):
    """What the author of a client or the deployer of a server must do, and the source that says so."""

    role: str
    what: str
    source: str
    url: str


class Claim(msgspec.Struct, frozen=True):
    """The article's row for one technology, and the requirements behind its complexity."""

    latency: str
    bandwidth: str
    complexity: str
    use_case: str
    requirements: tuple[Requirement, ...] = ()


NOT_IN_ARTICLE: Final = "-"

CLIENT: Final = "client"
DEPLOYER: Final = "deployer"
RFC_6202: Final = "https://www.rfc-editor.org/rfc/rfc6202"
RFC_6455: Final = "https://www.rfc-editor.org/rfc/rfc6455"
RFC_9110: Final = "https://www.rfc-editor.org/rfc/rfc9110"
RFC_9112: Final = "https://www.rfc-editor.org/rfc/rfc9112"
SOCKETIO: Final = "https://socket.io/docs/v4/#what-socketio-is-not"
SOCKETIO_DELIVERY: Final = "https://socket.io/docs/v4/delivery-guarantees"
SOCKETIO_NODES: Final = "https://socket.io/docs/v4/using-multiple-nodes"
HTML_SSE: Final = "https://html.spec.whatwg.org/multipage/server-sent-events.html"

POLLING_REQUIREMENTS: Final = (
    Requirement(CLIENT, "a timer, and a cursor so that no event is missed or repeated", "RFC 6202, 2.1", RFC_6202),
    Requirement(
        DEPLOYER,
        "keep connections open longer than the interval, or every poll opens a new one",
        "RFC 9112, 9.3",
        RFC_9112,
    ),
)
LONG_POLLING_REQUIREMENTS: Final = (
    Requirement(CLIENT, "ask again after every answer, empty or not, from the last cursor", "RFC 6202, 2.1", RFC_6202),
    Requirement(DEPLOYER, "end each hold before any proxy on the way gives up", "RFC 6202, 5.5", RFC_6202),
    Requirement(DEPLOYER, "room for one open request per client", "RFC 6202, 2.2", RFC_6202),
)
SSE_REQUIREMENTS: Final = (
    Requirement(
        CLIENT, "nothing in a browser: EventSource reconnects and resumes by itself", "WHATWG HTML, 9.2.4", HTML_SSE
    ),
    Requirement(DEPLOYER, "proxies that do not buffer the answer", "RFC 6202, 3.2", RFC_6202),
    Requirement(
        DEPLOYER, "a comment about every 15 s; HTTP/1.1 browsers allow few connections", "WHATWG HTML, 9.2.7", HTML_SSE
    ),
)
WEBSOCKET_REQUIREMENTS: Final = (
    Requirement(
        CLIENT,
        "reconnect with back-off, and resume: the protocol has neither cursor nor retry",
        "RFC 6455, 7.2.3",
        RFC_6455,
    ),
    Requirement(DEPLOYER, "proxies that pass Upgrade on: the header is hop by hop", "RFC 9110, 7.8", RFC_9110),
    Requirement(DEPLOYER, "check Origin yourself; ping against silent peers", "RFC 6455, 10.2 and 5.5.2", RFC_6455),
)

SOCKETIO_REQUIREMENTS: Final = (
    Requirement(
        CLIENT,
        "its library, of a version that speaks the server's protocol",
        "Socket.IO docs, What it is not",
        SOCKETIO,
    ),
    Requirement(
        CLIENT,
        "resume: a client that was away has missed what was sent meanwhile",
        "Socket.IO docs, Delivery",
        SOCKETIO_DELIVERY,
    ),
    Requirement(DEPLOYER, "sticky sessions for as long as it polls", "Socket.IO docs, Multiple nodes", SOCKETIO_NODES),
)

ARTICLE: Final[dict[str, Claim]] = dict.fromkeys(
    TRANSPORTS, Claim(NOT_IN_ARTICLE, NOT_IN_ARTICLE, NOT_IN_ARTICLE, NOT_IN_ARTICLE)
) | {
    "polling": Claim(
        "High",
        "High",
        "Low",
        "Simple updates",
        POLLING_REQUIREMENTS,
    ),
    "long_polling": Claim(
        "Medium",
        "Medium",
        "Medium",
        "Notifications",
        LONG_POLLING_REQUIREMENTS,
    ),
    "sse": Claim(
        "Low",
        "Low",
        "Low",
        "Data streaming",
        SSE_REQUIREMENTS,
    ),
    "websocket": Claim(
        "Very low",
        "Very low",
        "High",
        "Bidirectional",
        WEBSOCKET_REQUIREMENTS,
    ),
    "socketio": Claim(
        NOT_IN_ARTICLE,
        NOT_IN_ARTICLE,
        NOT_IN_ARTICLE,
        "Chat",
        SOCKETIO_REQUIREMENTS,
    ),
}
"""Transport -> its row in the article. Socket.IO is only in the article's second table; the baseline is in neither."""
