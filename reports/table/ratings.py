"""The table every article prints, as data; the rules that turn a measured number into a word; what it takes to build.

The rules were committed before the first full run (DESIGN section 4, Words). Complexity is never computed.
"""

from typing import Final

import msgspec

from feed.transports import TRANSPORTS

HIGHEST: Final = "high"
LATENCY_BOUNDS: Final = ((1.25, "very low"), (2.0, "low"), (5.0, "medium"))
"""Up to so many one-way transits (half a round trip each) the median latency has this word; above them: high."""
BANDWIDTH_BOUNDS: Final = ((1.5, "very low"), (2.5, "low"), (5.0, "medium"))
"""Up to so many multiples of the payload the wire bytes per event have this word; above them: high."""


def rate(value: float, bounds: tuple[tuple[float, str], ...]) -> str:
    """The word for a value; a bound itself still has the lower word."""
    return next((word for bound, word in bounds if value <= bound), HIGHEST)


def rules(bounds: tuple[tuple[float, str], ...]) -> str:
    """The rule in words."""
    return ", ".join(f"{word} ≤ {bound:g}" for bound, word in bounds) + f", else {HIGHEST}"


class Duty(msgspec.Struct, frozen=True):
    """Something the author of a client or the one who deploys must do, and who says so."""

    who: str
    what: str
    source: str
    url: str


class Claim(msgspec.Struct, frozen=True):
    """The article's row for one technology, and the checklist behind its complexity."""

    latency: str
    bandwidth: str
    complexity: str
    use_case: str
    duties: tuple[Duty, ...] = ()


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

POLLING_DUTIES: Final = (
    Duty(CLIENT, "a timer, and a cursor so that no event is missed or repeated", "RFC 6202, 2.1", RFC_6202),
    Duty(
        DEPLOYER, "keep connections open longer than the interval, else every poll opens one", "RFC 9112, 9.3", RFC_9112
    ),
)
LONG_POLLING_DUTIES: Final = (
    Duty(CLIENT, "ask again after every answer and every empty one, from the last cursor", "RFC 6202, 2.1", RFC_6202),
    Duty(DEPLOYER, "end each hold before any proxy on the way gives up", "RFC 6202, 5.5", RFC_6202),
    Duty(DEPLOYER, "room for one open request per client", "RFC 6202, 2.2", RFC_6202),
)
SSE_DUTIES: Final = (
    Duty(CLIENT, "nothing in a browser: EventSource reconnects and resumes by itself", "WHATWG HTML, 9.2.4", HTML_SSE),
    Duty(DEPLOYER, "proxies that do not buffer the answer", "RFC 6202, 3.2", RFC_6202),
    Duty(
        DEPLOYER, "a comment every 15 s or so; few connections per browser on HTTP/1.1", "WHATWG HTML, 9.2.7", HTML_SSE
    ),
)
WEBSOCKET_DUTIES: Final = (
    Duty(
        CLIENT,
        "reconnect with back-off, and resume: the protocol has neither cursor nor retry",
        "RFC 6455, 7.2.3",
        RFC_6455,
    ),
    Duty(DEPLOYER, "proxies that pass the Upgrade on: it is hop by hop", "RFC 9110, 7.8", RFC_9110),
    Duty(DEPLOYER, "check Origin yourself; ping against silent peers", "RFC 6455, 10.2 and 5.5.2", RFC_6455),
)

SOCKETIO_DUTIES: Final = (
    Duty(
        CLIENT,
        "its library, of a version that speaks the server's protocol",
        "Socket.IO docs, What it is not",
        SOCKETIO,
    ),
    Duty(
        CLIENT,
        "resume: a reconnected client has missed what was sent meanwhile",
        "Socket.IO docs, Delivery",
        SOCKETIO_DELIVERY,
    ),
    Duty(DEPLOYER, "sticky sessions for as long as it polls", "Socket.IO docs, Multiple nodes", SOCKETIO_NODES),
)

_UNSTATED: Final = Claim(NOT_IN_ARTICLE, NOT_IN_ARTICLE, NOT_IN_ARTICLE, NOT_IN_ARTICLE)
ARTICLE: Final[dict[str, Claim]] = dict.fromkeys(TRANSPORTS, _UNSTATED) | {
    "polling": Claim(
        "High",
        "High",
        "Low",
        "Simple updates",
        POLLING_DUTIES,
    ),
    "long_polling": Claim(
        "Medium",
        "Medium",
        "Medium",
        "Notifications",
        LONG_POLLING_DUTIES,
    ),
    "sse": Claim(
        "Low",
        "Low",
        "Low",
        "Data streaming",
        SSE_DUTIES,
    ),
    "websocket": Claim(
        "Very low",
        "Very low",
        "High",
        "Bidirectional",
        WEBSOCKET_DUTIES,
    ),
    "socketio": Claim(
        NOT_IN_ARTICLE,
        NOT_IN_ARTICLE,
        NOT_IN_ARTICLE,
        "Chat",
        SOCKETIO_DUTIES,
    ),
}
"""One row per technology, as the article has it. Socket.IO stands only in its second table, others in none."""
