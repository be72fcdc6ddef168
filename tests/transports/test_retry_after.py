"""How long a client waits before it tries again: at least as long as it is asked to, by whatever means."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.core.backoff import MAX_ASKED_WAIT_S, Backoff
from clients.core.client import Client, Received, new_shared
from clients.core.errors import GaveUpError, RequestError
from clients.core.options import ClientOptions
from clients.core.renewal import keep_renewed
from clients.http.answers import retry_after_s
from feed.envelope import decode_envelope, encode_envelope, encode_error
from feed.wire import encode_sse
from servers.gate.auth import DEV_KEY, mint
from tests.conftest import run, until
from tests.helpers import hostile
from tests.helpers.hostile import BATCH, HTML, WELCOME, listening, message, opening, outcome, response, stranger

PURE = settings(deadline=None, derandomize=True, database=None)
HTTP = ("polling", "long_polling", "sse", "socketio")
STREAMS = ("sse", "websocket", "socketio", "raw")
NOW_S = 1_795_000_000.0


def websocket_only(transport: str) -> dict[str, str]:
    return {"variant": "websocket_only"} if transport == "socketio" else {}


@PURE
@given(st.integers(0, 10**12), st.sampled_from(["", " "]))
def test_delta_seconds_are_read(seconds: int, space: str) -> None:
    assert retry_after_s(f"{space}{seconds}{space}", NOW_S) == seconds


@PURE
@given(st.integers(-(10**6), 10**6))
def test_all_three_forms_of_a_date_are_read(seconds: int) -> None:
    at = datetime.fromtimestamp(NOW_S, UTC) + timedelta(seconds=seconds)
    for text in (
        format_datetime(at, usegmt=True),
        f"{at:%A, %d-%b-%y %H:%M:%S GMT}",
        f"{at:%a %b} {at.day:2d} {at:%H:%M:%S %Y}",
    ):
        assert retry_after_s(text, NOW_S) == max(0, seconds), text


@PURE
@given(
    st.text(max_size=40)
    | st.sampled_from(["-1", "1.5", "1e3", "٣", "soon", "Mon, 99 Foo 2026 00:00:00 GMT", "9" * 5000])
)
def test_whatever_is_said_a_wait_comes_of_it(text: str) -> None:
    waited_s = retry_after_s(text, NOW_S)
    assert waited_s >= 0
    delay_s = Backoff(1, 2, 30, 5, random.Random(1)).delay_s(waited_s)
    assert delay_s is not None and 0 <= delay_s <= MAX_ASKED_WAIT_S + 1


@PURE
@given(st.floats(allow_nan=False), st.integers(0, 100))
def test_a_wait_is_at_least_what_was_asked_for_plus_jitter_and_bounded(asked_s: float, seed: int) -> None:
    plain, asked = (Backoff(1, 2, 30, 5, random.Random(seed)) for _ in range(2))
    for _ in range(5):
        jitter_s, delay_s = plain.delay_s(), asked.delay_s(asked_s)
        assert jitter_s is not None and delay_s == min(max(asked_s, 0.0), MAX_ASKED_WAIT_S) + jitter_s
    assert asked.delay_s(asked_s) is None


class Waits:
    """Stands in for the pauses of a client's loop: notes them, and takes none of the long ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.long_s: list[float] = []
        self._sleep = asyncio.sleep
        monkeypatch.setattr("clients.core.client.asyncio.sleep", self)

    async def __call__(self, delay_s: float, result: object = None) -> None:
        if delay_s > 1:
            self.long_s.append(delay_s)
            delay_s = 0
        await self._sleep(delay_s)


ASKED = {
    "seconds": response(HTML, "text/html", "503 Busy", "Retry-After: 77"),
    "body": response(encode_error("rate_limited", "slowly", "", 77.0), "application/json", "429 Too Many"),
    "both": response(
        encode_error("rate_limited", "slowly", "", 7.0), "application/json", "429 Too Many", "Retry-After: 77"
    ),
}


