"""A room with a claim: reading, joining, sending to it and listing its members need the claim, at every moment."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final, get_args

import pytest

from feed.requests import AnyRequest
from servers.services.registry import SERVICES
from tests.conftest import SERVED, Running, Start, run
from tests.helpers.ways_in import Guest, Polls, Said, Sse, What, allowed, good
from tests.helpers.ways_in_by_sockets import PLACES, doors_of, ways_of

CLAIMS: Final = {"staff": "is_staff", "vault": "is_staff", "feed-1": "is_staff"}
"""One room that somebody is in, one that nobody is in, and one of the feed."""
OPTIONS: Final = (
    *("--source", "none", "--rooms", "2", "--auth", "dev", "--namespace", "admin"),
    *(word for room, claim in CLAIMS.items() for word in ("--room-claim", f"{room}={claim}")),
)
NAMESPACES: Final = ("", "admin")
NUMBERS: Final = count(1)
EVERYWHERE: Final = pytest.mark.parametrize(("served", "kind"), PLACES)
Serving = Callable[[str], Running]
Kind = type[Guest]


@pytest.fixture
def serving(share: Start) -> Serving:
    """One server of each kind for all tests."""
    return lambda served: share(served, *OPTIONS)


def insider(user: str) -> str:
    return good(user, is_staff=True)


def newcomer(kind: Kind, server: Running) -> Guest:
    return kind(server, "127.0.0.1", f"u{next(NUMBERS)}")


@asynccontextmanager
async def member(kind: Kind, server: Running, namespace: str = "") -> AsyncIterator[tuple[Guest, str]]:
    """Somebody with the claim who has joined, and the cursor that the room is at after a message."""
    async with newcomer(kind, server) as guest:
        here = What(token=insider, namespace=namespace)
        allowed(await guest.knock("enter", here))
        allowed(await guest.ask("join", here, room="staff"))
        sent = allowed(await guest.ask("publish", here, room="staff", data="secret"))
        yield guest, sent.data["cursors"]["staff"]


def with_cursor(kind: Kind, what: What, cursor: str) -> list[What]:
    """In all ways in which a cursor may be said."""
    by_sse = [
        what._replace(headers=(f"last-event-id: {cursor}",)),
        what._replace(query=f"last_event_id={cursor}"),
    ]
    return [what._replace(since=cursor), *(by_sse if kind is Sse else [])]


async def knock_as_another(kind: Kind, server: Running, door: str, what: What) -> Said:
    async with newcomer(kind, server) as guest:
        return await guest.knock(door, what)


@EVERYWHERE
def test_the_claim_lets_in_and_without_it_nothing_is_learned(serving: Serving, served: str, kind: Kind) -> None:
    """With whatever cursor: not even whether there is such a room, and how far it is."""
    server = serving(served)

    async def body() -> None:
        for namespace in NAMESPACES:
            async with member(kind, server, namespace) as (_, cursor):
                for door in doors_of(kind):
                    for by in ways_of(kind):
                        here = What(room="staff", namespace=namespace, by=by)
                        if door != "session_poll":  # whose token was shown to get the session
                            allowed(await knock_as_another(kind, server, door, here._replace(token=insider)))
                        answers = [
                            await knock_as_another(kind, server, door, resuming._replace(room=room))
                            for since in (cursor, f"{cursor}9", "nonsense")
                            for resuming in (here, *with_cursor(kind, here, since))
                            for room in ("staff", "vault")
                        ]
                        assert {answer.code for answer in answers} == {"not_allowed"}, answers
                        assert {answer.data["message"].count("is_staff") for answer in answers} == {1}

    run(body())


@EVERYWHERE
def test_a_session_or_stream_with_the_claim_reads_and_resumes(serving: Serving, served: str, kind: Kind) -> None:
    server = serving(served)

    async def body() -> None:
        async with member(kind, server) as (guest, cursor):
            before = f"{cursor.partition('-')[0]}-0"
            again = "session_poll" if "session_poll" in kind.doors else "stream"
            async with newcomer(kind, server) as other:
                reader = guest if again == "session_poll" else other
                answer = allowed(await reader.knock(again, What(room="staff", since=before, token=insider)))
            assert answer.envelope["room"] == "staff" and answer.data["resume"] == "resumed"

    run(body())


REQUESTS: Final[dict[str, list[tuple[dict[str, Any], str]]]] = {
    "publish": [
        *(({"room": room, "data": 1}, "not_allowed") for room in CLAIMS),
        *(({"rooms": ["feed", room], "data": 1}, "not_allowed") for room in CLAIMS),
        ({"everyone": True, "data": 1}, ""),
        ({"room": "feed", "data": 1}, ""),
    ],
    "join": [
        *(({"room": room, "since": since}, "not_allowed") for room in CLAIMS for since in ("", "CURSOR", "x")),
        ({"room": "@MEMBER"}, "not_allowed"),
        ({"room": "@MEMBER", "since": "00000000-0"}, "not_allowed"),
    ],
    "leave": [({"room": room}, "not_joined") for room in CLAIMS],
    "typing": [({"room": room, "active": active}, "not_allowed") for room in CLAIMS for active in (True, False)],
    "acknowledge": [({"message": "0" * 16}, "unknown_message")],
    "renew": [({"token": "MEMBERS_TOKEN"}, "not_allowed")],
    "call": [
        *(({"service": "members", "data": {"room": room}}, "not_joined") for room in CLAIMS),
        *(
            ({"service": service, "data": {"op": "open", "room": room}}, "not_joined")
            for service in ("chat", "collab", "game", "tokens")
            for room in CLAIMS
        ),
        ({"service": "connections"}, ""),
        ({"service": "echo", "data": "staff"}, ""),
        ({"service": "ticker", "data": {"op": "open"}}, ""),
        ({"service": "notifications", "data": {"op": "open"}}, "no_store"),
    ],
}
"""Requests, and the code of the reply to a client that lacks the claim; empty for an ack."""


@EVERYWHERE
def test_no_request_gets_around_the_claim(serving: Serving, served: str, kind: Kind) -> None:
    server = serving(served)

    async def body() -> None:
        for namespace in NAMESPACES:
            async with member(kind, server, namespace) as (guest, cursor):
                known = {"CURSOR": cursor, "@MEMBER": f"@{guest.user}", "MEMBERS_TOKEN": insider(guest.user)}
                for type_, rows in REQUESTS.items():
                    async with newcomer(kind, server) as other:
                        for fields, code in rows:
                            said = {k: known.get(v, v) if isinstance(v, str) else v for k, v in fields.items()}
                            answer = await other.ask(type_, What(namespace=namespace), **said)
                            assert answer.code == code, (namespace, type_, fields, answer)
                            assert "staff" not in str(answer.envelope) or code or fields.get("data") == "staff"

    run(body())


def test_every_request_and_every_service_is_tried() -> None:
    assert {str(request.__struct_config__.tag) for request in get_args(AnyRequest)} == set(REQUESTS)
    assert {fields["service"] for fields, _ in REQUESTS["call"]} == set(SERVICES)


@EVERYWHERE
def test_everyone_means_the_rooms_where_the_sender_may_send(serving: Serving, served: str, kind: Kind) -> None:
    server = serving(served)

    async def body() -> None:
        async with member(kind, server) as (guest, _), newcomer(kind, server) as other:
            reached = [
                set(allowed(await who.ask("publish", everyone=True, data=1)).data["cursors"]) for who in (guest, other)
            ]
            assert reached[0] - reached[1] == {"staff", "feed-1"} and "feed" in reached[1]

    run(body())


@EVERYWHERE
def test_a_claim_cannot_be_dropped_while_its_room_is_received(serving: Serving, served: str, kind: Kind) -> None:
    """After leaving it can, and then the room is closed to all that worked before."""
    server = serving(served)

    async def body() -> None:
        async with member(kind, server) as (guest, cursor):
            without = good(guest.user)
            assert (await guest.ask("renew", token=without)).code == "not_allowed"
            allowed(await guest.ask("publish", room="staff", data=1))
            allowed(await guest.ask("leave", room="staff"))
            allowed(await guest.ask("join", room="staff", since=cursor))
            assert (await guest.ask("renew", token=without)).code == "not_allowed"
            allowed(await guest.ask("call", service="members", data={"room": "staff"}))
            allowed(await guest.ask("leave", room="staff"))
            allowed(await guest.ask("renew", token=without))
            for type_, fields, code in (
                ("join", {"since": cursor}, "not_allowed"),
                ("publish", {"data": 1}, "not_allowed"),
                ("typing", {"active": True}, "not_allowed"),
                ("call", {"service": "members", "data": {"room": "staff"}}, "not_joined"),
            ):
                named = {} if type_ == "call" else {"room": "staff"}
                assert (await guest.ask(type_, **named, **fields)).code == code
            if "session_poll" in kind.doors:
                poll = What(room="staff", query=f"also=staff={cursor}")
                assert (await guest.knock("session_poll", poll)).code == "not_allowed"
                answer = allowed(await guest.knock("session_poll", poll._replace(room="feed")))
                assert "staff" not in {event["room"] for event in answer.data["events"]}

    run(body())


@EVERYWHERE
def test_the_first_room_counts_as_received(serving: Serving, served: str, kind: Kind) -> None:
    server = serving(served)

    async def body() -> None:
        if "stream" not in kind.doors:
            return  # a session of polls has no first room: the test of held polls is below
        async with member(kind, server), newcomer(kind, server) as guest:
            allowed(await guest.knock("enter", What(room="staff", token=insider)))
            assert (await guest.ask("renew", token=good(guest.user))).code == "not_allowed"
            assert (await guest.ask("leave", room="staff")).code == "not_joined"

    run(body())


@EVERYWHERE
def test_no_cached_reply_is_given_without_the_claim(serving: Serving, served: str, kind: Kind) -> None:
    """The same user, the same program, the same id: but a token without the claim."""
    server = serving(served)
    same = {"instance": "program", "id": "same"}
    asks = {"publish": {"room": "staff", "data": 1}, "call": {"service": "members", "data": {"room": "staff"}}}

    async def body() -> None:
        for type_, fields in asks.items():
            async with member(kind, server) as (guest, _), newcomer(kind, server) as other:
                other.user = guest.user
                first = allowed(await guest.ask(type_, **same, **fields))
                assert await guest.ask(type_, **same, **fields) == first or type_ == "call"
                assert (await other.ask(type_, **same, **fields)).code in ("not_allowed", "not_joined")

    run(body())


@EVERYWHERE
def test_a_cached_reply_names_no_room_that_its_new_reader_may_not_know(
    serving: Serving, served: str, kind: Kind
) -> None:
    """A message to everyone names the rooms that it went to; and a token may be renewed without the claim."""
    server = serving(served)
    everyone = {"instance": "program", "id": "all", "everyone": True, "data": 1}
    members = {"instance": "program", "id": "who", "service": "members", "data": {"room": "staff"}}

    async def body() -> None:
        async with member(kind, server) as (guest, _), newcomer(kind, server) as other:
            other.user = guest.user
            assert "staff" in allowed(await guest.ask("publish", **everyone)).data["cursors"]
            cursors = allowed(await other.ask("publish", **everyone)).data["cursors"]
            assert "staff" not in cursors and "feed" in cursors
            allowed(await guest.ask("call", **members))
            allowed(await guest.ask("leave", room="staff"))
            allowed(await guest.ask("renew", token=good(guest.user)))
            assert (await guest.ask("call", **members)).code == "not_joined"

    run(body())


@EVERYWHERE
def test_nobody_reads_the_inbox_of_somebody_who_is_connected(serving: Serving, served: str, kind: Kind) -> None:
    server = serving(served)

    async def body() -> None:
        for namespace in NAMESPACES:
            async with newcomer(kind, server) as guest:
                allowed(await guest.knock("enter", What(namespace=namespace)))
                inbox = f"@{guest.user}"
                for door in doors_of(kind):
                    for since in (None, "00000000-0"):
                        what = What(room=inbox, since=since, namespace=namespace)
                        assert (await knock_as_another(kind, server, door, what)).code == "bad_room"
                assert (await knock_as_another(kind, server, "about", What())).code == ""
                allowed(await guest.ask("join", What(namespace=namespace), room=inbox, since="00000000-0"))

    run(body())


@pytest.mark.parametrize("served", [served for served in SERVED if served.startswith("long_polling")])
def test_a_poll_is_held_no_longer_than_its_token_is_good(serving: Serving, served: str) -> None:
    """The hold is longer than a guest's patience."""

    async def body() -> None:
        async with newcomer(Polls, serving(served)) as guest:
            begun = allowed(await guest.knock("poll", What()))
            held = What(since=begun.envelope["id"], token=lambda user: good(user, 1), query="hold_s=50")
            assert allowed(await guest.knock("poll", held)).data["events"] == []
            assert (await guest.knock("poll", held._replace(token=lambda user: good(user, -1)))).code == "token_expired"

    run(body())
