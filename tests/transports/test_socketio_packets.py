"""What no library would send: each is answered or named, and leaves no traceback in the server's log."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.envelope import ErrorData, decode_envelope, decode_error
from servers.http.socketio_packets import PacketError, event_of, only, parse_packet
from servers.http.socketio_server import NOT_FOLLOWED, NOT_ONE, UNANNOUNCED
from tests.conftest import Running, Start, run

WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
ECHO = '{"type":"call","id":"1","service":"echo","data":1}'


class Session:
    """An Engine.IO session on a WebSocket."""

    def __init__(self, peer: aiohttp.ClientWebSocketResponse) -> None:
        self.peer = peer

    async def connect(self) -> None:
        await self.peer.send_str("40")
        while not (await self.peer.receive_str()).startswith('42["welcome"'):
            pass

    async def error(self) -> tuple[str, str, str]:
        """The next packet, which is an error: what stands before it, its code and its message."""
        return taken_apart(await self.peer.receive_str())

    async def alive(self) -> None:
        """Nothing else has come, and requests are answered."""
        await self.peer.send_str(f'4299["request",{ECHO}]')
        assert (await self.peer.receive_str()).startswith('4399[{"type":"ack"')


def taken_apart(packet: str) -> tuple[str, str, str]:
    head, _, said = packet.partition("[")
    *event, answer = msgspec.json.decode("[" + said, type=list[msgspec.Raw])
    assert list(map(bytes, event)) in ([], [b'"error"'])
    error: ErrorData = decode_error(decode_envelope(bytes(answer)).data)
    return head, error.code, error.message


@asynccontextmanager
async def opened(server: Running) -> AsyncIterator[Session]:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.url + WEBSOCKET) as peer:
        assert (await peer.receive_str()).startswith("0{")
        yield Session(peer)


ANSWERED = [
    (f'427["other",{ECHO}]', "437", "event 'other'"),
    ('427["disconnect"]', "437", "event 'disconnect'"),
    ('427["connect_error",1]', "437", "event 'connect_error'"),
    ('427["*"]', "437", "event '*'"),
    ('427["*",{}]', "437", "event '*'"),
    ('42["\\ud800"]', "42", "not an event"),
    ('427["request"]', "437", "0 arguments"),
    (f'427["request",{ECHO},{ECHO}]', "437", "2 arguments"),
    (f'42["request",{ECHO},1]', "42", "2 arguments"),
    ('427["request",[1]]', "437", "got `array`"),
    ('427["request",null]', "437", "got `null`"),
    ('427["request",{"type":"call","id":"1","service":"echo","data":"\\ud800"}]', "437", "not JSON"),
    ('42["request",{"type":"call","id":"1","service":"echo","data":"\\ud800"}]', "42", "not JSON"),
    ('427["request",{"type":"join","id":"1","room":""}]', "437", "$.room"),
    ('42["request",{"type":"join","id":"1","room":""}]', "42", "$.room"),
    ("427[1]", "437", "not an event"),
    ("427[]", "437", "not an event"),
    ("427{}", "437", "not an event"),
    ("427", "437", "not an event"),
    ("42", "42", "not an event"),
    ("42nonsense", "42", "not an event"),
    ("427" + "[" * 5000, "437", "not an event"),
    ('4299999999999999999999["x"]', "4399999999999999999999", "event 'x'"),
    ('42/nowhere,7["request",{}]', "43/nowhere,7", "not connected"),
    ('42/nowhere,["request",{}]', "42/nowhere,", "not connected"),
    ("40", "42", "already"),
    ('40{"room":"feed"}', "42", "already"),
    ("43[]", "42", "no acknowledgements"),
    ("4399[NaN]", "42", "no acknowledgements"),
    ('44{"message":"x"}', "42", "no acknowledgements"),
    ("461-1[]", "42", "no acknowledgements"),
    ('452-7["request",{"_placeholder":true,"num":0}]', "437", NOT_ONE),
    ('450-7["request"]', "437", NOT_ONE),
    ('452-/nowhere,7["request"]', "43/nowhere,7", "not connected"),
]
"""Packets, what stands before the answer, and what it says; the session goes on."""

ENDED = [
    "4",
    "4x",
    "49",
    "47[]",
    "4²",
    "42" + "1" * 101 + '["x"]',
    "421-[]",
    "42/" + "n" * 101 + ',["x"]',
    "4²[]",
    "42²[]",
    '459999999999-["request"]',
    '4511-["request"]',
]
"""Packets that are none: named, and the session ends."""


def test_whatever_packet_comes_is_answered(start: Start) -> None:
    server = start("socketio", "--source", "none", "--limit", "message_burst=1000")

    async def body() -> None:
        async with opened(server) as session:
            await session.connect()
            for sent, head, said in ANSWERED:
                await session.peer.send_str(sent)
                found = await session.error()
                assert found[:2] == (head, "bad_request") and said in found[2], (sent, found)
                await session.alive()

    run(body())


@pytest.mark.parametrize("connected", [True, False])
def test_what_is_no_packet_is_named_and_ends_the_session(share: Start, connected: bool) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        for sent in ENDED:
            async with opened(server) as session:
                if connected:
                    await session.connect()
                await session.peer.send_str(sent)
                assert (await session.error())[:2] == ("42", "bad_request"), sent
                assert await session.peer.receive_str() == "1", "Engine.IO says goodbye"
        for sent in ("", "0", "6", "7", "x", "b4", "²"):
            async with opened(server) as session:
                await session.peer.send_str(sent)
                assert (await session.peer.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), sent

    run(body())


def test_binary_messages_are_refused_by_name(share: Start) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with opened(server) as session:
            await session.peer.send_bytes(b"x")
            assert (await session.error())[:2] == ("42", "bad_request"), "before it is in a namespace"
            await session.connect()
            for message in (b"", b"\0\xff", ECHO.encode()):
                await session.peer.send_bytes(message)
                assert await session.error() == ("42", "bad_request", UNANNOUNCED)
            await session.peer.send_str('452-7["request",{"_placeholder":true,"num":0}]')
            for message in (b"one", b"two", b"three"):
                await session.peer.send_bytes(message)
            assert await session.error() == ("437", "bad_request", NOT_ONE), "of the event and its two attachments"
            assert await session.error() == ("42", "bad_request", UNANNOUNCED), "of the third"
            await session.alive()

    run(body())


@pytest.mark.parametrize(
    "request_",
    [
        "{}",
        '{"payload":"x"}',
        '{"payload":{"_placeholder":true,"num":1}}',
        '{"payload":{"_placeholder":false,"num":0}}',
        '{"payload":{"_placeholder":true,"num":0,"more":1}}',
        '{"data":{"_placeholder":true,"num":0}}',
        "7",
    ],
)
def test_an_attachment_is_the_payload_of_a_request_and_nothing_else(share: Start, request_: str) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with opened(server) as session:
            await session.connect()
            await session.peer.send_str(f'451-8["request",{request_}]')
            await session.peer.send_bytes(b"bytes")
            assert await session.error() == ("438", "bad_request", "an attachment is the field 'payload' of a request")
            await session.alive()

    run(body())


def test_an_attachment_that_does_not_follow_is_named(share: Start) -> None:
    """The packet that came in its place counts as well."""
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with opened(server) as session:
            await session.connect()
            await session.peer.send_str('451-9["request",{"payload":{"_placeholder":true,"num":0}}]')
            await session.peer.send_str("43[]")
            assert await session.error() == ("439", "bad_request", NOT_FOLLOWED)
            assert (await session.error())[1] == "bad_request"
            await session.alive()

    run(body())


def test_a_service_that_takes_no_payload_says_so(share: Start) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with opened(server) as session:
            await session.connect()
            echo = '{"type":"call","id":"1","service":"echo","payload":{"_placeholder":true,"num":0}}'
            await session.peer.send_str(f'451-3["request",{echo}]')
            await session.peer.send_bytes(b"bytes")
            assert await session.error() == ("433", "bad_request", "payload: service 'echo' takes none")

    run(body())


@pytest.mark.parametrize("served", ["websocket", "websocket:tuned"])
def test_binary_frames_that_are_no_request_are_refused_by_name(share: Start, served: str) -> None:
    server = share(served, "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client, client.ws_connect(server.url + "/ws") as peer:
            await peer.receive_str()
            size = len(ECHO)
            for message, words in (
                (b"", "a binary message of 0 bytes"),
                (b"\0\xff", "a binary message of 2 bytes"),
                (ECHO.encode(), f"in a binary message of {size}"),
                (b'\0\0\0\x0f{"type":"call"}bytes', "missing required field"),
                (size.to_bytes(4, "big") + ECHO.encode() + b"bytes", "payload: service 'echo' takes none"),
            ):
                await peer.send_bytes(message)
                error = decode_error(decode_envelope(await peer.receive_str()).data)
                assert error.code == "bad_request" and words in error.message
            await peer.send_str("")
            error = decode_error(decode_envelope(await peer.receive_str()).data)
            assert error.code == "bad_request" and "not JSON" in error.message
            await peer.send_str(ECHO)
            assert decode_envelope(await peer.receive_str()).type == "ack"

    run(body())


def test_what_is_no_request_counts_against_the_limits(start: Start) -> None:
    """Also binary messages: who goes on is cut off."""
    limits = ("message_burst=3", "messages_per_connection_hz=0.001", "strikes=2")
    server = start("socketio", "--source", "none", *(word for limit in limits for word in ("--limit", limit)))

    async def body() -> None:
        async with opened(server) as session:
            await session.connect()
            codes = []
            for sent in ("43[]", "450-[]", "42[]", "43[]", "450-[]", "42[]"):
                await session.peer.send_str(sent)
                codes.append((await session.error())[1])
            assert codes == ["bad_request"] * 3 + ["rate_limited"] * 3
            assert (await session.error())[1] == "rate_limited"
            assert await session.peer.receive_str() == "41"

    run(body())


REFUSED_AUTH = [
    ('{"room":"\\ud800"}', "bad_request"),
    ('{"room":NaN}', "bad_request"),
    ('{"room":1}', "bad_request"),
    ('{"since":null}', "bad_request"),
    ('{"colour":"x"}', "bad_request"),
    ('{"room":"feed"', "bad_request"),
    ('{"room":1e400}', "bad_request"),
    ("[]", "bad_request"),
    ('"x"', "bad_request"),
    ("{" * 40, "bad_request"),
    ('{"room":' + "[" * 1000 + "]" * 1000 + "}", "bad_request"),
    ('{"room":"nowhere"}', "unknown_room"),
    ('{"room":"a b"}', "bad_room"),
    ('{"room":"\\u0000"}', "bad_room"),
    ('{"since":"x"}', "bad_cursor"),
]


def test_what_is_wrong_with_an_auth_payload_is_said(share: Start) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with opened(server) as session:
            for auth, code in REFUSED_AUTH:
                await session.peer.send_str("40" + auth)
                refused = await session.peer.receive_str()
                assert refused.startswith("44{"), (auth, refused)
                assert msgspec.json.decode(refused[2:])["data"]["code"] == code, (auth, refused)
            await session.peer.send_str('40/nowhere,{"x":1}')
            refused = await session.peer.receive_str()
            assert refused.startswith("44/nowhere,") and '"not_found"' in refused and "there are /" in refused
            await session.connect()
            await session.alive()

    run(body())


@given(st.text(max_size=60) | st.from_regex(r"[0-9]{1,3}(-|/x,)?[0-9]*(\[.*)?", fullmatch=True))
def test_any_text_is_a_packet_or_a_packet_error(text: str) -> None:
    try:
        packet = parse_packet(text)
        only(*event_of(packet.data or "null"))
    except PacketError as error:
        assert str(error).encode()


@given(st.text(max_size=60), st.text(max_size=5), st.text(max_size=5))
def test_a_request_is_cut_out_of_its_event_as_it_was_sent(argument: str, before: str, after: str) -> None:
    spaces = re.sub(r"[^ \t\r\n]", " ", before)
    text = f'[{spaces}"request",{argument}]{spaces}'
    try:
        request = only(*event_of(text))
    except PacketError:
        parts = msgspec.json.decode(text, type=list[msgspec.Raw])
        assert len(parts) != 2
    else:
        assert request.strip() == argument.encode().strip()
