"""Polling as others see it: curl, the answer's form, and the client's cadence."""

import itertools
import json
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import aiohttp
import pytest

from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.options import ClientOptions
from clients.http.answers import MAX_ANSWER_BYTES
from clients.http.polls import interval_hint_s
from feed.envelope import decode_batch, decode_envelope, decode_stamp
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule
from servers.http.polls import BATCH_BYTES, TAKE_EVENTS
from tests.conftest import Running, Start, invoke, needs_curl, run, until
from tests.helpers.crew import Crew


def curl(url: str, *arguments: str) -> str:
    """What curl prints."""
    done = subprocess.run(["curl", "-sS", *arguments, url], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


@needs_curl
def test_curl_polls(start: Start) -> None:
    server = start("polling", "--source", "none")

    async def publish() -> None:
        async with Control(server.ready["control_url"]) as control:
            await control.start_feed(Schedule("constant", 1000.0, limit=3), 256)
            await until(lambda: _published(control, 3), "3 events published")

    first = json.loads(curl(f"{server.url}/poll"))
    assert first["type"] == "batch" and first["data"] == {"resume": "new", "missed": 0, "events": []}
    run(publish())
    second = json.loads(curl(f"{server.url}/poll?since={first['id']}"))
    assert second["data"]["resume"] == "resumed"
    assert [event["data"]["n"] for event in second["data"]["events"]] == [0, 1, 2]
    assert second["id"] == second["data"]["events"][-1]["id"]
    assert json.loads(curl(f"{server.url}/poll?since={second['id']}"))["data"]["events"] == []
    head = curl(f"{server.url}/poll", "-D", "-", "-o", "/dev/null").lower()
    assert "cache-control: no-store" in head and "content-type: application/json" in head
    assert json.loads(curl(f"{server.url}/"))["transport"] == "polling"


async def _published(control: Control, count: int) -> bool:
    return bool((await control.stats())["feed_published"] == count)


def test_the_cadence_is_fixed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls begin at start + phase + k x interval, whatever each of them took."""
    server = start("polling", "--source", "none")

    async def body() -> None:
        shared, interval_ns = new_shared(seed=1), NS_PER_S // 10
        options = ClientOptions(poll_interval_s=0.1, poll_phase_s=0.05)
        client = new_client("polling", server.url, options, shared)
        ticks_ns: list[int] = []
        sleep_until = shared.timer.sleep_until

        async def noted(at_ns: int) -> None:
            ticks_ns.append(at_ns)
            await sleep_until(at_ns)

        monkeypatch.setattr(shared.timer, "sleep_until", noted)
        began_ns = now_ns()
        async with Control(server.ready["control_url"]) as control, aclosing(client.events()) as stream:
            await anext(stream)
            start_ns = now_ns()
            await control.start_feed(Schedule("constant", 200.0, limit=100), 256)
            while client.session.delivered < 100:
                await anext(stream)
        steps = [(b - a) / interval_ns for a, b in itertools.pairwise(ticks_ns)]
        assert len(ticks_ns) > 3 and all(step == round(step) >= 1 for step in steps), steps
        # The cadence began after ``began_ns``, by as much as the client needed until then.
        begins_ns = (ticks_ns[0] - interval_ns // 2 - began_ns) % interval_ns
        assert begins_ns <= start_ns - began_ns
        assert shared.ledger.requests in (len(ticks_ns), len(ticks_ns) + 1) and shared.ledger.opened == 1
        shared.timer.close()

    run(body())


def test_a_long_past_comes_in_answers_of_bounded_size(start: Start) -> None:
    """So that a client can have a bound on an answer that no honest server passes."""
    server = start("polling", "--source", "none", "--rate-hz", "1")
    events, payload_bytes = 400, 60_000

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control, aiohttp.ClientSession() as session:
            async with session.get(f"{server.url}/poll") as answer:
                cursor = decode_envelope(await answer.read()).id
            await control.start_feed(Schedule("constant", 2000.0, limit=events), payload_bytes)
            await until(lambda: _published(control, events), "all published", timeout_s=60)
            numbers: list[int] = []
            sizes = []
            while len(numbers) < events:
                async with session.get(f"{server.url}/poll?since={cursor}") as answer:
                    text = await answer.read()
                sizes.append(len(text))
                cursor = decode_envelope(text).id
                found = decode_batch(decode_envelope(text).data)
                assert found.resume == "resumed" and found.events
                numbers += [decode_stamp(event.data).n for event in found.events]
        assert numbers == list(range(events))
        assert max(sizes) <= BATCH_BYTES + TAKE_EVENTS * 65_536 < MAX_ANSWER_BYTES

    run(body())


@pytest.fixture
def conditional(start: Start) -> Running:
    return start("polling", "--variant", "conditional", "--source", "none", "--poll-interval-hint-s", "0.25")


def test_a_conditional_poll_without_news_is_a_304(conditional: Running) -> None:
    """As a client that we did not write asks: by the URL and the tag of the last answer."""

    async def body() -> None:
        async with aiohttp.ClientSession() as session, Control(conditional.ready["control_url"]) as control:

            async def ask(etag: str = "", **query: str) -> tuple[int, str, bytes]:
                headers = {"If-None-Match": etag} if etag else {}
                async with session.get(f"{conditional.url}/poll", params=query, headers=headers) as answer:
                    assert answer.headers["X-Poll-Interval"] == "0.25" and answer.headers["Cache-Control"] == "no-store"
                    return answer.status, answer.headers["ETag"], await answer.read()

            status, first, text = await ask()
            assert status == 200 and first == f'"{decode_envelope(text).id}"'
            since = first.strip('"')
            assert await ask(first, since=since) == (304, first, b"")
            assert await ask(f'"other", W/{first}', since=since) == (304, first, b"")
            assert await ask("*", since=since) == (304, first, b"")
            assert (await ask('"other"', since=since))[0] == 200
            assert (await ask(first))[0] == 200, "without a cursor there is nothing that it could be newer than"
            await control.start_feed(Schedule("constant", 100.0, limit=1), 256)
            await until(lambda: _is_news(ask, first, since), "the event")
            status, second, text = await ask(first, since=since)
            assert status == 200 and second != first and len(decode_batch(decode_envelope(text).data).events) == 1
            assert await ask(second, since=second.strip('"')) == (304, second, b"")

    run(body())


async def _is_news(ask: Callable[..., Awaitable[tuple[int, str, bytes]]], etag: str, since: str) -> bool:
    return (await ask(etag, since=since))[0] == 200


def test_our_client_sends_the_condition_and_keeps_the_interval(conditional: Running) -> None:
    async def body() -> None:
        async with Crew() as crew:
            one = await crew.join(conditional, poll_interval_s=0.01)
            began, requests, bytes_ = now_ns(), one.client.ledger.requests, one.client.ledger.body_bytes
            await until(lambda: one.client.ledger.requests >= requests + 4, "four polls")
            assert now_ns() - began >= 3 * 0.25 * NS_PER_S, "not the hundred that its own interval would make"
            assert one.client.ledger.body_bytes == bytes_, "304 has no body"
            assert one.client.reconnects == 0
            await one.client.join("tea")
            await one.client.request("publish", room="tea", data="hello")
            await until(lambda: len(one.of("message")) == 1, "what another room has is news, too")

    run(body())


@pytest.mark.parametrize(
    ("text", "hint_s"),
    [(None, 0.0), ("60", 60.0), ("0.5", 0.5), ("7200", 3600.0), ("inf", 3600.0), ("-1", 0.0), ("nan", 0.0), ("x", 0.0)],
)
def test_an_interval_that_is_asked_for_is_bounded(text: str | None, hint_s: float) -> None:
    assert interval_hint_s({} if text is None else {"X-Poll-Interval": text}) == hint_s


def test_the_hint_goes_with_the_variant() -> None:
    done = invoke("servers", "polling", "--poll-interval-hint-s", "60")
    assert done.returncode == 1 and "goes with --variant conditional" in done.stderr
