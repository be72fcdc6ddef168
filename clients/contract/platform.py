"""The second half of the contract: requests, rooms and users, the same on every transport that takes requests.

The checks need a server with authentication, since messages to a user need users.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final

from clients.contract.feed import Bench, expect
from clients.core.client import Client
from clients.core.errors import RequestError
from feed.envelope import Envelope
from feed.requests import encode_request


class Member:
    """A client that receives in the background, and the envelopes that it has received."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received: list[Envelope] = []
        self._arrived = asyncio.Event()

    async def receive(self) -> None:
        """Collect envelopes until cancelled."""
        async with aclosing(self.client.events()) as stream:
            async for received in stream:
                self.received.append(received.envelope)
                self._arrived.set()

    def of(self, type_: str, room: str | None = None) -> list[Any]:
        """The data of all envelopes of a type, in one room or in all rooms."""
        return [item.value() for item in self.received if item.type == type_ and room in (None, item.room)]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds for the received envelopes."""
        while not holds():
            self._arrived.clear()
            await self._arrived.wait()

    async def gets(self, count: int, type_: str, room: str) -> None:
        """Wait until ``count`` envelopes of a type have come in a room."""
        await self.until(lambda: len(self.of(type_, room)) >= count)

    async def settled(self) -> None:
        """Wait until everything published before has come: a message to itself comes after it."""
        await self.client.request("call", service="echo", data=None)
        before = len(self.of("message"))
        await self.client.request("publish", room="settled", data="settled")
        await self.until(lambda: len(self.of("message")) > before)


@asynccontextmanager
async def member(bench: Bench, user: str, *rooms: str) -> AsyncIterator[Member]:
    """A connected client of a user that has joined ``rooms``."""
    one = Member(bench.client(user=user))
    task = asyncio.ensure_future(one.receive())
    try:
        await _first(task, one.until(lambda: bool(one.received)))
        for room in rooms:
            await one.client.join(room)
        yield one
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _first(task: "asyncio.Future[None]", waiting: Awaitable[None]) -> None:
    """Wait for ``waiting``, or raise why receiving has failed."""
    done, _ = await asyncio.wait({task, asyncio.ensure_future(waiting)}, return_when=asyncio.FIRST_COMPLETED)
    for one in done:
        one.result()


async def acknowledges_requests(bench: Bench) -> None:
    """Every request gets an ack with its data, or an error that names what is wrong and what is allowed."""
    async with member(bench, "ann") as ann:
        data = {"text": "grüß dich", "n": [1, 2.5, None, True]}
        expect(await ann.client.request("call", service="echo", data=data) == data, "the echo differs")
        for fields, code, named in (
            ({"type_": "call", "service": "nothing"}, "unknown_service", "echo"),
            ({"type_": "publish", "data": 1}, "bad_request", "room"),
            ({"type_": "publish", "data": 1, "room": "a b"}, "bad_request", "$.room"),
            ({"type_": "publish", "data": 1, "room": "nowhere"}, "unknown_room", "nowhere"),
            ({"type_": "fly", "data": 1}, "bad_request", "$.type"),
            ({"type_": "join"}, "bad_request", "room"),
            ({"type_": "leave", "room": "feed"}, "not_joined", "feed"),
            ({"type_": "publish", "data": 1, "user": "nobody"}, "not_connected", "nobody"),
            ({"type_": "join", "room": "@bob"}, "not_allowed", "@bob"),
        ):
            await _refused(ann, code, named, **fields)


async def rooms_reach_their_members(bench: Bench) -> None:
    """A message to a room reaches every member once, in the room's order; ``except_me`` leaves out the sender."""
    async with member(bench, "ann", "tea") as ann, member(bench, "bob", "tea") as bob, member(bench, "eve") as eve:
        answer = await ann.client.request("publish", room="tea", data={"n": 1})
        await bob.client.request("publish", room="tea", data={"n": 2})
        await ann.client.request("publish", room="tea", data={"n": 3}, except_me=True)
        await bob.client.request("publish", room="tea", data={"n": 4})
        for one, numbers in ((ann, [1, 2, 4]), (bob, [1, 2, 3, 4])):
            await one.gets(len(numbers), "message", "tea")
            found = [said["data"]["n"] for said in one.of("message", "tea")]
            expect(found == numbers, f"messages came as {found}, not {numbers}")
            expect(
                one.client.sessions.of("tea").silently_lost == 0,
                "a message that was not for the sender looks lost to it",
            )
        said = bob.of("message", "tea")[0]
        expect((said["from"], said["user"]) == (ann.client.id, "ann"), f"the sender is given as {said}")
        expect(said["message"] == answer["message"], "the ack names a different message")
        expect(not eve.of("message"), "a message reached somebody who has not joined")


