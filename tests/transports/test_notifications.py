"""The service ``notifications``: stored before acknowledged, nothing missed by the absent, over every transport."""

import signal
from pathlib import Path
from typing import Any

import pytest

from clients.contract.platform import Member
from clients.core.errors import RequestError
from servers.services.notifications import MAX_TEXT, PAGE
from tests.conftest import Running, Start, run, until
from tests.helpers.crew import Crew, token


def with_store(start: Start, transport: str, folder: Path, *options: str) -> Running:
    return start(transport, "--source", "none", "--auth", "dev", "--store", str(folder / "kept.db"), *options)


async def ask(member: Member, op: str, **data: Any) -> Any:
    return await member.client.request("call", service="notifications", data={"op": op, **data})


def shown(member: Member) -> list[tuple[int, str, str]]:
    return [(one["seq"], one["from"], one["text"]) for one in member.of("notification")]


def test_every_connection_of_the_user_is_told_and_nobody_else(start: Start, upstream: str, tmp_path: Path) -> None:
    server = with_store(start, upstream, tmp_path)

    async def body() -> None:
        async with Crew() as crew:
            ann, phone, bob = [await crew.join(server, token=token(user)) for user in ("ann", "ann", "bob")]
            for member in (ann, phone, bob):
                await ask(member, "open")
            for n in range(3):
                kept = await ask(bob, "send", user="ann", key=f"k{n}", text=str(n))
                assert (kept["seq"], kept["again"]) == (n + 1, False)
            again = await ask(bob, "send", user="ann", key="k0", text="0")
            assert (again["seq"], again["again"]) == (1, True)
            for member in (ann, phone):
                await until(lambda member=member: len(shown(member)) == 3, "all three")  # type: ignore[misc]
                assert shown(member) == [(1, "bob", "0"), (2, "bob", "1"), (3, "bob", "2")]
            opened = await ask(ann, "open")
            assert (opened["read"], opened["unread"], opened["more"]) == (0, 3, False)
            assert [one["text"] for one in opened["notifications"]] == ["0", "1", "2"]
            assert await ask(ann, "read", seq=2) == {"read": 2, "unread": 1, "more": False}
            await until(lambda: phone.of("unread") == [{"read": 2, "unread": 1, "more": False}], "the other is told")
            assert await ask(ann, "read", seq=1) == {"read": 2, "unread": 1, "more": False}, "it never goes back"
            with pytest.raises(RequestError, match="bad_number"):
                await ask(ann, "read", seq=4)
            assert await ask(ann, "forget") == {"notifications": 3}
            assert (await ask(ann, "open"))["notifications"] == []
            assert (await ask(bob, "send", user="ann", key="k9", text="9"))["seq"] == 4, "no number comes again"
            assert shown(bob) == [] and (await ask(bob, "open"))["notifications"] == []

    run(body())


def test_who_was_offline_gets_everything_on_return_across_a_kill_too(
    start: Start, upstream: str, tmp_path: Path
) -> None:
    server = with_store(start, upstream, tmp_path, "--limit", "messages_per_connection_hz=10000")

    async def before() -> None:
        async with Crew() as crew:
            bob = await crew.join(server, token=token("bob"))
            for n in range(PAGE + 10):
                await ask(bob, "send", user="ann", key=f"k{n}", text=str(n))

    run(before())
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    later = with_store(start, upstream, tmp_path)

    async def after() -> None:
        async with Crew() as crew:
            ann = await crew.join(later, token=token("ann"))
            opened = await ask(ann, "open")
            assert opened["unread"] == PAGE + 10
            assert [one["seq"] for one in opened["notifications"]] == list(range(11, PAGE + 11))
            older = (await ask(ann, "page", before=11))["notifications"]
            newer = (await ask(ann, "page", after=PAGE))["notifications"]
            assert [one["seq"] for one in older] == list(range(1, 11))
            assert [one["text"] for one in newer] == [str(n) for n in range(PAGE, PAGE + 10)]

    run(after())


def test_sending_can_take_a_claim_and_strangers_are_refused(start: Start, upstream: str, tmp_path: Path) -> None:
    server = with_store(start, upstream, tmp_path, "--service-option", "notifications.sender_claim=is_staff")

    async def body() -> None:
        async with Crew() as crew:
            ann = await crew.join(server, token=token("ann"))
            staff = await crew.join(server, token=token("eve", is_staff=True))
            with pytest.raises(RequestError, match="takes the claim 'is_staff'"):
                await ask(ann, "send", user="bob", key="k", text="x")
            assert (await ask(staff, "send", user="ann", key="k", text="x"))["seq"] == 1
            for wrong in (
                {"op": "send", "user": "ann", "key": "k", "text": ""},
                {"op": "send", "user": "ann", "key": "k", "text": "x" * (MAX_TEXT + 1)},
                {"op": "send", "user": "a b", "key": "k", "text": "x"},
                {"op": "page", "before": 1, "after": 1},
                {"op": "page"},
                {"op": "read", "seq": 0},
                {"op": "dance"},
            ):
                with pytest.raises(RequestError, match="bad_request"):
                    await staff.client.request("call", service="notifications", data=wrong)

    run(body())


def test_without_a_user_or_a_store_it_is_refused(share: Start, upstream: str) -> None:
    server = share(upstream, "--source", "none")

    async def body() -> None:
        async with Crew() as crew:
            anonymous = await crew.join(server)
            with pytest.raises(RequestError, match="only a user can do this"):
                await ask(anonymous, "open")

    run(body())
