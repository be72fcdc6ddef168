"""The contract of services (``servers.platform.service``), over servers in this process and without."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients.contract.platform import Member
from clients.core.client import new_client, new_shared
from clients.core.errors import RequestError
from clients.core.options import ClientOptions
from servers.gate.admission import Admission
from servers.gate.auth import ANONYMOUS
from servers.gate.errors import Refusal
from servers.gate.limits import LimitOptions, Limits
from servers.gate.origins import Origins
from servers.gate.secrets import load_secrets
from servers.hub.hub import Hub
from servers.platform.connections import Connection
from servers.platform.namespace import Namespace
from servers.platform.options import ServerOptions
from servers.platform.requests import MAX_WAITING_PER_CONNECTION
from servers.platform.service import Service, ServiceContext
from servers.process.app import run as serve
from servers.services.registry import SERVICES
from tests.conftest import run, until


class Toy(Service):
    """Records what it is told, and answers when somebody else has called."""

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self.told = TOLD
        self.calls: list[asyncio.Future[str]] = []

    async def start(self) -> None:
        self.told.append("start")

    async def stop(self) -> None:
        self.told.append("stop")

    def joined(self, connection: Connection, room: str) -> None:
        self.told.append(f"joined {room}: {len(self.context.members[room])}")
        self.context.hub.publish(room, msgspec.json.encode({"message": room}), "message")

    def left(self, connection: Connection, room: str, reason: str) -> None:
        self.told.append(f"left {room}: {len(self.context.members.get(room, ()))}")

    def call(self, connection: Connection, data: msgspec.Raw) -> Any:
        match json.loads(bytes(data)):
            case "fail":
                raise ZeroDivisionError
            case "refuse":
                raise Refusal("bad_request", "as you like")
            case "answer the others":
                for call in self.calls:
                    call.set_result("answered")
                return len(self.calls)
        return self._later(json.loads(bytes(data)))

    async def _later(self, how: str) -> str:
        if how == "fail later":
            raise ZeroDivisionError
        if how == "refuse later":
            raise Refusal("bad_request", "as you like")
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]


TOLD: list[str] = []
"""What the one toy of a test was told."""


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of these tests has the toy."""
    TOLD.clear()
    monkeypatch.setitem(SERVICES, "toy", Toy)


@asynccontextmanager
async def members(served: str, folder: Path, count: int) -> AsyncIterator[list[Member]]:
    """Clients of a server of their own, which is stopped as by its user when they have gone."""
    name, _, variant = served.partition(":")
    options = ServerOptions(transport=name, variant=variant, port=0)
    ready = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        serve(options, load_secrets("none", None, "", None, None, folder), None, ready.set_result)
    )
    url = json.loads(await ready)["url"]
    shared = new_shared(seed=1)
    polls = ClientOptions(variant=variant, poll_interval_s=0.02, hold_s=2.0)
    crew = [Member(new_client(name, url, polls, shared)) for _ in range(count)]
    receiving = [asyncio.ensure_future(one.receive()) for one in crew]
    try:
        for one in crew:
            await one.until(lambda one=one: bool(one.received))
        yield crew
    finally:
        for task in receiving:
            task.cancel()
        await asyncio.gather(*receiving, return_exceptions=True)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        shared.timer.close()


def test_hooks_are_called_in_order(served_upstream: str, tmp_path: Path) -> None:
    async def body() -> None:
        async with asyncio.timeout(30), members(served_upstream, tmp_path, 1) as (ann,):
            await ann.client.join("tea")
            await ann.client.join("cake")
            await ann.until(lambda: len(ann.of("message")) == 2)  # from the hook
            await ann.client.leave("tea")
            assert TOLD == ["start", "joined tea: 1", "joined cake: 1", "left tea: 0"]
        assert TOLD[4:] == ["left cake: 0", "stop"]

    run(body())


def test_a_coroutine_answers_later(served_upstream: str, tmp_path: Path) -> None:
    """Requests of others are answered meanwhile."""

    async def body() -> None:
        async with asyncio.timeout(30), members(served_upstream, tmp_path, 2) as (ann, bob):
            waiting = asyncio.ensure_future(ann.client.request("call", service="toy", data="wait"))

            async def is_answered() -> bool:
                return bool(await bob.client.request("call", service="toy", data="answer the others"))

            await until(is_answered, "the call that waits has come")
            assert await waiting == "answered"
            with pytest.raises(RequestError, match="as you like"):
                await ann.client.request("call", service="toy", data="refuse later")

    run(body())


def namespace_with_toy() -> Namespace:
    limits = Limits(LimitOptions(message_burst=1000, user_message_burst=1000))
    return Namespace("", ServerOptions(transport="sse"), Hub(1, 10), Admission(None, Origins(), limits), {"toy": Toy})


def call(namespace: Namespace, connection: Connection, id_: str, data: str) -> Any:
    body = {"type": "call", "id": id_, "service": "toy", "data": data}
    return namespace.requests.handle(connection, json.dumps(body).encode())


def test_a_service_that_fails_is_logged_and_its_caller_told(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        namespace, connection = namespace_with_toy(), Connection(ANONYMOUS, "::1")
        namespace.enter(connection)
        now = call(namespace, connection, "1", "fail")
        later = await call(namespace, connection, "2", "fail later")
        for n, answer in enumerate((now, later), 1):
            said = json.loads(answer)
            assert (said["id"], said["data"]["code"]) == (str(n), "internal_error")
        refused = json.loads(call(namespace, connection, "3", "refuse"))
        assert (refused["id"], refused["data"]["code"]) == ("3", "bad_request")
        assert json.loads(await call(namespace, connection, "4", "refuse later"))["data"]["code"] == "bad_request"
        assert namespace.counts()["requests_refused"] == 4

    with caplog.at_level(logging.ERROR, "pushmark"):
        run(body())
    assert [record.message for record in caplog.records] == ["service failed"] * 2


def test_coroutines_of_one_connection_are_bounded() -> None:
    async def body() -> None:
        namespace = namespace_with_toy()
        connections = [Connection(ANONYMOUS, "::1") for _ in range(2)]
        for connection in connections:
            namespace.enter(connection)
        ann, bob = connections
        waiting = []
        for n in range(MAX_WAITING_PER_CONNECTION):
            waiting.append(call(namespace, ann, str(n), "wait"))
            await asyncio.sleep(0)
        assert call(namespace, ann, "0", "wait") is waiting[0], "a repeated request is no other one"
        assert b"too_many_requests" in call(namespace, ann, "more", "wait")
        waiting.append(call(namespace, bob, "0", "wait"))
        await asyncio.sleep(0)
        assert json.loads(call(namespace, ann, "all", "answer the others"))["data"] == len(waiting)
        assert all(b"answered" in reply for reply in await asyncio.gather(*waiting))
        assert ann.waiting == 0

    run(body())
