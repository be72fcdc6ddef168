"""The service ``tokens``: every reader has the whole answer, in order, across a cut too, over every transport."""

import asyncio
from typing import Any

import pytest

from clients.contract.platform import Member
from clients.core.errors import RequestError
from tests.conftest import Start, run, until
from tests.helpers.crew import Crew

TOKENS = 60


async def ask(member: Member, op: str, room: str, **data: Any) -> Any:
    return await member.client.request("call", service="tokens", data={"op": op, "room": room, **data})


def text(member: Member) -> str:
    return "".join(one["text"] for one in member.of("token"))


def test_several_readers_have_the_whole_answer_in_order(share: Start, upstream: str) -> None:
    server = share(upstream, "--source", "none")
    room = f"answer-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            members = [await crew.join(server) for _ in range(3)]
            for member in members:
                await member.client.join(room)
            started = await ask(members[0], "start", room, tokens=TOKENS, rate_hz=500.0, first_delay_s=0.05)
            assert started["state"] == "running" and started["of"] == TOKENS
            for member in members:
                await until(lambda member=member: bool(member.of("answer")), "the end")  # type: ignore[misc]
                assert [one["n"] for one in member.of("token")] == list(range(TOKENS))
                assert member.of("answer") == [
                    {"answer": started["answer"], "tokens": TOKENS, "of": TOKENS, "state": "done"}
                ]
            opened = await ask(members[1], "open", room)
            assert opened["text"] == text(members[0]) == text(members[2])
            late = await crew.join(server)
            await late.client.join(room)
            assert (await ask(late, "open", room))["text"] == opened["text"]

    run(body())


def test_a_reader_that_is_cut_has_every_token_once(start: Start, upstream: str) -> None:
    """The answer goes on meanwhile, though its only reader is away."""
    server = start(upstream, "--source", "none")
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0")
    again = ("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0", "--port", str(relay.port))

    async def body() -> None:
        async with Crew() as crew:
            reader = await crew.join(server, f"tcp://127.0.0.1:{relay.port}")
            await reader.client.join("answer")
            await ask(reader, "start", "answer", tokens=TOKENS, rate_hz=100.0, first_delay_s=0.0)
            await until(lambda: len(reader.of("token")) > TOKENS * 0.4, "two fifths")
            relay.process.kill()
            relay.process.wait()
            await asyncio.to_thread(start, *again, free_port=False)
            await until(lambda: bool(reader.of("answer")), "the end")
            assert reader.client.reconnects and [one["n"] for one in reader.of("token")] == list(range(TOKENS))

    run(body())


def test_a_member_cancels_and_others_are_refused(share: Start, upstream: str) -> None:
    server = share(upstream, "--source", "none")
    room = f"long-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            ann, bob, eve = [await crew.join(server) for _ in range(3)]
            await ann.client.join(room)
            await bob.client.join(room)
            with pytest.raises(RequestError, match="not_found"):
                await ask(ann, "open", room)
            await ask(ann, "start", room, tokens=4000, first_delay_s=60.0)
            for op in ("open", "start", "cancel"):
                with pytest.raises(RequestError, match="not_joined"):
                    await ask(eve, op, room)
            with pytest.raises(RequestError, match="cancel it first"):
                await ask(bob, "start", room)
            assert (await ask(bob, "cancel", room))["state"] == "cancelled"
            await until(lambda: bool(ann.of("answer")), "told")
            assert ann.of("answer")[0]["tokens"] == 0

    run(body())
