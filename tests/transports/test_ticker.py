"""The service ``ticker``: what a reader shows is what holds, over every transport, also for one that falls behind."""

from typing import Any

import pytest

from clients.contract.platform import Member
from clients.core.errors import RequestError
from feed.instruments.clock import NS_PER_S, now_ns
from tests.conftest import Start, run, until
from tests.helpers.crew import Crew

FAST = ("--source", "none", "--service-option", "ticker.hot_hz=200", "--service-option", "ticker.instruments=20")


async def open_ticker(member: Member, **data: Any) -> Any:
    return await member.client.request("call", service="ticker", data={"op": "open", **data})


def shown(member: Member) -> dict[str, int]:
    """What a reader shows: the number of each symbol's newest change. Numbers must only grow."""
    found: dict[str, int] = {}
    for quote in member.of("quote"):
        assert quote["n"] > found.get(quote["symbol"], 0)
        found[quote["symbol"]] = quote["n"]
    return found


def test_changes_come_in_order_and_nothing_seems_lost(share: Start, upstream: str) -> None:
    server = share(upstream, *FAST)

    async def body() -> None:
        async with Crew() as crew:
            reader = await crew.join(server)
            opened = await open_ticker(reader)
            assert opened["room"] == "ticker" and len(opened["rates_hz"]) == 20 and opened["rates_hz"]["SYM001"] == 200
            await reader.client.join("ticker")
            await until(lambda: len(reader.of("quote")) > 300, "many changes")
            assert len(shown(reader)) > 5
            assert reader.client.sessions.of("ticker").silently_lost == 0
            assert (await open_ticker(reader))["start_ns"] > 0

    run(body())


def test_a_poller_gets_only_what_holds(share: Start) -> None:
    """Between two polls the first instrument changes a hundred times; each answer has its newest quote."""
    server = share("polling", *FAST)

    async def body() -> None:
        async with Crew() as crew:
            reader = await crew.join(server, poll_interval_s=0.5)
            await reader.client.join("ticker")
            await until(lambda: shown(reader).get("SYM001", 0) > 500, "many changes")
            assert sum(quote["symbol"] == "SYM001" for quote in reader.of("quote")) < 50
            assert reader.client.sessions.of("ticker").silently_lost == 0

    run(body())


def test_who_comes_later_has_all_instruments_at_once(share: Start, upstream: str) -> None:
    """Also in a room with a limit, where the first change may be seconds away."""
    server = share(upstream, *FAST)

    async def body() -> None:
        async with Crew() as crew:
            first = await crew.join(server)
            await first.client.join("ticker")
            await until(lambda: len(shown(first)) == 20, "all instruments have changed")
            room = (await open_ticker(first, max_hz=0.3))["room"]
            assert room == "ticker-0.2hz"
            late = await crew.join(server)
            await late.client.join(room)
            await until(lambda: len(shown(late)) == 20, "all instruments")
            assert late.client.sessions.of(room).silently_lost == 0

    run(body())


def test_it_can_be_the_room_that_is_subscribed(share: Start, upstream: str) -> None:
    """Its numbers may jump there too: an answer to a poll has no welcome that says so."""
    server = share(upstream, *FAST)

    async def body() -> None:
        async with Crew() as crew:
            first = await crew.join(server)
            await first.client.join("ticker")
            reader = await crew.join(server, room="ticker", poll_interval_s=0.3)
            begun = shown(reader).get("SYM001", 0)
            await until(lambda: shown(reader).get("SYM001", 0) > begun + 200, "changes")
            assert reader.client.session.conflated and reader.client.session.silently_lost == 0

    run(body())


def test_a_room_with_a_limit_has_so_many_changes_a_second(share: Start, upstream: str) -> None:
    server = share(upstream, *FAST)

    async def body() -> None:
        async with Crew() as crew:
            reader = await crew.join(server)
            room = (await open_ticker(reader, max_hz=5))["room"]
            began_ns = now_ns()
            await reader.client.join(room)

            def hottest() -> list[Any]:
                return [quote for quote in reader.of("quote", room) if quote["symbol"] == "SYM001"]

            await until(lambda: len(hottest()) >= 6, "five turns")
            turns = (now_ns() - began_ns) / NS_PER_S * 5
            assert len(hottest()) <= turns + 2, "one at once, one at the end of the turn that was on, then one a turn"
            shown(reader)

    run(body())


@pytest.mark.parametrize("data", [{"op": "open", "max_hz": 0.1}, {"op": "close"}, {"op": "open", "more": 1}, 7])
def test_what_is_wrong_is_refused(share: Start, upstream: str, data: Any) -> None:
    server = share(upstream, *FAST)

    async def body() -> None:
        async with Crew() as crew:
            member = await crew.join(server)
            with pytest.raises(RequestError, match="bad_request"):
                await member.client.request("call", service="ticker", data=data)

    run(body())
