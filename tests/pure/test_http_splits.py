"""A request means the same in whatever pieces it arrives: at every split, byte by byte, and beside its bounds."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from servers.gate.watchdog import ConnectionWatchdog
from servers.http.protocols import BoundedHttp
from servers.platform.options import ServerOptions
from tests.conftest import run

OPTIONS = ServerOptions("polling")
PURE = settings(deadline=None, derandomize=True, database=None, max_examples=60)
HEAD = b"POST /requests HTTP/1.1\r\nHost: x\r\n"
UPGRADE = b"Upgrade: h2c\r\nConnection: Upgrade\r\n"


class Seen(NamedTuple):
    """What the application was asked, and how each request was answered."""

    requests: list[tuple[str, str, int, bytes]]
    """Method, path, number of headers, body."""
    statuses: list[int]
    closed: bool


class FakeTransport:
    """Keeps what is written. The watchdog looks at its socket only when it sweeps, which nobody does here."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def seen(pieces: Sequence[bytes]) -> Seen:
    """Feed a connection in these pieces."""
    requests = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        requests.append((scope["method"], scope["path"], len(scope["headers"]), body))
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def body() -> Seen:
        config = Config(app, http="httptools", ws="none", lifespan="off", log_config=None)
        state, transport = ServerState(), FakeTransport()
        protocol = BoundedHttp(ConnectionWatchdog(10, 20), OPTIONS, config=config, server_state=state, app_state={})
        protocol.connection_made(transport)  # type: ignore[arg-type]  # as much of a transport as is used
        for piece in pieces:
            if not transport.closed:
                protocol.data_received(piece)
        while state.tasks and not transport.closed:
            await asyncio.wait(state.tasks)
            await asyncio.sleep(0)  # a request in line begins when the one before it has been answered
        if protocol.timeout_keep_alive_task is not None:
            protocol.timeout_keep_alive_task.cancel()
        for task in state.tasks:
            task.cancel()
        lines = [line for line in transport.written.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        return Seen(requests, [int(line.split()[1]) for line in lines], transport.closed)

    result: Seen = run(body())
    return result


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The data in pieces that end at these places."""
    return [data[a:b] for a, b in pairwise([0, *places, len(data)])]


def post(body: bytes, *fields: bytes) -> bytes:
    return HEAD + b"".join(fields) + b"Content-Length: %d\r\n\r\n" % len(body) + body


SMALL = {
    "get": b"GET /poll?a=b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    "post": post(b'{"a": "\r\n\r\n"}'),
    "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\n\r\n\r\n0\r\nTrailer: t\r\n\r\n",
    "two": post(b"one") + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty lines": b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n" + post(b"x"),
    "ignored upgrade": post(b"body", UPGRADE) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ignored upgrade without a body": b"GET / HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n" + post(b"x"),
    "no host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "nonsense": b"GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
}


@pytest.mark.parametrize("data", SMALL.values(), ids=SMALL)
def test_every_split_and_byte_by_byte(data: bytes) -> None:
    whole = seen([data])
    assert whole.statuses
    for place in range(1, len(data)):
        assert seen(cut(data, [place])) == whole, data[:place]
    assert seen([data[i : i + 1] for i in range(len(data))]) == whole


def test_a_blank_line_cut_in_two_is_still_one() -> None:
    """With a body so large that taking it for a part of the head would be over the head's bound."""
    data = post(b"z" * 40_000)
    end = data.index(b"\r\n\r\n")
    for place in range(end - 2, end + 6):
        for pieces in (cut(data, [place]), cut(data, [place, place + 1]), cut(data, [10, place, place + 30_000])):
            result = seen(pieces)
            assert result.statuses == [200] and len(result.requests[0][3]) == 40_000


def around_the_bound() -> Iterator[tuple[int, bytes]]:
    bound = OPTIONS.max_head_bytes
    for size in (bound - 1000, bound - 1, bound + 100, 2 * bound):
        one = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
        yield size, one + b"y" * (size - len(one) - 4) + b"\r\n\r\n"
        many = b"GET / HTTP/1.1\r\nHost: x\r\n"
        line = b"X-1: " + b"y" * 93 + b"\r\n"
        yield size, many + line * ((size - len(many) - 2) // len(line)) + b"\r\n"


@pytest.mark.parametrize(("size", "data"), list(around_the_bound()))
def test_the_bound_on_a_head_is_the_same_in_all_pieces(size: int, data: bytes) -> None:
    status = 200 if size <= OPTIONS.max_head_bytes else 431
    for step in (len(data), 1, 7, 4096, 65_536):
        assert seen([data[i : i + step] for i in range(0, len(data), step)]).statuses == [status], step


def test_a_long_url_is_the_same_in_all_pieces() -> None:
    for size, status in ((OPTIONS.max_url_bytes, 200), (OPTIONS.max_url_bytes + 1, 414), (100_000, 414)):
        data = b"GET /" + b"u" * (size - 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n"
        for step in (len(data), 1 if size < 10_000 else 1000, 4096):
            assert seen([data[i : i + step] for i in range(0, len(data), step)]).statuses == [status]


def test_a_large_request_does_not_count_for_the_head_behind_it() -> None:
    large = post(b"z" * 40_000)
    data = large + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    for place in range(len(large) - 3, len(data)):
        assert seen(cut(data, [place])).statuses == [200, 200]


@PURE
@given(st.lists(st.sampled_from(list(SMALL.values())[:7]), min_size=1, max_size=4), st.data())
def test_requests_in_line_in_any_pieces(requests: list[bytes], data: st.DataObject) -> None:
    text = b"".join(requests)
    places = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=8)))
    assert seen(cut(text, places)) == seen([text])
