"""The service ``chat``: stored before it is acknowledged, in one order, exactly once, over every transport."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from clients.contract.platform import Member
from clients.core.errors import RequestError
from feed.cursor import parse_cursor
from feed.envelope import Envelope
from servers.services.chat import MAX_TEXT, PAGE
from servers.store.file import read_only
from tests.conftest import Running, Start, run, run_module, until
from tests.helpers.crew import Crew, token

ROOM = "tea"
UNLIMITED = ("--limit", "messages_per_connection_hz=10000", "--limit", "messages_per_user_hz=10000")


def with_store(start: Start, transport: str, folder: Path, *options: str) -> Running:
    store = ("--store", str(folder / "chat.db"))
    taken = {"free_port": False} if "--port" in options else {}
    return start(transport, "--source", "none", "--auth", "dev", *store, *options, **taken)


async def guest(crew: Crew, server: Running, user: str) -> Member:
    member = await crew.join(server, token=token(user))
    await member.client.join(ROOM)
    return member


async def ask(member: Member, op: str, **data: Any) -> Any:
    return await member.client.request("call", service="chat", data={"op": op, **data})


def seen(member: Member) -> list[tuple[int, str, str]]:
    """Place, sender and text of every message that came."""
    return [(one["data"]["seq"], one["user"], one["data"]["text"]) for one in member.of("message")]


def test_every_member_sees_every_message_once_in_the_stores_order(start: Start, upstream: str, tmp_path: Path) -> None:
    server = with_store(start, upstream, tmp_path)

    async def body() -> None:
        async with Crew() as crew:
            members = [await guest(crew, server, user) for user in ("ann", "bob", "eve")]

            async def talk(member: Member, name: str) -> list[Any]:
                return [await ask(member, "send", room=ROOM, key=f"{name}-{n}", text=f"{name} {n}") for n in range(10)]

            acks = await asyncio.gather(*(talk(member, str(n)) for n, member in enumerate(members)))
            for member in members:
                await until(lambda member=member: len(seen(member)) == 30, "all have come")  # type: ignore[misc]
            stored = [(row[1], row[3]) for row in read_only(tmp_path / "chat.db")]
            assert [(seq, user) for seq, user, _ in seen(members[0])] == stored
            assert seen(members[0]) == seen(members[1]) == seen(members[2])
            assert sorted(ack["seq"] for of in acks for ack in of) == list(range(1, 31))
            assert {ack["again"] for of in acks for ack in of} == {False}
            opened = await ask(members[1], "open", room=ROOM)
            assert [(one["seq"], one["user"], one["text"]) for one in opened["messages"]] == seen(members[1])
            assert {one["user"] for one in opened["members"]} == {"ann", "bob", "eve"}

    run(body())


def test_history_comes_by_page_and_nothing_is_missing_between_pages(
    start: Start, upstream: str, tmp_path: Path
) -> None:
    server = with_store(start, upstream, tmp_path, *UNLIMITED)

    async def body() -> None:
        async with Crew() as crew:
            ann = await guest(crew, server, "ann")
            for n in range(PAGE + 20):
                await ask(ann, "send", room=ROOM, key=f"k{n}", text=str(n))
            page = (await ask(ann, "open", room=ROOM))["messages"]
            assert [one["seq"] for one in page] == list(range(21, PAGE + 21))
            older = (await ask(ann, "page", room=ROOM, before=page[0]["seq"], limit=15))["messages"]
            assert [one["seq"] for one in older] == list(range(6, 21))
            rest = (await ask(ann, "page", room=ROOM, before=6))["messages"]
            assert [one["seq"] for one in rest] == [1, 2, 3, 4, 5]
            newer = (await ask(ann, "page", room=ROOM, after=PAGE + 10))["messages"]
            assert [one["seq"] for one in newer] == list(range(PAGE + 11, PAGE + 21))

    run(body())


def test_a_retry_is_stored_and_seen_once_across_a_kill_too(start: Start, upstream: str, tmp_path: Path) -> None:
    server = with_store(start, upstream, tmp_path)

    async def before() -> None:
        async with Crew() as crew:
            ann, bob = await guest(crew, server, "ann"), await guest(crew, server, "bob")
            first = await ask(ann, "send", room=ROOM, key="k", text="hello")
            again = await ask(ann, "send", room=ROOM, key="k", text="hello")
            assert (first["again"], again["again"]) == (False, True)
            assert first["message"] == again["message"] and first["at_ms"] == again["at_ms"]
            with pytest.raises(RequestError, match="id_reused"):
                await ask(ann, "send", room=ROOM, key="k", text="another")
            with pytest.raises(RequestError, match="id_reused"):
                await ask(bob, "send", room=ROOM, key="k", text="hello")
            await ask(bob, "send", room=ROOM, key="end", text="end")
            await until(lambda: len(seen(bob)) == 2, "both have come")
            assert [text for _, _, text in seen(bob)] == ["hello", "end"]

    run(before())
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    later = with_store(start, upstream, tmp_path)

    async def after() -> None:
        async with Crew() as crew:
            ann = await guest(crew, later, "ann")
            assert (await ask(ann, "send", room=ROOM, key="k", text="hello"))["again"]
            assert [one["text"] for one in (await ask(ann, "open", room=ROOM))["messages"]] == ["hello", "end"]

    run(after())


def test_read_receipts_only_go_forward_and_are_told(start: Start, upstream: str, tmp_path: Path) -> None:
    server = with_store(start, upstream, tmp_path)

    async def body() -> None:
        async with Crew() as crew:
            ann, bob = await guest(crew, server, "ann"), await guest(crew, server, "bob")
            for n in range(3):
                await ask(ann, "send", room=ROOM, key=f"k{n}", text=str(n))
            assert (await ask(bob, "read", room=ROOM, seq=2))["seq"] == 2
            assert (await ask(bob, "read", room=ROOM, seq=1))["seq"] == 2
            with pytest.raises(RequestError, match="bad_number"):
                await ask(bob, "read", room=ROOM, seq=4)
            await until(lambda: len(ann.of("read")) == 2, "told")
            assert ann.of("read") == [{"user": "bob", "seq": 2}] * 2
            assert (await ask(ann, "open", room=ROOM))["read"] == {"bob": 2}

    run(body())


def test_a_user_can_have_all_own_messages_removed(start: Start, upstream: str, tmp_path: Path) -> None:
    server = with_store(start, upstream, tmp_path)

    async def body() -> None:
        async with Crew() as crew:
            ann, bob = await guest(crew, server, "ann"), await guest(crew, server, "bob")
            for n, member in enumerate((ann, bob, ann)):
                await ask(member, "send", room=ROOM, key=f"k{n}", text=str(n))
            assert await ask(ann, "forget") == {"messages": 2}
            assert [one["user"] for one in (await ask(bob, "open", room=ROOM))["messages"]] == ["bob"]
            assert (await ask(bob, "send", room=ROOM, key="k9", text="9"))["seq"] == 4, "no place comes again"

    run(body())


def test_kill_9_in_mid_traffic_loses_and_repeats_nothing_that_was_acknowledged(
    start: Start, upstream: str, tmp_path: Path
) -> None:
    """What came live before the gap and after it, and what a page says of in between, is every stored message once."""
    server = with_store(start, upstream, tmp_path)
    port, acknowledged = str(server.port), dict[str, int]()

    async def talk(member: Member, name: str) -> None:
        for n in range(40):
            while f"{name}-{n}" not in acknowledged:
                try:
                    ack = await ask(member, "send", room=ROOM, key=f"{name}-{n}", text=f"{name} {n}")
                    acknowledged[f"{name}-{n}"] = ack["seq"]
                except (RequestError, TimeoutError):  # not joined again yet
                    await asyncio.sleep(0.05)  # between tries: more of them a second than allowed end the connection

    async def body() -> None:
        async with Crew() as crew:
            members = [await guest(crew, server, user) for user in ("ann", "bob", "eve")]
            came = [below_deduplication(member) for member in members]
            talking = [asyncio.ensure_future(talk(member, str(n))) for n, member in enumerate(members)]
            await until(lambda: len(acknowledged) > 15, "some are acknowledged")
            server.process.kill()
            server.process.wait()
            with_store(start, upstream, tmp_path, "--port", port)
            await asyncio.gather(*talking)
            stored = {row[2]: row[1] for row in read_only(tmp_path / "chat.db")}
            assert stored == acknowledged and sorted(stored.values()) == list(range(1, 121))
            for member, by_history in zip(members, came, strict=True):
                await until(lambda of=by_history: 120 in [*of.values()][-1], "the newest has come")  # type: ignore[misc]
                *before, after = by_history.values()  # of the killed server, and of the one that follows
                known = [seq for of in before for seq in of]
                page = await ask(member, "page", room=ROOM, after=max(known, default=0), limit=200)
                between = [one["seq"] for one in page["messages"] if one["seq"] < min(after)]
                assert len(before) <= 1 and known + between + after == list(range(1, 121))

    run(body())


def below_deduplication(member: Member) -> dict[str, list[int]]:
    """The places of all messages as they come from now on, by the room's history that they are in."""
    came: dict[str, list[int]] = {}
    judge = member.client.judge

    def taken(envelope: Envelope) -> bool:
        if envelope.type == "message":
            came.setdefault(parse_cursor(envelope.id).epoch, []).append(envelope.value()["data"]["seq"])
        return judge(envelope)

    member.client.judge = taken  # type: ignore[method-assign]
    return came