@pytest.mark.parametrize(
    ("transport", "asked"),
    [*((transport, asked) for transport in HTTP for asked in ASKED), ("websocket", "seconds"), ("websocket", "both")],
)
def test_the_next_attempt_waits_as_long_as_the_answer_asks(
    transport: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(ASKED[asked])

        async with stranger(say) as server:
            with pytest.raises(GaveUpError):
                await outcome(server.client(transport))

    waits = Waits(monkeypatch)
    run(body())
    assert len(waits.long_s) == 3 and all(77 <= wait_s <= 77.001 for wait_s in waits.long_s)


@pytest.mark.parametrize("transport", STREAMS)
@pytest.mark.parametrize("welcomed", [False, True])
def test_the_next_attempt_waits_as_long_as_the_stream_says(
    transport: str, welcomed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = encode_error("too_many_connections", "full", "", 77.0)

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            said = [WELCOME, end] if welcomed else [end]
            writer.write(opening(transport, request) + b"".join(message(transport, one) for one in said))

        async with stranger(say, b"}" if transport == "raw" else b"\r\n\r\n") as server:
            client = server.client(transport, **websocket_only(transport))
            async with listening(client):
                await until(lambda: client.reconnects >= 2, "reconnected twice")

    waits = Waits(monkeypatch)
    run(body())
    assert all(77 <= wait_s <= 77.001 for wait_s in waits.long_s) and len(waits.long_s) >= 2


def test_a_refused_socketio_connection_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        refusal = b'44{"message":"no","data":{"code":"rate_limited","message":"slowly","retry_after_s":77}}'

        async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(response(hostile.HANDSHAKE + b"\x1e" + refusal, "text/plain"))

        async with stranger(say) as server:
            with pytest.raises(GaveUpError, match="rate_limited: slowly"):
                await outcome(server.client("socketio"))

    waits = Waits(monkeypatch)
    run(body())
    assert len(waits.long_s) == 3 and all(wait_s >= 77 for wait_s in waits.long_s)


def test_an_event_streams_retry_stays_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for reconnections behind one whose stream did not say it again, and behind an answer that asks for less."""

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            if len(server.requests) == 2:
                writer.write(response(HTML, "text/html", "503 Busy", "Retry-After: 5"))
                return
            writer.write(opening("sse", request) + (b"retry: 77000\n" if len(server.requests) == 1 else b""))
            writer.write(message("sse", WELCOME))
            await writer.drain()
            writer.close()

        async with stranger(say) as server:
            client = server.client("sse")
            async with listening(client):
                await until(lambda: client.reconnects >= 4, "reconnected four times")

    waits = Waits(monkeypatch)
    run(body())
    assert len(waits.long_s) >= 3 and all(77 <= wait_s <= 77.001 for wait_s in waits.long_s)


def test_a_request_is_sent_again_after_the_time_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            if request.startswith(b"GET"):
                writer.write(response(BATCH))
            elif b"/sessions" in request:
                writer.write(response(WELCOME))
            elif sum(b"/requests" in one for one in server.requests) < 3:
                writer.write(response(HTML, "text/html", "503 Busy", "Retry-After: 77"))
            else:
                writer.write(response(encode_envelope("ack", "1", "", 1)))

        async with stranger(say) as server:
            client = server.client("polling")
            async with listening(client):
                assert await client.request("call", service="echo", data=1) == 1

    waits = Waits(monkeypatch)
    run(body())
    assert len(waits.long_s) == 2 and all(wait_s >= 77 for wait_s in waits.long_s)


class Limited(Client):
    """Two connections; its rooms are refused twice before they are granted."""

    asked = 0
    may_be_cut: asyncio.Event

    async def receive(self) -> Any:
        yield Received(decode_envelope(WELCOME), 1)
        if self.reconnects == 0:
            await self.may_be_cut.wait()
            raise EOFError("a cut")
        await asyncio.Event().wait()

    async def send_request(self, id_: str, body: bytes, payload: bytes = b"") -> Any:
        self.asked += 1
        if 2 <= self.asked <= 3:
            return decode_envelope(encode_error("rate_limited", "slowly", id_, 77.0))
        return decode_envelope(encode_envelope("ack", id_, "", {}))


def test_a_room_is_joined_again_after_the_time_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        client = Limited("", ClientOptions(**hostile.SLEEPLESS), new_shared(seed=1))  # type: ignore[arg-type]  # mixed values
        client.may_be_cut = asyncio.Event()
        async with listening(client):
            await client.join("tea")
            client.may_be_cut.set()
            await until(lambda: client.asked == 4, "asked until it was granted")
            assert client.membership.rooms == {"tea": None}

    waits = Waits(monkeypatch)
    run(body())
    assert len(waits.long_s) == 2 and all(77 <= wait_s <= 77.001 for wait_s in waits.long_s)


def test_a_token_is_renewed_again_after_the_time_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the fresh token, which the server has not taken, is about to expire."""
    outcomes = [RequestError("rate_limited", "slowly", 77.0), OSError("no source"), None]
    renewed = asyncio.Event()

    class Renewing(Client):
        async def renew(self, token: str) -> None:
            self.token = token
            outcome_ = outcomes.pop(0)
            if outcome_ is not None:
                raise outcome_
            renewed.set()

    async def source() -> str:
        return mint(DEV_KEY, "ann", 3600.0, time.time())

    async def body() -> None:
        client = Renewing("", ClientOptions(token=mint(DEV_KEY, "ann", 1.0, time.time() - 1)), new_shared(seed=1))
        renewing = asyncio.ensure_future(keep_renewed(client, source))
        await asyncio.wait_for(renewed.wait(), 10)
        renewing.cancel()

    waits = Waits(monkeypatch)
    run(body())
    assert 77 <= waits.long_s[0] <= 78 and 1 <= waits.long_s[1] <= 2


@pytest.mark.parametrize("last", [encode_error("rate_limited", "later"), b"junk"], ids=["error", "junk"])
def test_a_retry_counts_though_its_read_ends_the_stream(last: bytes) -> None:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        text = b"retry: 300\n\n" + encode_sse(WELCOME) + encode_sse(last)
        writer.write(opening("sse", request) + text)
        await writer.drain()
        writer.close()

    async def body() -> float:
        async with stranger(say) as server:
            began_s = time.monotonic()
            async with listening(server.client("sse")):
                await until(lambda: len(server.requests) == 3, "tried again twice")
            return time.monotonic() - began_s

    assert run(body()) >= 0.6


@pytest.mark.parametrize("transport", STREAMS)
def test_an_error_that_says_when_to_try_again_is_no_end(transport: str) -> None:
    """Whatever its code."""

    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        error = encode_error("too_many_requests", "later", retry_after_s=0.2)
        writer.write(opening(transport, request) + message(transport, error))

    async def body() -> float:
        async with stranger(say, **({"head_end": b"}"} if transport == "raw" else {})) as server:
            began_s = time.monotonic()
            with pytest.raises(GaveUpError):
                await outcome(server.client(transport, max_attempts=1, **websocket_only(transport)))
            return time.monotonic() - began_s

    assert run(body()) >= 0.2
