"""The claims under test, one row per claim of the article (DESIGN section 1), and how each is judged. Data only.

The rules were written down before the first run that they judge (decision 0010 has the reasons); decision 0011 has the
words of the verdicts.
"""

from typing import Final

import msgspec


class ByWord(msgspec.Struct, frozen=True):
    """The measured number has one of these rating words (``reports.table.ratings``)."""

    metric: str
    words: tuple[str, ...]


class ByOrder(msgspec.Struct, frozen=True):
    """The transport has more (or less) of a metric than every one of ``rivals``. Every such metric is a cost."""

    metric: str
    rivals: tuple[str, ...]
    more: bool


class ByCheck(msgspec.Struct, frozen=True):
    """A capability check (``bench.capabilities.checks``) gives this answer."""

    check: str
    answer: bool


class NotJudged(msgspec.Struct, frozen=True):
    """No number can settle the claim; ``reason`` says why."""

    reason: str


class ByScenario(msgspec.Struct, frozen=True):
    """In these scenarios the transport suits as ``reports.table.suits`` says."""

    scenarios: tuple[str, ...]


Judged = ByWord | ByOrder | ByCheck | ByScenario | NotJudged


class Claim(msgspec.Struct, frozen=True):
    """One claim of the article about one technology, in the article's words, and how it is judged."""

    transport: str
    words: str
    by: Judged


LATENCY: Final = "latency_ms_p50"
BYTES: Final = "wire_bytes_per_event"
COMPLEXITY: Final = NotJudged(
    "complexity is not a number; the report has the requirements and the shortest client's lines"
)

BURDENS: Final = frozenset({"asks_on_a_clock", "opens_connections"})
"""Capability checks whose *yes* is bad news for the user; the *yes* of every other check is good news."""

CLAIMS: Final = (
    Claim("polling", "latency: high", ByWord(LATENCY, ("high",))),
    Claim("polling", "bandwidth: high", ByWord(BYTES, ("high",))),
    Claim("polling", "complexity: low, simple", COMPLEXITY),
    Claim("polling", "timed requests", ByCheck("asks_on_a_clock", True)),
    Claim(
        "polling",
        "high resource use",
        ByOrder("server_cpu_us_per_event", ("long_polling", "sse", "websocket"), more=True),
    ),
    Claim("polling", "use: simple updates", NotJudged("no scenario is about simple updates")),
    Claim("long_polling", "latency: medium", ByWord(LATENCY, ("medium",))),
    Claim("long_polling", "bandwidth: medium", ByWord(BYTES, ("medium",))),
    Claim("long_polling", "complexity: medium", COMPLEXITY),
    Claim("long_polling", "held until data is ready", ByCheck("waits_for_data", True)),
    Claim("long_polling", "fewer requests than polling", ByOrder("requests_per_event", ("polling",), more=False)),
    Claim("long_polling", "frequent connection open and close", ByCheck("opens_connections", True)),
    Claim("long_polling", "use: notifications", ByScenario(("notifications",))),
    Claim("sse", "latency: low", ByWord(LATENCY, ("low",))),
    Claim("sse", "bandwidth: low", ByWord(BYTES, ("low",))),
    Claim("sse", "complexity: low", COMPLEXITY),
    Claim("sse", "one-way", ByCheck("sends_where_it_receives", False)),
    Claim("sse", "plain HTTP: works through a proxy that forwards no Upgrade", ByCheck("passes_a_plain_proxy", True)),
    Claim("sse", "reconnects by itself in a browser", ByCheck("reconnects_in_a_browser", True)),
    Claim("sse", "use: data streaming, data push", ByScenario(("tokens", "ticker"))),
    Claim("websocket", "latency: very low", ByWord(LATENCY, ("very low",))),
    Claim("websocket", "bandwidth: very low", ByWord(BYTES, ("very low",))),
    Claim("websocket", "complexity: high", COMPLEXITY),
    Claim("websocket", "full duplex", ByCheck("sends_where_it_receives", True)),
    Claim("websocket", "low latency", ByWord(LATENCY, ("very low", "low"))),
    Claim("websocket", "needs dedicated support on the way and in the server", ByCheck("passes_a_plain_proxy", False)),
    Claim("websocket", "use: bidirectional, game sync", ByScenario(("game",))),
    Claim(
        "socketio",
        "use: chat, notifications, collaborative editing with OT or CRDT",
        ByScenario(("chat", "notifications", "collab")),
    ),
)
