"""Long polling as others see it: held by the server, answered at once when there is something."""

import json
import subprocess
import time

from clients.control import Control
from feed.schedule import Schedule
from tests.conftest import Start, needs_curl, run, until
from tests.transports.test_polling import curl


@needs_curl
def test_curl_is_held_until_the_hold_ends(share: Start) -> None:
    server = share("long_polling", "--source", "none")
    cursor = json.loads(curl(f"{server.url}/long-poll"))["id"]
    began = time.monotonic()
    answer = json.loads(curl(f"{server.url}/long-poll?since={cursor}&hold_s=0.5"))
    assert time.monotonic() - began >= 0.5
    assert answer["id"] == cursor and answer["data"] == {"resume": "resumed", "missed": 0, "events": []}


@needs_curl
def test_curl_is_answered_when_an_event_comes_and_gets_all_that_is_newer(start: Start) -> None:
    server = start("long_polling", "--source", "none")
    cursor = json.loads(curl(f"{server.url}/long-poll"))["id"]
    held = subprocess.Popen(
        ["curl", "-sS", f"{server.url}/long-poll?since={cursor}&hold_s=50"], stdout=subprocess.PIPE, text=True
    )

    async def publish() -> None:
        async with Control(server.ready["control_url"]) as control:
            await until(lambda: _held(control), "curl is held")
            await control.start_feed(Schedule("burst", 1000.0, burst_events=5, limit=5), 256)

    run(publish())
    answer = json.loads(held.communicate(timeout=10)[0])
    assert next(event["data"]["n"] for event in answer["data"]["events"]) == 0
    rest = json.loads(curl(f"{server.url}/long-poll?since={cursor}&hold_s=5"))
    assert [event["data"]["n"] for event in rest["data"]["events"]] == [0, 1, 2, 3, 4]


async def _held(control: Control) -> bool:
    return bool((await control.stats())["connections_now"] == 1)
