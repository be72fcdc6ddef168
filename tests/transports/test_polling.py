"""Polling as others see it: curl, the answer's form, and the client's cadence."""

import itertools
import json
import subprocess
from contextlib import aclosing

import aiohttp
import pytest

from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.options import ClientOptions
from clients.http.answers import MAX_ANSWER_BYTES
from feed.envelope import decode_batch, decode_envelope, decode_stamp
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule
from servers.http.polls import BATCH_BYTES, TAKE_EVENTS
from tests.conftest import Start, needs_curl, run, until


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
