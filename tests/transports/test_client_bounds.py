"""What a client keeps of what it is sent has a bound, whatever a server sends: each ends it with the reason."""

import asyncio
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from itertools import count, repeat
from typing import Any

import msgspec
import pytest
from hypothesis import settings

from clients import raw, socketio
from clients.core.client import Client, new_shared
from clients.core.errors import ClientError, GaveUpError, RefusedError
from clients.core.options import ClientOptions
from clients.core.session import HOLES_PER_OTHER_ROOM, MAX_OTHER_ROOMS, REMEMBERED_MESSAGES, RecentMessages
from clients.http import answers
from clients.http import stamped as http
from feed.envelope import decode_envelope, encode_envelope
from feed.wire import (
    MAX_SSE_EVENT_BYTES,
    MAX_SSE_LINE_BYTES,
    encode_sse,
)
from tests.conftest import run, until
from tests.helpers.hostile import (
    BATCH,
    EPOCH,
    WELCOME,
    Stranger,
    endless_head,
    listening,
    message,
    opening,
    outcome,
    response,
    stranger,
)

PURE = settings(deadline=None, derandomize=True, database=None)
PIECE = 1 << 16
SENT_AT_MOST = 256 << 20
KEPT_AT_MOST = 64 << 20
"""Far more than any bound, and far less than what is sent where there is none."""


def event(seq: int, room: str = "feed", data: object = "") -> bytes:
    return encode_envelope("event", f"{EPOCH}-{seq}", room, data)


async def flood(
    transport: str, first: Callable[[bytes], bytes], pieces: Callable[[], Iterator[bytes]], polls: bool = False
) -> ClientError:
    """How a client ends that is sent this until it leaves, and kept little of it."""

    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(first(request))
        sent = 0
        for piece in pieces():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            assert sent < SENT_AT_MOST, "the client takes whatever it is sent"

    tracemalloc.start()
    try:
        async with stranger(say, b"}" if transport == "raw" else b"\r\n\r\n") as server:
            client = server.client(transport, variant="" if polls else "websocket_only", max_attempts=1)
            with pytest.raises(ClientError) as caught:
                await outcome(client)
        assert tracemalloc.get_traced_memory()[1] < KEPT_AT_MOST
    finally:
        tracemalloc.stop()
    return caught.value


def welcomed(transport: str) -> Callable[[bytes], bytes]:
    return lambda request: opening(transport, request) + message(transport, WELCOME)


@pytest.mark.parametrize(
    ("piece", "named"),
    [
        (b"data: " + b"x" * (PIECE - 7) + b"\n", f"an event is over the bound of {MAX_SSE_EVENT_BYTES} bytes"),
        (b"colour: " + b"x" * (PIECE - 9) + b"\n", f"an event is over the bound of {MAX_SSE_EVENT_BYTES} bytes"),
        (b"data\n" * 1000, f"an event is over the bound of {MAX_SSE_EVENT_BYTES} bytes"),
        (b"x" * PIECE, f"an event-stream line is over the bound of {MAX_SSE_LINE_BYTES} bytes"),
    ],
    ids=["data", "ignored", "empty", "line"],
)
@pytest.mark.parametrize("first", [b"", WELCOME], ids=["at_once", "behind_a_welcome"])
def test_an_event_that_does_not_end_ends_the_client(piece: bytes, named: str, first: bytes) -> None:
    before = encode_sse(first) if first else b""
    error = run(flood("sse", lambda request: opening("sse", request) + before, lambda: repeat(piece)))
    assert isinstance(error, RefusedError) and error.code == "too_large" and named in str(error)


