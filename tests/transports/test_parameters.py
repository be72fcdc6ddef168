"""What is empty in a request is absent, and of what is said twice the last counts: on every way in alike."""

from collections.abc import Callable
from itertools import count
from typing import Final

import pytest

from tests.conftest import Running, Start, run
from tests.helpers.ways_in import Guest, Raw, Said, What, allowed, good
from tests.helpers.ways_in_by_sockets import PLACES, SocketIo, doors_of, guests_of

NUMBERS: Final = count(1)
EVERYWHERE: Final = pytest.mark.parametrize(("served", "kind"), PLACES)

Serving = Callable[[str], Running]


@pytest.fixture
def serving(share: Start) -> Serving:
    """One server of each kind for all tests."""
    return lambda served: share(served, "--source", "none", *(["--auth", "dev"] if served != "raw" else []))


def newcomer(kind: type[Guest], server: Running) -> Guest:
    return kind(server, "127.0.0.1", f"u{next(NUMBERS)}")


async def knock_as_another(kind: type[Guest], server: Running, door: str, what: What) -> Said:
    async with newcomer(kind, server) as guest:
        return await guest.knock(door, what)


@pytest.mark.parametrize(("served", "kind"), [*PLACES, ("raw", Raw)])
def test_what_is_empty_is_absent(serving: Serving, served: str, kind: type[Guest]) -> None:
    server = serving(served)
    empty = What(room="", since="", query="last_event_id=&also=&token=&hold_s=")
    forms = [empty, What(query="room=&since=")]
    if issubclass(kind, SocketIo):
        forms.append(What(auth={"room": "", "since": "", "token": ""}))

    async def body() -> None:
        for door in (*doors_of(kind), *(["subscribe"] if kind is Raw else [])):
            for what in forms:
                answer = allowed(await knock_as_another(kind, server, door, what))
                assert (answer.envelope["room"], answer.data["resume"]) == ("feed", "new")
            if kind is not Raw:
                nobody = What(token=None, query="token=", headers=("authorization: Bearer ", "cookie: pushmark_token="))
                if door != "session_poll":
                    assert (await knock_as_another(kind, server, door, nobody)).code == "token_missing"

    run(body())


@EVERYWHERE
def test_of_what_is_said_twice_the_last_counts(serving: Serving, served: str, kind: type[Guest]) -> None:
    server = serving(served)
    reads_query = not issubclass(kind, SocketIo)

    async def body() -> None:
        for door in doors_of(kind):
            token, bad = good("twice"), "nonsense"
            cases = {f"token={bad}&token={token}": "", f"token={token}&token={bad}": "token_invalid"}
            if door == "session_poll":
                cases = {}
            answers = {q: await knock_as_another(kind, server, door, What(token=None, query=q)) for q in cases}
            if reads_query:
                rooms = {"room=nowhere&room=feed": "", "room=feed&room=nowhere": "unknown_room", "room=x&room=": ""}
                answers |= {q: await knock_as_another(kind, server, door, What(query=q)) for q in rooms}
                cases |= rooms
            assert {query: answer.code for query, answer in answers.items()} == cases

    run(body())


def test_engine_io_is_told_the_last_too(serving: Serving) -> None:
    """So that the session that it takes is the one that is remembered here."""

    async def body() -> None:
        for kind in guests_of("socketio"):
            async with newcomer(kind, serving("socketio")) as guest:
                allowed(await guest.knock("stream", What(query="EIO=3&EIO=4&sid=nonsense&sid=")))

    run(body())