def test_a_full_store_refuses_and_keeps_what_it_acknowledged(start: Start, tmp_path: Path) -> None:
    server = with_store(start, "websocket", tmp_path, "--store-max-mib", "1", *UNLIMITED)

    async def body() -> int:
        async with Crew() as crew:
            ann = await guest(crew, server, "ann")
            kept = 0
            with pytest.raises(RequestError, match=r"store_failed.*cannot keep this now"):
                while kept < 1000:
                    await ask(ann, "send", room=ROOM, key=f"k{kept}", text="x" * MAX_TEXT)
                    kept += 1
            assert len((await ask(ann, "open", room=ROOM))["messages"]) == PAGE, "it still answers"
            return kept

    kept = run(body())
    assert 50 < kept < 260
    assert [row[1] for row in read_only(tmp_path / "chat.db")] == list(range(1, kept + 1))


def test_a_second_server_is_refused_the_store_by_name(start: Start, tmp_path: Path) -> None:
    with_store(start, "sse", tmp_path)
    second = run_module("servers", "polling", "--port", "0", "--store", str(tmp_path / "chat.db"), timeout_s=60)
    assert (
        second.returncode == 1
        and second.stderr.strip() == f"Error: {tmp_path / 'chat.db'} is in use by another process"
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"op": "send", "room": ROOM, "key": "k", "text": ""}, "bad_request"),
        ({"op": "send", "room": ROOM, "key": "k", "text": "x" * (MAX_TEXT + 1)}, "bad_request"),
        ({"op": "send", "room": ROOM, "text": "no key"}, "bad_request"),
        ({"op": "send", "room": "elsewhere", "key": "k", "text": "x"}, "not_joined"),
        ({"op": "open", "room": "elsewhere"}, "not_joined"),
        ({"op": "page", "room": ROOM}, "bad_request"),
        ({"op": "page", "room": ROOM, "before": 3, "after": 1}, "bad_request"),
        ({"op": "page", "room": ROOM, "before": 3, "limit": 1000}, "bad_request"),
        ({"op": "read", "room": ROOM, "seq": 0}, "bad_request"),
        ({"op": "read", "room": ROOM, "seq": 2**63}, "bad_request"),
        ({"op": "page", "room": ROOM, "before": 2**63}, "bad_request"),
        ({"op": "page", "room": ROOM, "after": 2**63}, "bad_request"),
        ({"op": "dance"}, "bad_request"),
        (None, "bad_request"),
    ],
)
def test_what_is_wrong_is_named(share: Start, tmp_path_factory: pytest.TempPathFactory, data: Any, code: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "wrong"
    folder.mkdir(exist_ok=True)
    server = with_store(share, "websocket", folder)

    async def body() -> None:
        async with Crew() as crew:
            ann = await guest(crew, server, "ann")
            with pytest.raises(RequestError, match=code):
                await ann.client.request("call", service="chat", data=data)

    run(body())


def test_a_server_without_a_store_says_so(share: Start, upstream: str) -> None:
    server = share(upstream, "--source", "none", "--auth", "dev")

    async def body() -> None:
        async with Crew() as crew:
            ann = await guest(crew, server, "ann")
            with pytest.raises(RequestError, match=r"no_store.*--store"):
                await ask(ann, "open", room=ROOM)

    run(body())