@pytest.mark.parametrize("piece", [b":\n", b": ping\n\n", b"\n", b"id\n\n"], ids=["comment", "ping", "blank", "field"])
def test_nothing_is_kept_of_lines_that_bring_nothing(piece: bytes) -> None:
    """Also no receive times, however many reads brought them."""

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(opening("sse", request) + message("sse", WELCOME))
            for seq in range(1, 200):
                writer.write(piece)
                await writer.drain()
                await until(lambda seq=seq: received() >= seq, "taken")
            await until(lambda: len(protocols[0].stamps) <= 2, "forgotten")
            done.set()

        def received() -> int:
            return (protocols[0].reads - 1) if protocols else 0

        protocols: list[Any] = []
        done = asyncio.Event()

        class Counting(http.StampedProtocol):
            reads = 0

            def data_received(self, data: bytes) -> None:
                self.reads += 1
                super().data_received(data)
                protocols[:] = [self]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http, "StampedProtocol", Counting)
            async with stranger(say) as server, listening(server.client("sse")):
                await asyncio.wait_for(done.wait(), 20)

    run(body())


@pytest.mark.parametrize("transport", ["polling", "long_polling", "socketio", "sse", "websocket"])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "503 Busy"])
def test_an_answer_that_does_not_end_is_not_taken(transport: str, status: str) -> None:
    type_ = {"socketio": "text/plain", "sse": "text/html"}.get(transport, "application/json")
    error = run(flood(transport, lambda _: endless_head(type_, status), lambda: repeat(b"x" * PIECE), polls=True))
    if status == "503 Busy":
        assert isinstance(error, GaveUpError)
    else:
        assert isinstance(error, RefusedError), error
    if status == "200 OK" and transport not in ("sse", "websocket"):
        assert error.code == "too_large" and f"over the bound of {answers.MAX_ANSWER_BYTES} bytes" in str(error)


@pytest.mark.parametrize("transport", ["polling", "socketio"])
def test_an_answer_is_bounded_by_what_comes_of_it(transport: str) -> None:
    """Compressed it is a thousandth of that."""
    body = zlib.compress(b"x" * (128 << 20))
    type_ = "text/plain" if transport == "socketio" else "application/json"
    answer = response(body, type_, "200 OK", "Content-Encoding: deflate")
    error = run(flood(transport, lambda _: answer, lambda: iter(()), polls=True))
    assert isinstance(error, RefusedError) and error.code == "too_large"


@pytest.mark.parametrize("path", [b"/sessions", b"/requests"])
def test_an_answer_to_a_request_is_bounded(path: bytes) -> None:
    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            if request.startswith(b"GET"):
                writer.write(response(BATCH))
            elif path not in request.split(b"\r\n")[0]:
                writer.write(response(WELCOME))
            else:
                writer.write(endless_head("application/json"))
                for _ in range(SENT_AT_MOST // PIECE):
                    writer.write(b"x" * PIECE)
                    await writer.drain()

        async with stranger(say) as server:
            client = server.client("polling")
            async with listening(client):
                with pytest.raises(RefusedError, match="too_large"):
                    await client.request("call", service="echo", data=1)

    run(body())


def test_an_answer_of_many_megabytes_is_taken() -> None:
    """Our own servers answer with a whole history."""
    events = [{"type": "event", "id": f"{EPOCH}-{n}", "room": "feed", "data": "x" * 60_000} for n in range(1, 250)]
    big = encode_envelope("batch", f"{EPOCH}-249", "feed", {"resume": "new", "missed": 0, "events": events})
    assert len(big) > 14 << 20

    async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response(big))

    async def body() -> None:
        async with stranger(say) as server:
            assert await outcome(server.client("polling"), take=250) == ["welcome"] + ["event"] * 249

    run(body())


@pytest.mark.parametrize("transport", ["sse", "websocket", "socketio", "raw"])
def test_rooms_without_end_end_the_client(transport: str) -> None:
    def pieces() -> Iterator[bytes]:
        return (message(transport, event(1, f"room-{number}")) for number in count())

    error = run(flood(transport, welcomed(transport), pieces))
    assert isinstance(error, RefusedError) and f"more than the {MAX_OTHER_ROOMS}" in str(error)


@pytest.mark.parametrize("room", ["x" * 65, "a b", "@@a", "é", "@"])
def test_what_is_no_name_of_a_room_is_none(room: str) -> None:
    """Also long ones would be kept."""
    error = run(flood("websocket", welcomed("websocket"), lambda: repeat(message("websocket", event(1, room)), 1)))
    assert isinstance(error, GaveUpError) and "is not a room name" in str(error)


