"""Server-Sent Events as others see them: curl, and a browser's EventSource."""

import re
import subprocess

import pytest

from clients.control import Control
from feed.envelope import decode_envelope
from feed.schedule import Schedule
from feed.wire import SseParser
from tests.conftest import Start, needs_curl, run, until


async def publish(control_url: str, count: int) -> None:
    async with Control(control_url) as control:
        await until(lambda: _connected(control), "somebody connected")
        await control.start_feed(Schedule("constant", 200.0, limit=count), 256)


async def _connected(control: Control) -> bool:
    return bool((await control.stats())["connections_now"] >= 1)


@needs_curl
@pytest.mark.parametrize("variant", ((), ("--variant", "plain")), ids=("sse_starlette", "plain"))
def test_curl_reads_the_stream(start: Start, variant: tuple[str, ...]) -> None:
    server = start("sse", "--source", "none", "--heartbeat-s", "0.2", *variant)
    command = ["curl", "-sSN", "--max-time", "1.5", "-D", "/dev/stderr", f"{server.url}/sse"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        run(publish(server.ready["control_url"], 5))
        body, head = process.communicate(timeout=10)
    assert b"content-type: text/event-stream" in head.lower()
    parser = SseParser()
    items = list(parser.feed(body))
    assert parser.retry_ms == 1000
    envelopes = [decode_envelope(item.data) for item in items if not item.comment]
    assert [envelope.type for envelope in envelopes] == ["welcome"] + ["event"] * 5
    assert [item.last_event_id for item in items if not item.comment] == [envelope.id for envelope in envelopes]
    assert sum(item.comment for item in items) >= 3, "heartbeats"


@needs_curl
def test_curl_resumes_with_the_header_and_with_the_query(start: Start) -> None:
    server = start("sse", "--source", "synthetic", "--rate-hz", "200", "--history", "100000")
    body = subprocess.run(["curl", "-sSN", "--max-time", "0.5", f"{server.url}/sse"], capture_output=True, check=False)
    cursor = re.findall(rb"id: (\S+)", body.stdout)[3].decode()
    expected = int(cursor.partition("-")[2]) + 1
    for arguments in (
        ["-H", f"Last-Event-ID: {cursor}", f"{server.url}/sse"],
        [f"{server.url}/sse?last_event_id={cursor}"],
    ):
        again = subprocess.run(["curl", "-sSN", "--max-time", "0.5", *arguments], capture_output=True, check=False)
        items = list(SseParser().feed(again.stdout))
        assert b'"resume":"resumed"' in items[0].data
        assert items[1].last_event_id.endswith(f"-{expected}")