async def several_rooms_reach_each_once(bench: Bench) -> None:
    """A message to several rooms, or to everyone, reaches a member of more than one of them once."""
    async with member(bench, "ann", "red", "blue") as ann, member(bench, "bob", "blue", "settled") as bob:
        await ann.client.join("settled")
        await ann.client.request("publish", rooms=["red", "blue"], data="both")
        await ann.client.request("publish", everyone=True, data="all")
        for one in (ann, bob):
            await one.settled()
            said = [message["data"] for message in one.of("message") if message["data"] != "settled"]
            expect(sorted(said) == ["all", "both"], f"messages came as {said}, not each once")


async def presence_and_typing_are_sent(bench: Bench) -> None:
    """Members receive joins, leaves and typing of the others, and can list the members."""
    async with member(bench, "ann", "hall") as ann:
        async with member(bench, "bob", "hall") as bob:
            await ann.until(lambda: len(ann.of("joined", "hall")) == 2)
            expect(
                ann.of("joined", "hall")[1] == {"client": bob.client.id, "user": "bob"}, "the wrong member has joined"
            )
            there = await ann.client.request("call", service="members", data={"room": "hall"})
            expect({one["user"] for one in there["members"]} == {"ann", "bob"}, f"members are given as {there}")
            await bob.client.request("typing", room="hall", active=True)
            await bob.client.request("typing", room="hall", active=True)
            await bob.client.request("typing", room="hall", active=False)
            await ann.until(lambda: len(ann.of("typing", "hall")) >= 2)
            expect([said["active"] for said in ann.of("typing", "hall")] == [True, False], "typing came otherwise")
            await bob.client.leave("hall")
            await ann.until(lambda: bool(ann.of("left", "hall")))
            expect(ann.of("left", "hall")[0]["reason"] == "left", "a leave has another reason")
            await bob.client.join("hall")
        await ann.until(lambda: len(ann.of("left", "hall")) == 2)
        expect(ann.of("left", "hall")[1]["user"] == "bob", "the wrong member has left")


async def a_repeated_request_is_applied_once(bench: Bench) -> None:
    """A request that is sent again with its id gets the same answer and has no further effect, on any connection."""
    async with member(bench, "ann", "once", "settled") as ann, member(bench, "ann") as again:
        body = encode_request("publish", "same", room="once", data=1)
        first = await ann.client.send_request("same", body)
        second = await ann.client.send_request("same", body)
        third = await again.client.send_request("same", body)
        expect(first == second == third, "a repeated request got a different answer")
        await ann.settled()
        expect(len(ann.of("message", "once")) == 1, "a repeated request was applied again")
        other = encode_request("publish", "same", room="once", data=2)
        expect((await ann.client.send_request("same", other)).type == "error", "an id stood for two requests")
        # Two programs of one user may use the same ids: neither request is mistaken for the other.
        await ann.client.join("other")
        await again.client.join("other")
        inside = await again.client.request("call", service="members", data={"room": "other"})
        expect(len(inside["members"]) == 2, f"both have joined, but the members are {inside}")


async def users_acknowledge(bench: Bench) -> None:
    """A message to a user reaches all its connections; the first acknowledgement answers it; silence is an error."""
    async with member(bench, "ann") as ann, member(bench, "bob") as one, member(bench, "bob") as two:
        for bob in (one, two):
            await bob.client.request("call", service="echo", data=1)  # polls have an inbox once they have a session
        await one.until(lambda: len(one.of("welcome")) == 2)
        await two.until(lambda: len(two.of("welcome")) == 2)
        asking = asyncio.ensure_future(ann.client.request("publish", user="bob", data="well?", ack_timeout_s=3.0))
        for bob in (one, two):
            await bob.gets(1, "message", "@bob")
        message = one.of("message", "@bob")[0]
        expect(message["ack"] and message["data"] == "well?", f"the message came as {message}")
        first = await two.client.request("acknowledge", message=message["message"], data="two")
        expect(first == {"first": True}, "the first acknowledgement is not the first")
        answer = await asking
        expect(answer["data"] == "two", f"the answer is {answer}, not what was acknowledged first")
        await _refused(ann, "timed_out", "bob", type_="publish", user="bob", data="well?", ack_timeout_s=0.05)


PLATFORM_CHECKS: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (
    acknowledges_requests,
    rooms_reach_their_members,
    several_rooms_reach_each_once,
    presence_and_typing_are_sent,
    a_repeated_request_is_applied_once,
    users_acknowledge,
)


async def _refused(one: Member, code: str, named: str, type_: str, **fields: Any) -> None:
    try:
        answer = await one.client.request(type_, **fields)
    except RequestError as error:
        expect(error.code == code, f"{type_} {fields} was refused as {error}, not as {code}")
        expect(named in str(error), f"{type_} {fields}: {error} does not name {named!r}")
    else:
        expect(False, f"{type_} {fields} was accepted with {answer}")
