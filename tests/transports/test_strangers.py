"""Servers that are none of ours: the client ends with the reason, or waits as long as it is asked to."""

import asyncio
from typing import Any

import pytest

from clients.core.errors import GaveUpError, RefusedError
from clients.http.answers import is_passing
from feed.envelope import encode_envelope, encode_error
from tests.conftest import run
from tests.helpers import hostile
from tests.helpers.hostile import BATCH, EVENT, HTML, WELCOME, listening, message, opening, outcome, response, stranger

HTTP = ("polling", "long_polling", "sse", "socketio")
STREAMS = ("sse", "websocket", "socketio", "raw")


def websocket_only(transport: str) -> dict[str, str]:
    return {"variant": "websocket_only"} if transport == "socketio" else {}


async def ends(transport: str, answer: bytes, **options: Any) -> tuple[RefusedError, int]:
    """How a client ends that is always answered with this, and after how many requests."""

    async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with stranger(say) as server:
        with pytest.raises(RefusedError) as caught:
            await outcome(server.client(transport, **options))
    return caught.value, len(server.requests)


@pytest.mark.parametrize("transport", [*HTTP, "websocket"])
@pytest.mark.parametrize(
    "answer",
    [
        response(HTML, "text/html"),
        response(b"{}", "application/json"),
        response(b"", "text/plain", "204 No Content"),
        response(HTML, "text/html", "404 Not Found"),
        response(HTML, "text/html", "403 Forbidden"),
        response(HTML, "text/html", "501 Not Implemented"),
        response(b"", "text/plain", "304 Not Modified"),
        response(b"", "text/plain", "302 Found", "Location: /again"),
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
    ids=[
        "html",
        "json",
        "no_content",
        "not_found",
        "forbidden",
        "not_implemented",
        "not_modified",
        "circle",
        "no_http",
    ],
)
def test_what_is_no_feed_ends_the_client_at_once(transport: str, answer: bytes) -> None:
    error, requests = run(ends(transport, answer))
    assert error.code in ("not_pushmark", "handshake_refused")
    assert "got" in str(error) or "expected is" in str(error)
    assert requests == (10 if b"302" in answer else 1), "it was not tried again"


@pytest.mark.parametrize(
    ("transport", "body", "named"),
    [
        ("polling", HTML, "no envelope"),
        ("long_polling", WELCOME, "'welcome'; expected is an envelope of type batch"),
        ("polling", encode_envelope("batch", "0badcafe-0", "feed", {"resume": 1}), "batch that cannot be read"),
        ("polling", encode_envelope("batch", "x", "feed", {"resume": "new", "missed": 0, "events": []}), "batch that"),
        ("polling", b'{"type":"batch","id":"","room":"","data":' + b"[" * 100_000, "no envelope"),
    ],
    ids=["html", "welcome", "no_batch", "no_cursor", "too_deep"],
)
def test_a_whole_answer_that_is_no_batch_ends_a_poller(transport: str, body: bytes, named: str) -> None:
    error, requests = run(ends(transport, response(body)))
    assert error.code == "not_pushmark" and named in str(error) and requests == 1


@pytest.mark.parametrize(
    "body",
    [HTML, b"0[]", b'0"x"', b'0{"sid":"x"}', b"2", b"", b"\xff", hostile.HANDSHAKE.replace(b"25000", b"-1")],
    ids=["html", "list", "text", "half", "ping", "empty", "bytes", "negative"],
)
def test_what_is_no_engineio_handshake_ends_the_client(body: bytes) -> None:
    error, requests = run(ends("socketio", response(body, "text/plain; charset=UTF-8")))
    assert error.code == "not_pushmark" and requests == 1


def test_a_refused_namespace_ends_the_client() -> None:
    packets = hostile.HANDSHAKE + b'\x1e44{"message":"Invalid namespace"}'
    error, requests = run(ends("socketio", response(packets, "text/plain")))
    assert "Invalid namespace" in str(error) and requests <= 3


@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize(
    "first",
    [
        EVENT,
        encode_envelope("news", "", "", {}),
        b"hello",
        b"[1]",
        b'{"type":"welcome"}',
        b"[" * 100_000,
        encode_envelope("welcome", "x", "feed", {"resume": "new", "missed": 0}),
    ],
    ids=["event", "unknown", "text", "list", "half", "too_deep", "no_cursor"],
)
def test_a_first_message_that_is_no_welcome_ends_the_client(transport: str, first: bytes) -> None:
    error, count = run(_ends_with(transport, first))
    assert error.code == "not_pushmark" and "expected is a 'welcome' first" in str(error) and count == 1


async def _ends_with(transport: str, *envelopes: bytes) -> tuple[RefusedError, int]:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(opening(transport, request) + b"".join(message(transport, one) for one in envelopes))

    async with stranger(say, b"}" if transport == "raw" else b"\r\n\r\n") as server:
        with pytest.raises(RefusedError) as caught:
            await outcome(server.client(transport, **websocket_only(transport)))
    return caught.value, len(server.requests)


@pytest.mark.parametrize("transport", STREAMS)
def test_an_error_first_says_why(transport: str) -> None:
    error, _ = run(_ends_with(transport, encode_error("unknown_room", "no such room")))
    assert str(error) == "refused (unknown_room): no such room"


@pytest.mark.parametrize("transport", STREAMS)
def test_nonsense_behind_every_welcome_is_given_up(transport: str) -> None:
    """An accident on the way passes; what comes again behind each welcome does not begin the row of failures anew."""

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(opening(transport, request) + message(transport, WELCOME) + message(transport, b"hello"))

        async with stranger(say, b"}" if transport == "raw" else b"\r\n\r\n") as server:
            with pytest.raises(GaveUpError, match="after 3 reconnections"):
                await outcome(server.client(transport, **websocket_only(transport)))

    run(body())


@pytest.mark.parametrize("transport", [*HTTP, "websocket"])
@pytest.mark.parametrize("status", ["408 Request Timeout", "425 Too Early", "429 Too Many", "500 Oops", "503 Busy"])
def test_passing_answers_are_tried_again(transport: str, status: str) -> None:
    async def body() -> int:
        async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(response(HTML, "text/html", status))

        async with stranger(say) as server:
            with pytest.raises(GaveUpError, match=status[:3]):
                await outcome(server.client(transport))
        return len(server.requests)

    assert run(body()) == 4


def test_every_status_passes_or_does_not() -> None:
    passing = [status for status in range(200, 600) if is_passing(status)]
    assert passing == [408, 425, 429, 500, 502, 503, 504, *range(506, 600)]


@pytest.mark.parametrize(
    "answer",
    [response(BATCH)[:-5], response(BATCH)[: -len(BATCH)], hostile.endless_head("application/json") + BATCH[:-5]],
    ids=["in_its_body", "before_its_body", "without_a_length"],
)
def test_a_cut_poll_is_tried_again(answer: bytes) -> None:
    async def body() -> list[str]:
        async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
            if len(server.requests) == 1:
                writer.write(answer)
                await writer.drain()
                writer.close()
            else:
                writer.write(response(BATCH))

        async with stranger(say) as server:
            return await outcome(server.client("polling"), take=1)

    assert run(body()) == ["welcome"]


@pytest.mark.parametrize(
    "answer",
    [
        response(HTML, "text/html"),
        response(HTML),
        response(BATCH),
        response(b"{}"),
        response(HTML, "text/html", "404 No"),
        response(encode_envelope("error", "1", "", {"code": 1})),
    ],
    ids=["html", "html_as_json", "batch", "json", "not_found", "no_error"],
)
@pytest.mark.parametrize("path", [b"/sessions", b"/requests"])
def test_a_request_is_not_sent_again_to_who_cannot_answer_it(path: bytes, answer: bytes) -> None:
    async def body() -> int:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            if request.startswith(b"GET"):
                writer.write(response(BATCH))
            else:
                writer.write(answer if path in request.split(b"\r\n")[0] else response(WELCOME))

        async with stranger(say) as server:
            client = server.client("polling")
            async with listening(client):
                with pytest.raises(RefusedError, match="not_pushmark"):
                    await client.request("call", service="echo", data=1)
        return sum(request.startswith(b"POST " + path) for request in server.requests)

    assert run(body()) == 1


def test_an_answer_in_pieces_is_read_whole() -> None:
    """A request's answer, and the body of a refusal."""

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            ack = response(encode_envelope("ack", "1", "", "x" * 1000))
            answer = (
                response(BATCH) if request.startswith(b"GET") else ack if b"/requests" in request else response(WELCOME)
            )
            writer.write(answer[:-20])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(answer[-20:])

        async with stranger(say) as server:
            client = server.client("polling")
            async with listening(client):
                assert await client.request("call", service="echo", data=1) == "x" * 1000

    run(body())


@pytest.mark.parametrize("transport", STREAMS)
def test_a_stream_that_only_beats_is_left(transport: str) -> None:
    """As somebody else's stream would: it is open, it lives, and it never welcomes anybody."""
    beat = {"sse": b": ping\n\n", "websocket": b"\x89\x00", "socketio": b"\x81\x012", "raw": bytes(4)}[transport]

    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(opening(transport, request))
        while not writer.is_closing():
            writer.write(beat)
            await writer.drain()
            await asyncio.sleep(0.05)

    async def body() -> str:
        async with stranger(say, **FIRST.get(transport, {})) as server:
            client = server.client(
                transport, max_attempts=1, connect_timeout_s=0.2, answer_margin_s=0.2, **websocket_only(transport)
            )
            with pytest.raises(GaveUpError) as caught:
                await outcome(client)
            return str(caught.value)

    assert "no welcome within 0.4 s" in run(body())


FIRST = {"raw": {"head_end": b"}"}}
"""What a client of the baseline sends first ends so."""


def test_a_socketio_connection_that_ends_while_it_is_made_is_tried_again() -> None:
    """The library waits for a namespace that nobody can name any more."""

    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(opening("socketio", request))
        await writer.drain()
        writer.close()

    async def body() -> int:
        async with stranger(say) as server:
            with pytest.raises(GaveUpError):
                await outcome(server.client("socketio", variant="websocket_only", max_attempts=2))
            return len(server.requests)

    assert run(body()) == 3


def test_a_request_that_is_never_answered_fails_in_words() -> None:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(opening("websocket", request) + message("websocket", WELCOME))

    async def body() -> None:
        async with stranger(say) as server:
            client = server.client("websocket", request_timeout_s=0.2)
            async with listening(client):
                with pytest.raises(TimeoutError, match=r"no answer to 'call' within 0\.2 s"):
                    await client.request("call", service="echo")

    run(body())
