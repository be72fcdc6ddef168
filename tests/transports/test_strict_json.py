"""The same bytes are taken or refused with the same words, whichever transport brings them."""

import json
import math
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.envelope import decode_envelope, decode_error
from feed.requests import RequestError, decode_request
from feed.strict import MAX_DEPTH, JsonError, decode_strictly
from feed.wire import encode_frame
from tests.conftest import Start, run
from tests.helpers.upstreams import asking
from tests.transports.test_bad_input import exchange, request

ANY = msgspec.json.Decoder(Any)


def call(data: str) -> bytes:
    return b'{"type":"call","id":"1","service":"echo","data":' + data.encode() + b"}"


def nested(depth: int) -> str:
    """As the data of a call it is one level deeper."""
    return "[" * (depth - 1) + "]" * (depth - 1)


TAKEN = [
    "null", "-0", "0e999999", "1e-400", "1.7976931348623157e308", "18446744073709551615", "18446744073709551616",
    "-9223372036854775809", "1" * 30, "1" + "0" * 308, "0." + "1" * 400, '"\\ud83d\\ude00"', '"\U0001f600"',
    '"\\u0000"', '"\u2028"', '"1e400"', '"[[[["', '{"a":1,"a":2}', '{"":0}', '"\\\\\\""', nested(31), nested(32),
]  # fmt: skip
"""Data that comes back from an echo byte by byte."""
REFUSED = [
    '"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '{"\\ud800":1}', '["a",{"b":"x\\udfffy"}]', "NaN", "Infinity",
    "-Infinity", "1e400", "-1e400", "[1,{\"a\":1e309}]", "1" + "0" * 309, "-" + "9" * 400, "9" * 5000,
    nested(33), nested(1000), "[" * 3000, "/**/1", "1//", "'a'", "", " ", "01", "+1", ".5", "1.", "0x1", "[1,]",
    '{"a"}', '{a:1}', '"\\x"', '"\t"', '"a', "True", "1 2", "undefined",
]  # fmt: skip
"""What cannot be represented, or is no JSON, as data."""
BODIES = [
    b"", b"  ", b"[]", b"[{}]", b"1", b'"x"', b"null", b"{}", b"{", b"]", b"'x'", b'{"type":"call"',
    call("1") + b"x", call("1") + b"\0", b"\xef\xbb\xbf" + call("1"), b"//\n" + call("1"),
    b'{"type":"join","id":"\\ud800","room":"a"}', b'{"type":"join","id":"1","room":"\\ud800"}',
    b'{"type":"join","id":"1","\\ud800":"a"}', b'{"type":"\\ud800","id":"1"}', b'{"type":"join","id":1,"room":"a"}',
    b'{"type":"publish","id":"1","user":"x","data":1,"ack_timeout_s":1e400}',
    b'{"type":"publish","id":"1","room":"a","data":NaN}', b'{"type":"acknowledge","id":"1","message":"x","data":1e400}',
    b'{"type":"join","id":"1","room":"a\\u0000"}', b'{"type":"join","id":"1","room":"\xc3\xa9"}',
]  # fmt: skip
"""Whole requests that are none."""


def test_every_transport_takes_and_refuses_the_same(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none", "--limit", "message_burst=10000")

    async def body() -> None:
        async with asking(server) as ask:
            for number, data in enumerate(TAKEN):
                request = call(data).replace(b'"id":"1"', b'"id":"taken-%d"' % number)
                answer = await ask(request)
                assert (answer.type, answer.id, bytes(answer.data)) == ("ack", f"taken-{number}", data.encode())
            for refused in [*map(call, REFUSED), *BODIES]:
                answer = await ask(refused)
                assert answer.type == "error", refused
                error = decode_error(answer.data)
                with pytest.raises(RequestError) as expected:
                    decode_request(refused)
                said = (error.code, error.message, answer.id)
                assert said == ("bad_request", str(expected.value), expected.value.id), refused

    run(body())


def test_the_length_of_a_request_is_counted_in_the_bytes_that_were_sent(start: Start, upstream: str) -> None:
    server = start(upstream, "--source", "none", "--limit", "message_bytes=1000")
    head = len(call('""'))

    async def body() -> None:
        async with asking(server) as ask:
            fits = "é" * ((1000 - head) // 2)
            fits += "x" * (1000 - head - 2 * len(fits))
            answer = await ask(call(f'"{fits}"'))
            assert (answer.type, answer.value()) == ("ack", fits)
            error = decode_error((await ask(call(f'"{fits}x"'))).data)
            assert (error.code, error.message) == ("message_too_large", "1001 bytes: a request may have 1000")

    run(body())


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3"])
def test_bytes_that_are_no_utf8_reach_nobody(share: Start, bad: bytes) -> None:
    """By POST; a WebSocket is closed for them before anybody decodes JSON."""
    server = share("polling", "--source", "none")

    async def body() -> None:
        async with asking(server) as ask:
            error = decode_error((await ask(call('"@"').replace(b"@", bad))).data)
            assert error.code == "bad_request" and "not UTF-8" in error.message

    run(body())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_passes_is_read_again_by_a_strict_reader(text: bytes) -> None:
    try:
        value = decode_strictly(text, ANY)
    except JsonError as error:
        assert str(error).encode()
    else:
        assert msgspec.json.decode(json.dumps(value, allow_nan=False).encode()) == value


@given(st.integers(0, 310), st.integers(0, 320), st.integers(1, 9), st.booleans())
def test_a_number_passes_if_a_double_holds_it(digits: int, exponent: int, first: int, negative: bool) -> None:
    text = "-" * negative + str(first) + "0" * digits + (f"e{exponent}" if exponent else "")
    fits = not math.isinf(float(text))
    try:
        decode_strictly(text.encode(), msgspec.json.Decoder(msgspec.Raw))
    except JsonError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"\\", b"[", b"]", b"1", b".", b"e", b"1,", b"{", b'"a"', b"\\\\"])
