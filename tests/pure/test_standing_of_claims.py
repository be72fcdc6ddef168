"""A claim and a token at the moments between two requests: held polls, connections that must go, acknowledgements."""

import asyncio
import json
import time

import pytest

from servers.gate.admission import Admission
from servers.gate.auth import DEV_KEY, Authenticator, Identity
from servers.gate.errors import Refusal
from servers.gate.limits import LimitOptions, Limits
from servers.gate.origins import Origins
from servers.http.polls import PollSession, open_poll
from servers.hub.hub import Hub
from servers.platform.connections import Connection
from servers.platform.namespace import Namespace
from servers.platform.options import ServerOptions
from tests.helpers.ways_in import good
from tests.transports.test_claims import CLAIMS


def a_namespace() -> Namespace:
    admission = Admission(Authenticator(DEV_KEY), Origins(), Limits(LimitOptions()))
    return Namespace("", ServerOptions(transport="long_polling", room_claims=dict(CLAIMS)), Hub(2, 10), admission)


def code_of(answer: object) -> str:
    assert isinstance(answer, bytes)
    return str(json.loads(answer)["data"].get("code", ""))


def test_a_poll_that_is_held_receives_its_room() -> None:
    """Its session has joined nothing; a token without the claim would let it go on all the same."""

    async def body() -> None:
        namespace = a_namespace()
        connection = PollSession(Identity("ann", {"is_staff": True}, time.time() + 60), "::1", namespace, 60.0)
        namespace.enter(connection, connection.session)
        scope = {"type": "http", "headers": [(b"pushmark-session", connection.session.encode())], "query_string": b""}
        renew = [json.dumps({"type": "renew", "id": str(n), "token": good("ann")}).encode() for n in range(2)]
        with open_poll(namespace, {"room": "feed-1"}, scope):
            assert code_of(namespace.requests.handle(connection, renew[0])) == "not_allowed"
        assert code_of(namespace.requests.handle(connection, renew[1])) == ""
        with pytest.raises(Refusal, match="is_staff"):
            open_poll(namespace, {"room": "feed-1"}, scope)
        namespace.leave(connection, "done", connection.session)

    asyncio.run(body())


def test_a_connection_that_must_go_is_refused_until_it_is_gone() -> None:
    """A client that takes nothing stays connected for a while, and might go on asking with a token of yesterday."""

    async def body() -> None:
        namespace = a_namespace()
        connection = Connection(Identity("ann"), "::1")
        namespace.connections.add(connection, "secret")
        ask = json.dumps({"type": "publish", "id": "1", "room": "feed", "data": 1}).encode()
        connection.end(Refusal("token_expired", "the token has expired"))
        assert code_of(namespace.requests.handle(connection, ask)) == "token_expired"
        assert namespace.hub.published == 0
        with pytest.raises(Refusal, match="has expired"):
            namespace.connections.by_session("secret")

    asyncio.run(body())


def test_only_the_addressed_user_can_acknowledge() -> None:
    async def body() -> None:
        namespace = a_namespace()
        ann, bob = (PollSession(Identity(user), "::1", namespace, 60.0) for user in ("ann", "bob"))
        for connection in (ann, bob):
            namespace.enter(connection, connection.session)
        asking = namespace.requests.handle(ann, b'{"type":"publish","id":"1","user":"ann","data":1,"ack_timeout_s":30}')
        assert isinstance(asking, asyncio.Task)
        await asyncio.sleep(0)  # it waits now
        sent = namespace.hub.room("@ann").ring.newest
        assert sent is not None
        answer = json.dumps(
            {"type": "acknowledge", "id": "2", "message": json.loads(sent.json)["data"]["message"]}
        ).encode()
        assert [code_of(namespace.requests.handle(connection, answer)) for connection in (bob, ann)] == [
            "unknown_message",
            "",
        ]
        assert code_of(await asking) == ""
        for connection in (ann, bob):
            namespace.leave(connection, "done", connection.session)

    asyncio.run(body())
