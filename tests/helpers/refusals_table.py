"""The table of doors and codes that ``test_refusals`` goes through: what is sent where, and what must come.

``tests/helpers/ways_in.py`` has the doors. Where a code has no cell, its row says why it cannot come.
"""

import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final, NamedTuple

from servers.gate.auth import mint
from tests.helpers.ways_in import Guest, What, good

OPTIONS: Final = (
    *("--source", "none", "--rooms", "2", "--history", "4", "--auth", "dev", "--namespace", "admin"),
    *("--room-claim", "staff=is_staff", "--room-claim", "vault=is_staff", "--room-claim", "feed-1=is_staff"),
    *("--allow-origin", "https://app.example.org", "--limit", "connections_per_user=3"),
    *("--limit", "rooms_per_connection=2", "--limit", "message_bytes=2000", "--limit", "strikes=100"),
    *("--limit", "messages_per_connection_hz=0.01", "--limit", "message_burst=12"),
    *("--limit", "handshakes_per_address_hz=0.01", "--limit", "handshake_burst=8"),
)
"""Together on one server: every guest has an address and a user of its own, so that none is in another's way."""
BASELINE_OPTIONS: Final = ("--source", "none", "--rooms", "2")

RECEIVING: Final = ("poll", "session_poll", "new_session", "stream", "subscribe")
"""Doors where a room is named to receive it."""
WITH_TOKEN: Final = ("poll", "new_session", "stream")
"""Of them, those where a token is shown."""
BY_HTTP: Final = ("about", "poll", "session_poll", "new_session", "leave", "plain", "control")
"""Doors where an HTTP request is read whatever the transport."""
POLLS: Final = ("polling", "long_polling")
NUMBERS: Final = count(1)

Prepare = Callable[[Guest], Awaitable[Any]]


class Cell(NamedTuple):
    """At some doors, perhaps of some transports only: what is sent, and what must come before."""

    doors: tuple[str, ...]
    what: What
    only: tuple[str, ...] = ()
    before: Prepare | None = None


class Row(NamedTuple):
    """One code: where and how it comes, and why it comes nowhere else."""

    elsewhere: str
    cells: tuple[Cell, ...] = ()


def forged(user: str) -> str:
    return mint(b"x" * 40, user, 50, time.time())


def expired(user: str) -> str:
    return good(user, -5)


def long_lived(user: str) -> str:
    return good(user, 3600)


def renewing(token: Callable[[str], str]) -> What:
    return What(body=lambda user: {"type": "renew", "token": token(user)})


def to_oneself(user: str) -> dict[str, Any]:
    return {"type": "publish", "user": user, "data": 1, "ack_timeout_s": 0.01}


def asking(type_: str, **fields: Any) -> What:
    return What(body={"type": type_, **fields})


async def connections_are_used_up(guest: Guest) -> None:
    for _ in range(3):
        other = type(guest)(guest.server, f"127.1.0.{next(NUMBERS) % 250 + 1}", guest.user)
        guest.bring(other)
        assert not (await other.enter(What())).code


async def handshakes_are_used_up(guest: Guest) -> None:
    for _ in range(8):
        other = type(guest)(guest.server, guest.address, f"{guest.user}-{next(NUMBERS)}")
        guest.bring(other)
        assert not (await other.enter(What())).code


async def requests_are_used_up(guest: Guest) -> None:
    for _ in range(12):
        assert not (await guest.ask("call", service="echo", data=1)).code


async def two_rooms_are_joined(guest: Guest) -> None:
    for room in ("tea", "cake"):
        assert not (await guest.ask("join", room=room)).code


async def the_id_is_used(guest: Guest) -> None:
    assert not (await guest.ask("call", service="echo", data=1, id="same")).code


async def the_session_is_closed(guest: Guest) -> None:
    assert not (await guest.knock("leave", What())).code


UNCHECKED: Final = "who asks was said when the session or connection began, and is not said again"
NO_ROOM: Final = "no room is named there: a request that names none is a bad_request"
ORIGIN: Final = What(headers=("origin: https://evil.example",))
MANY_ROOMS: Final = '{"schedule": {"rooms": 3}}'
LONG_URL: Final = What(query=f"x={'y' * 9000}")
LONG_BODY: Final = What(length=70_000)
BIG_HEAD: Final = What(path="GET / HTTP/1.1", headers=("host: x", f"x-big: {'z' * 33_000}"))