def test_the_holes_of_rooms_are_bounded() -> None:
    async def body() -> None:
        client = Client("", ClientOptions(), new_shared(seed=1))
        session = client.sessions.of("tea")
        for seq in range(1, 100_000, 50):
            session.observe(decode_envelope(event(seq, "tea")))
        assert session.silently_lost == HOLES_PER_OTHER_ROOM

    run(body())


def test_ids_of_messages_are_few_and_short() -> None:
    recent = RecentMessages()
    assert recent.is_first("0") and not recent.is_first("0")
    for number in range(1, REMEMBERED_MESSAGES + 1):
        assert recent.is_first(str(number))
    assert recent.is_first("0"), "it was forgotten"
    long_id = encode_envelope("message", f"{EPOCH}-1", "feed", {"message": "x" * 65})
    error = run(flood("websocket", welcomed("websocket"), lambda: repeat(message("websocket", long_id), 1)))
    assert isinstance(error, GaveUpError) and "length <= 64" in str(error)


@pytest.mark.parametrize("data", [[1], "x", {"message": 5}], ids=["list", "text", "number"])
def test_a_message_whose_data_is_none_is_nonsense(data: object) -> None:
    odd = encode_envelope("message", f"{EPOCH}-1", "feed", data)
    error = run(flood("websocket", welcomed("websocket"), lambda: repeat(message("websocket", odd), 1)))
    assert isinstance(error, GaveUpError)


@pytest.mark.parametrize("transport", ["websocket", "socketio"])
@pytest.mark.parametrize(
    "frames",
    [
        lambda: repeat(b"\x01\x7f" + PIECE.to_bytes(8, "big") + b"x" * PIECE, 1),
        lambda: repeat(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"), 1),
    ],
    ids=["fragment", "announced"],
)
def test_a_websocket_message_over_the_bound_ends(transport: str, frames: Callable[[], Iterator[bytes]]) -> None:
    def pieces() -> Iterator[bytes]:
        yield from frames()
        yield from repeat(b"\x00\x7f" + PIECE.to_bytes(8, "big") + b"x" * PIECE)

    assert run(flood(transport, welcomed(transport), pieces))


async def held(server: Stranger, transport: str, client: Client) -> None:
    """A consumer that takes the welcome and then no more for a while."""
    stream = client.events()
    await anext(stream)
    await asyncio.sleep(0.5)
    await stream.aclose()


@pytest.mark.parametrize("transport", ["websocket", "socketio", "raw", "sse"])
def test_what_waits_for_a_slow_consumer_is_bounded(transport: str) -> None:
    big = event(1, data="x" * 1_000_000)

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(welcomed(transport)(request))
            for _ in range(SENT_AT_MOST // len(big)):
                writer.write(message(transport, big))
                await writer.drain()

        async with stranger(say, b"}" if transport == "raw" else b"\r\n\r\n") as server:
            client = server.client(transport, variant="websocket_only")
            await held(server, transport, client)

    tracemalloc.start()
    try:
        run(body())
        assert tracemalloc.get_traced_memory()[1] < KEPT_AT_MOST
    finally:
        tracemalloc.stop()
    assert raw.MAX_WAITING_BYTES < KEPT_AT_MOST > socketio.MAX_WAITING_BYTES


@pytest.mark.parametrize("transport", ["polling", "long_polling"])
@pytest.mark.parametrize("drip", ["body", "heads"])
def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch, transport: str, drip: str) -> None:
    monkeypatch.setattr("clients.http.answers.BODY_WITHIN_S", 0.3)
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    drop = b"x" if drip == "body" else b"HTTP/1.1 100 Continue\r\n\r\n"

    async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begun if drip == "body" else b"")
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.05)

    async def body() -> str:
        async with stranger(say) as server:
            client = server.client(transport, max_attempts=1, connect_timeout_s=5.0, answer_margin_s=0.3)
            client.options = msgspec.structs.replace(client.options, connect_timeout_s=0.3)
            with pytest.raises(GaveUpError) as caught:
                await outcome(client)
            return str(caught.value)

    said = run(body())
    assert "drips" in said or "TimeoutError" in said
