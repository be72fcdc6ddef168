"""The service ``collab``: everybody ends with the same document, over every transport, across cuts and restarts."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients.core.errors import RequestError
from servers.services.collab import MAX_AWARENESS_BYTES
from servers.services.documents import MERGED_AT
from tests.conftest import Start, run, until
from tests.helpers.crew import Crew, token
from tests.helpers.editors import Editor, Writer, ask, writers

QUIET = ("--source", "none")


def test_everybody_ends_with_the_same_document(share: Start, served_upstream: str) -> None:
    """Three type at once, and a fourth comes later."""
    server = share(served_upstream, *QUIET)
    room = f"doc-{served_upstream.replace(':', '-')}"

    async def body() -> None:
        async with Crew() as crew:
            found = await writers(crew, server, room, 3)
            words = ("one ", "zwei ", "😀ü ")
            await asyncio.gather(
                *(one.type(0, word) for _ in range(10) for one, word in zip(found, words, strict=True))
            )
            for one in found:
                await until(lambda one=one: len(one.look()) == 10 * sum(map(len, words)), "all words")  # type: ignore[misc]
            (late,) = await writers(crew, server, room, 1)
            assert len({one.look() for one in (*found, late)}) == 1
            assert late.look().count("zwei") == 10 and late.look().count("😀") == 10
            assert not any(envelope.payload for envelope in found[0].member.received if envelope.type == "skip")

    run(body())


def test_what_was_typed_while_cut_off_is_exchanged_at_the_return(start: Start, upstream: str) -> None:
    server = start(upstream, *QUIET)
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0")
    again = ("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0", "--port", str(relay.port))

    async def body() -> None:
        async with Crew() as crew:
            (near,) = await writers(crew, server, "doc", 1)
            far = Writer(await crew.join(server, f"tcp://127.0.0.1:{relay.port}"), "doc")
            await far.member.client.join("doc")
            await far.open()
            await near.type(0, "both")
            await until(lambda: far.look() == "both", "the first word")
            relay.process.kill()
            relay.process.wait()
            await near.type(4, " near")
            far.editor.edit(0, 0, "far ")
            await asyncio.to_thread(start, *again, free_port=False)
            await until(lambda: far.member.client.reconnects > 0 and bool(far.member.client.id), "back")
            await far.member.client.join("doc")  # it does so by itself, a moment later maybe
            await far.open()
            for one in (near, far):
                await until(lambda one=one: one.look() == "far both near", "both halves")  # type: ignore[misc]

    run(body())


def test_a_document_outlives_its_server(start: Start, upstream: str, tmp_path: Path) -> None:
    """Acknowledged updates are there after SIGKILL, merged ones too."""
    arguments = (upstream, *QUIET, "--store", str(tmp_path / "kept.db"), "--limit", "message_burst=100000")
    server = start(*arguments)

    async def write() -> str:
        async with Crew() as crew:
            (one,) = await writers(crew, server, "doc", 1)
            for n in range(0, MERGED_AT + 20, 40):
                await asyncio.gather(*(one.type(n + i, "x") for i in range(40)))
            server.process.kill()
            server.process.wait()
            return one.editor.text

    text = run(write())
    assert len(text) >= MERGED_AT + 20
    server = start(*arguments)

    async def read() -> None:
        async with Crew() as crew:
            (one,) = await writers(crew, server, "doc", 1)
            assert one.look() == text
            await one.member.client.leave("doc")
            (other,) = await writers(crew, server, "doc", 1)
            assert other.look() == text, "from the store again, as nobody was there"

    run(read())


def test_an_update_that_is_refused_is_shown_to_nobody(start: Start, upstream: str, tmp_path: Path) -> None:
    """A hundred requests of its connection wait for their answers."""
    server = start(
        upstream, *QUIET, "--auth", "dev", "--store", str(tmp_path / "kept.db"), "--limit", "message_burst=200"
    )

    async def body() -> None:
        async with Crew() as crew:
            ann, bob = [Writer(await crew.join(server, token=token(user)), "doc") for user in ("ann", "bob")]
            for one in (ann, bob):
                await one.member.client.join("doc")
                await one.open()
            waiting = [
                asyncio.ensure_future(ann.member.client.request("publish", user="ann", data=n, ack_timeout_s=4.0))
                for n in range(100)
            ]
            await until(lambda: len(ann.member.of("message")) == 100, "all wait")
            update = ann.editor.edit(0, 0, "text")
            with pytest.raises(RequestError, match="too_many_requests"):
                await ask(ann.member, "update", "doc", update)
            await asyncio.gather(*waiting, return_exceptions=True)
            assert bob.look() == ""
            await ask(ann.member, "update", "doc", update)
            await until(lambda: bob.look() == "text", "shown once it was taken")

    run(body())


def test_cursors_are_shown_and_gone_with_their_member(share: Start, upstream: str) -> None:
    server = share(upstream, *QUIET)
    room = f"cursors-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            ann, bob = await writers(crew, server, room, 2)
            await ask(ann.member, "awareness", room, b"ann at 3")
            await until(lambda: bool(bob.member.of("awareness")), "shown")
            shown = next(one for one in bob.member.received if one.type == "awareness")
            assert shown.payload == b"ann at 3" and shown.value() == {"from": ann.member.client.id}
            assert (await ask(bob.member, "open", room))["awareness"] == [base64.b64encode(b"ann at 3").decode()]
            await ann.member.client.leave(room)
            assert (await ask(bob.member, "open", room))["awareness"] == []
            for payload in (b"", b"x" * (MAX_AWARENESS_BYTES + 1)):
                with pytest.raises(RequestError, match=str(MAX_AWARENESS_BYTES)):
                    await ask(bob.member, "awareness", room, payload)

    run(body())


def test_the_naive_engine_keeps_what_came_in_the_order_in_which_it_came(share: Start, upstream: str) -> None:
    server = share(upstream, *QUIET)
    room = f"naive-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            ann, bob = [await crew.join(server) for _ in range(2)]
            for member in (ann, bob):
                await member.client.join(room)
                opened = await ask(member, "open", room, engine="naive")
                assert [msgspec.msgpack.decode(base64.b64decode(one)) for one in opened["updates"]] == [[0, ""]]
            for n, member in enumerate((ann, bob, ann)):
                edit = msgspec.msgpack.encode([0, 0, str(n)])
                assert (await ask(member, "update", room, edit))["update"] == n + 1
            await until(lambda: len(bob.of("update")) == 2, "both edits of the other")
            assert [one["update"] for one in bob.of("update")] == [1, 3]
            opened = await ask(bob, "open", room, engine="naive")
            assert msgspec.msgpack.decode(base64.b64decode(opened["updates"][0])) == [3, "210"]
            with pytest.raises(RequestError, match="naive"):
                await ask(bob, "open", room)

    run(body())


@pytest.mark.parametrize(
    ("op", "payload", "data", "words"),
    [
        ("update", b"nonsense", {}, "no update of Yjs"),
        ("update", b"", {}, "no update of Yjs"),
        ("open", b"x", {}, "open takes none"),
        ("open", b"", {"engine": "ot"}, "engine"),
        ("open", b"", {"vector": "/////w=="}, "vector"),
        ("open", b"", {"vector": "%"}, "vector"),
        ("close", b"", {}, "close"),
    ],
)
def test_what_is_wrong_is_refused(
    share: Start, upstream: str, op: str, payload: bytes, data: dict[str, Any], words: str
) -> None:
    server = share(upstream, *QUIET)
    room = f"wrong-{upstream}"

    async def body() -> None:
        async with Crew() as crew:
            (one,) = await writers(crew, server, room, 1)
            await one.type(0, "text")
            with pytest.raises(RequestError, match=words) as caught:
                await ask(one.member, op, room, payload, **data)
            assert caught.value.code == "bad_request"

    run(body())


def test_a_document_is_opened_before_it_is_changed_and_joined_before_that(share: Start, upstream: str) -> None:
    server = share(upstream, *QUIET)

    async def body() -> None:
        async with Crew() as crew:
            member = await crew.join(server)
            room = f"unopened-{upstream}"
            with pytest.raises(RequestError, match="not_joined"):
                await ask(member, "open", room)
            await member.client.join(room)
            with pytest.raises(RequestError, match="not_found"):
                await ask(member, "update", room, Editor().edit(0, 0, "x"))

    run(body())