TABLE: Final[dict[str, Row]] = {
    "bad_request": Row(
        "what is read there is a path, a query and headers, of which the parser of HTTP has refused what is none",
        (
            Cell(("garbage",), What(path="GET / HTTP/1.1", headers=("a b: c",))),
            Cell(("garbage",), What(path="hello")),
            Cell(("request",), What(body="nonsense")),
            Cell(("request",), asking("dance")),
            Cell(("request",), asking("join", room="a b")),
            Cell(("request",), asking("publish", data=1)),
            Cell(("request",), asking("call", service="ticker", data={"op": "close"})),
            Cell(("stream",), What(auth={"room": 5}), ("socketio",)),
            Cell(("stream",), What(auth={"colour": "red"}), ("socketio",)),
            Cell(("subscribe",), What(body={"type": "publish"})),
            Cell(("control",), What(path="/feed/start", body="{"), ("sse", "raw")),
            Cell(("control",), What(path="/feed/start", body=MANY_ROOMS), ("sse", "raw")),
        ),
    ),
    "bad_cursor": Row(
        "no cursor is read there",
        (
            Cell(("poll", "session_poll", "stream", "subscribe"), What(since="nonsense")),
            Cell(("session_poll",), What(query="also=feed=nonsense")),
            Cell(("stream",), What(query="last_event_id=nonsense"), ("sse",)),
            Cell(("stream",), What(headers=("last-event-id: nonsense",)), ("sse",)),
            Cell(("request",), asking("join", room="tea", since="nonsense")),
        ),
    ),
    "bad_number": Row(
        "no number is read there",
        (Cell(("poll", "session_poll"), What(query="hold_s=56"), ("long_polling",)),),
    ),
    "bad_room": Row(
        NO_ROOM,
        tuple(Cell(RECEIVING, What(room=room)) for room in ("a b", "@ann", "@somebody", "x" * 65)),
    ),
    "unknown_room": Row(
        NO_ROOM,
        (
            Cell(RECEIVING, What(room="nowhere")),
            Cell(("request",), asking("publish", room="nowhere", data=1)),
            Cell(("request",), asking("publish", rooms=["feed", "nowhere"], data=1)),
        ),
    ),
    "not_found": Row(
        "a path is what leads to a door at all: the cells are those of the doors that answer for paths",
        (
            Cell(("about", "control"), What(path="/nothing")),
            Cell(("about",), What(path="/nowhere/poll")),
            Cell(("stream",), What(path="/nothing"), ("websocket",)),
        ),
    ),
    "unknown_session": Row(
        "no session is named there",
        (
            Cell(("session_poll", "leave"), What(session="0" * 32)),
            *(Cell(("request",), What(session=secret), ("sse", *POLLS)) for secret in ("", "0" * 32)),
        ),
    ),
    "unknown_service": Row("only a call names a service", (Cell(("request",), asking("call", service="dance")),)),
    "unknown_message": Row(
        "only acknowledge names a message", (Cell(("request",), asking("acknowledge", message="m1")),)
    ),
    "closed": Row(
        "no session is named there, or its end is the connection's",
        (Cell(("session_poll", "request", "leave"), What(), ("sse", *POLLS), the_session_is_closed),),
    ),
    "not_connected": Row("only publish names a user", (Cell(("request",), asking("publish", user="nobody", data=1)),)),
    "timed_out": Row(
        "only publish waits for somebody",
        (Cell(("request",), What(body=to_oneself)),),
    ),
    "not_joined": Row(
        "only requests are about membership",
        (
            Cell(("request",), asking("leave", room="tea")),
            Cell(("request",), asking("typing", room="tea", active=True)),
            Cell(("request",), asking("call", service="members", data={"room": "tea"})),
            Cell(("request",), asking("leave", room="staff")),
            Cell(("request",), asking("call", service="members", data={"room": "staff"})),
            *(
                Cell(("request",), asking("call", service=service, data={"op": "open", "room": "staff"}))
                for service in ("chat", "collab", "game", "tokens")
            ),
        ),
    ),
    "no_store": Row(
        "only services keep something",
        tuple(
            Cell(("request",), asking("call", service=service, data={"op": "forget"}))
            for service in ("chat", "notifications")
        ),
    ),
    "store_busy": Row("10,000 writes must wait for that: tests/pure/test_chat_service.py"),
    "store_failed": Row("the store must be full for that: tests/transports/test_chat.py"),
    "id_reused": Row(
        "only requests have an id",
        (Cell(("request",), asking("call", service="echo", data=2, id="same"), (), the_id_is_used),),
    ),
    "token_missing": Row(
        UNCHECKED,
        (Cell(WITH_TOKEN, What(token=None)), Cell(("request",), asking("renew", token=""))),
    ),
    "token_invalid": Row(
        UNCHECKED,
        (
            *(Cell(WITH_TOKEN, What(token=forged, by=by)) for by in ("header", "cookie", "query")),
            Cell(("stream",), What(token=forged, by="auth"), ("socketio",)),
            Cell(("request",), asking("renew", token="nonsense")),
        ),
    ),
    "token_expired": Row(
        UNCHECKED,
        (
            *(Cell(WITH_TOKEN, What(token=expired, by=by)) for by in ("header", "cookie", "query")),
            Cell(("stream",), What(token=expired, by="auth"), ("socketio",)),
            Cell(("request",), renewing(expired)),
        ),
    ),
    "token_too_long_lived": Row(
        f"{UNCHECKED}, or it comes where no log sees it", (Cell(WITH_TOKEN, What(token=long_lived, by="query")),)
    ),
    "not_allowed": Row(
        NO_ROOM,
        (
            *(
                Cell(tuple(door for door in RECEIVING if door != "subscribe"), What(room=room, since=since))
                for room in ("staff", "vault", "feed-1")
                for since in (None, "", "00000000-1", "nonsense")
            ),
            Cell(("stream",), What(room="staff", query="last_event_id=00000000-1"), ("sse",)),
            Cell(("stream",), What(room="staff", headers=("last-event-id: 00000000-1",)), ("sse",)),
            *(Cell(("request",), asking("join", room=room)) for room in ("staff", "vault", "feed-1", "@somebody")),
            Cell(("request",), asking("join", room="staff", since="00000000-1")),
            *(Cell(("request",), asking("publish", room=room, data=1)) for room in ("staff", "vault", "feed-1")),
            Cell(("request",), asking("publish", rooms=["feed", "staff"], data=1)),
            Cell(("request",), asking("typing", room="staff", active=True)),
            Cell(("request",), renewing(lambda user: good("somebody"))),
        ),
    ),
    "origin_not_allowed": Row(
        "it is said once, in the handshake, before there is anything else",
        (
            Cell((*BY_HTTP, "stream", "engine"), ORIGIN),
            Cell(("request",), asking("leave", room="tea")._replace(headers=ORIGIN.headers), ("sse", *POLLS)),
        ),
    ),
    "too_many_connections": Row(
        "it counts where a connection or session begins",
        (Cell(("new_session", "stream"), What(), (), connections_are_used_up),),
    ),
    "too_many_rooms": Row(
        "rooms are joined by request", (Cell(("request",), asking("join", room="third"), (), two_rooms_are_joined),)
    ),
    "too_many_requests": Row("a hundred messages must wait: tests/pure/test_requests.py"),
    "rate_limited": Row(
        "a poll is neither a handshake nor a request",
        (
            Cell(("request",), asking("call", service="echo"), (), requests_are_used_up),
            Cell(("new_session", "stream"), What(), (), handshakes_are_used_up),
        ),
    ),
    "message_too_large": Row(
        "no message is taken there", (Cell(("request",), asking("publish", room="feed", data="x" * 2000)),)
    ),
    "method_not_allowed": Row(
        "a message has no method, and Engine.IO's is the library's to refuse",
        (
            Cell(BY_HTTP, What(method="PUT")),
            Cell(("stream",), What(method="PUT"), ("sse",)),
            Cell(("request",), What(method="GET", session=""), ("sse", *POLLS)),
        ),
    ),
    "request_timeout": Row(
        "it takes its time: tests/transports/test_deadlines.py and tests/transports/test_bad_input.py"
    ),
    "body_too_large": Row(
        "what comes there is a message or a frame, with a bound of its own",
        (
            Cell((*BY_HTTP, "engine"), LONG_BODY),
            Cell(("stream",), LONG_BODY, ("sse",)),
            Cell(("request",), LONG_BODY, ("sse", *POLLS)),
        ),
    ),
    "url_too_long": Row(
        "a message has no URL",
        (
            Cell((*BY_HTTP, "stream", "engine"), LONG_URL),
            Cell(("request",), LONG_URL, ("sse", *POLLS)),
        ),
    ),
    "upgrade_required": Row("only the WebSocket's address wants one", (Cell(("plain",), What()),)),
    "headers_too_large": Row("the parser counts before any door is known", (Cell(("garbage",), BIG_HEAD),)),
    "unexpected_message": Row("all others take messages", (Cell(("second_frame",), What(body="{}")),)),
    "frame_too_large": Row(
        "elsewhere the libraries close with 1009: tests/transports/test_websocket.py",
        (Cell(("subscribe",), What(body={"type": "x" * 5000})),),
    ),
    "internal_error": Row("it would be a fault of the server"),
}
