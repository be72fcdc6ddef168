"""Polling as others see it: curl, the answer's form, and the client's cadence."""

import itertools
import json
import subprocess
from contextlib import aclosing

from clients.client import new_client, new_shared
from clients.control import Control
from clients.options import ClientOptions
from feed.clock import NS_PER_S
from feed.schedule import Schedule
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
            await until(lambda: _published(control), "3 events published")

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


async def _published(control: Control) -> bool:
    return bool((await control.stats())["feed_published"] == 3)


def test_the_cadence_is_fixed(start: Start) -> None:
    """Answers come at start + phase + k x interval, whatever each of them took."""
    server = start("polling", "--source", "none")

    async def body() -> None:
        shared = new_shared(seed=1)
        options = ClientOptions(poll_interval_s=0.1, poll_phase_s=0.05)
        client = new_client("polling", server.url, options, shared)
        async with Control(server.ready["control_url"]) as control, aclosing(client.events()) as stream:
            await anext(stream)
            await control.start_feed(Schedule("constant", 200.0, limit=100), 256)
            times = []
            while client.session.delivered < 100:
                times.append((await anext(stream)).receive_ns)
        ticks = sorted(set(times))
        steps = [(b - a) / (0.1 * NS_PER_S) for a, b in itertools.pairwise(ticks)]
        assert abs(sum(steps) / len(steps) - round(sum(steps) / len(steps))) < 0.1, steps
        assert shared.ledger.requests <= len(ticks) + 3 and shared.ledger.opened == 1
        shared.timer.close()

    run(body())
