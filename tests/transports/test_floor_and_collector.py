"""The floor of the cost benchmark against strangers, and the garbage collector of every server."""

import json
import socket
from gc import get_threshold
from typing import Any

import pytest

from clients.control import Control
from feed.wire import FrameDecoder, encode_frame
from tests.conftest import Start, invoke, run, until

HELLO = b'{"type":"subscribe"}'


def last_answer(port: int, sent: list[bytes]) -> dict[str, Any]:
    """The last frame that a stranger gets before the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        for piece in sent:
            sock.sendall(piece)
        decoder, frames = FrameDecoder(), list[bytes]()
        while data := sock.recv(4096):
            frames += decoder.feed(data)
        found: dict[str, Any] = json.loads(frames[-1])
        return found


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([encode_frame(b'{"type":"subscribe","room":"feed-1"}')], "unknown_room"),
        ([encode_frame(b'{"type":"subscribe","since":"00000000-0"}')], "bad_cursor"),
        ([encode_frame(b'{"type":"hello"}')], "bad_request"),
        ([encode_frame(b"nonsense")], "bad_request"),
        ([b"\xff\xff\xff\xff"], "frame_too_large"),
        ([encode_frame(HELLO), encode_frame(HELLO)], "unexpected_message"),
    ],
)
def test_the_floor_refuses_what_it_cannot_serve(share: Start, sent: list[bytes], code: str) -> None:
    last = last_answer(share("raw:floor", "--source", "none").port, sent)
    assert (last["type"], last["data"]["code"]) == ("error", code)


def test_the_floor_drops_a_subscriber_that_does_not_keep_up(start: Start) -> None:
    """It has no history to catch up from, and nothing may grow for a reader that has stopped."""
    feed = ("--source", "synthetic", "--rate-hz", "2000", "--payload-bytes", "16384")
    server = start("raw:floor", *feed)

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            newest = await control.stats()

            async def dropped() -> bool:
                """Events are published, and nobody is there to get them."""
                nonlocal newest
                before, newest = newest, await control.stats()
                return bool(
                    newest["deliveries"] == before["deliveries"]
                    and newest["events_published"] > before["events_published"]
                )

            await until(dropped, "the subscriber is dropped", 20)
            assert (await control.stats())["deliveries"] > 0

    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(encode_frame(HELLO))
        assert sock.recv(1)
        run(body())


@pytest.mark.parametrize("option", (["--rooms", "2"], ["--host", "0.0.0.0"], ["--tls", "dev"]))
def test_the_floor_refuses_options_that_it_would_ignore(option: list[str]) -> None:
    done = invoke("servers", "raw", "--variant", "floor", *option)
    assert done.returncode == 1 and f"{option[0]}: --variant floor serves one room on 127.0.0.1" in done.stderr


@pytest.mark.parametrize("gc", ("default", "tuned"))
def test_the_collector_in_force_is_the_one_asked_for(start: Start, transport: str, gc: str) -> None:
    server = start(transport, "--source", "none", "--gc", gc)

    async def collector() -> dict[str, object]:
        async with Control(server.ready["control_url"]) as control:
            found: dict[str, object] = (await control.stats())["collector"]
            return found

    found = run(collector())
    assert server.ready["options"]["gc"] == gc and found["enabled"] is True
    assert found["thresholds"] == ([50_000, 10, 10] if gc == "tuned" else list(get_threshold()))
    assert bool(found["frozen_objects"]) == (gc == "tuned")