def test_no_text_takes_long_to_refuse(piece: bytes) -> None:
    """A quadratic look at 64 KiB takes over ten seconds of the processor's time, and a linear one some milliseconds."""
    text = b'"' + piece * (65_536 // len(piece))
    before_s = time.process_time()
    for one in (text, text[1:]):
        with pytest.raises(JsonError):
            decode_strictly(one + b"!", ANY)
    assert time.process_time() - before_s < 5


def test_the_depth_that_is_allowed_is_named() -> None:
    with pytest.raises(JsonError, match=f"nested 33 deep; allowed are {MAX_DEPTH}"):
        decode_strictly(b"[" * 33, ANY)


BAD_TEXTS = [
    b'{"type":"subscribe","room":"\\ud800"}',
    b'{"type":"subscribe","room":NaN}',
    b'{"type":"subscribe","since":"\xed\xa0\x80"}',
    b'{"type":"\xff"}',
    b'\xef\xbb\xbf{"type":"subscribe"}',
    b'{"type":"subscribe"}x',
    b'{"type":"subscribe","room":' + b"[" * 1000,
    b'{"type":"subscribe","room":1e400}',
    b"[]",
    b"",
]


@pytest.mark.parametrize("sent", BAD_TEXTS)
def test_the_baseline_reads_its_one_message_as_strictly(share: Start, sent: bytes) -> None:
    server = share("raw", "--source", "none")
    answer = exchange(server.port, encode_frame(sent))
    error = decode_error(decode_envelope(answer[4:]).data)
    assert error.code == "bad_request" and error.message.startswith("not a subscribe message: ")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b'{"schedule":{"kind":"\\ud800"}}', "not JSON"),
        (b'{"schedule":{"kind":"\xff"}}', "not UTF-8"),
        (b'{"schedule":{"rate_hz":1e400}}', "out of range"),
        (b'{"schedule":{"rate_hz":NaN}}', "not JSON"),
        (b'{"schedule":' + b"[" * 1000, "nested 1001 deep"),
        (b'{"schedule":{"limit":1' + b"0" * 30 + b"}}", "limit"),
        (b'{"schedule":{"seed":1' + b"0" * 400 + b"}}", "double"),
        (b'{"schedule":{},"start_ns":-1}', "start_ns"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_the_control_listener_reads_as_strictly(share: Start, sent: bytes, said: str) -> None:
    server = share("polling", "--source", "none")
    port = int(server.ready["control_url"].rpartition(":")[2])
    status, code, message = request(port, "/feed/start", "POST", f"Content-Length: {len(sent)}\r\n", sent)
    assert (status, code) == (400, "bad_request") and said in message


@pytest.mark.parametrize("text", ["%ED%A0%80", "%ff", "%00%1b", "%F0%9F%98%80"])
def test_what_cannot_be_written_can_be_named_in_an_answer(share: Start, text: str) -> None:
    server = share("long_polling", "--source", "none")
    for target, code in (
        (f"/{text}", "not_found"),
        (f"/long-poll?room={text}", "bad_room"),
        (f"/long-poll?since={text}", "bad_cursor"),
        (f"/long-poll?hold_s={text}", "bad_number"),
    ):
        assert request(server.port, target)[1] == code
