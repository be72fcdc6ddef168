"""What no library would send: each is answered or named, and leaves no traceback in the server's log."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.control import Control
from feed.envelope import ErrorData, decode_envelope, decode_error
from servers.engine import MAX_PACKETS, check_payload
from servers.errors import Refusal
from servers.packets import PacketError, parse_packet, request_of
from tests.conftest import Running, Start, run, until

WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"
ECHO = '{"type":"call","id":"1","service":"echo","data":1}'
BINARY = "binary messages are not taken here; send text"


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
    ('451-7["request",{"_placeholder":true,"num":0}]', "437", BINARY),
    ('450-7["request"]', "437", BINARY),
    ('459999999999-["request"]', "42", BINARY),
    ('451-/nowhere,7["request"]', "43/nowhere,7", "not connected"),
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
def test_what_is_no_packet_is_named_and_ends_the_session(start: Start, connected: bool) -> None:
    server = start("socketio", "--source", "none")

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


def test_binary_messages_are_refused_by_name(start: Start) -> None:
    server = start("socketio", "--source", "none")

    async def body() -> None:
        async with opened(server) as session:
            await session.peer.send_bytes(b"x")
            assert (await session.error())[:2] == ("42", "bad_request"), "before it is in a namespace"
            await session.connect()
            for message in (b"", b"\0\xff", ECHO.encode()):
                await session.peer.send_bytes(message)
                assert await session.error() == ("42", "bad_request", BINARY)
            await session.peer.send_str('452-7["request",{"_placeholder":true,"num":0}]')
            for message in (b"one", b"two", b"three"):
                await session.peer.send_bytes(message)
            assert await session.error() == ("437", "bad_request", BINARY), "of the event and its two attachments"
            assert await session.error() == ("42", "bad_request", BINARY), "of the third"
            await session.alive()

    run(body())


@pytest.mark.parametrize("served", ["websocket", "websocket:tuned"])
def test_binary_frames_and_empty_ones_are_refused_by_name(start: Start, served: str) -> None:
    server = start(served, "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client, client.ws_connect(server.url + "/ws") as peer:
            await peer.receive_str()
            for message in (b"", b"\0\xff", ECHO.encode()):
                await peer.send_bytes(message)
                error = decode_error(decode_envelope(await peer.receive_str()).data)
                assert (error.code, error.message) == ("bad_request", BINARY)
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


def test_what_is_wrong_with_an_auth_payload_is_said(start: Start) -> None:
    server = start("socketio", "--source", "none")

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


def test_what_is_asked_before_a_goodbye_is_done_and_behind_it_refused(start: Start) -> None:
    """Though all of it comes in one payload; and who has said goodbye may come again."""
    server = start("socketio", "--source", "none")
    payload = "\x1e".join([f'421["request",{ECHO}]', "41", f'422["request",{ECHO}]', "40", f'423["request",{ECHO}]'])

    async def body() -> None:
        async with aiohttp.ClientSession() as client, polled(server, client) as url:
            async with client.post(url, data=payload.encode()) as sent:
                assert sent.status == 200
            packets: list[str] = []
            while not packets or not packets[-1].startswith("433"):
                async with client.get(url) as answer:
                    packets += [packet for packet in (await answer.text()).split("\x1e") if packet.startswith("43")]
        assert [packet[:12] for packet in packets] == ['431[{"type":', '432[{"type":', '433[{"type":']
        assert taken_apart(packets[1]) == ("432", "bad_request", "not connected to this namespace: connect to it first")
        assert [packet[12:17] for packet in packets] == ['"ack"', '"erro', '"ack"']

    run(body())


BAD_PAYLOADS = [
    b"", b"abc", b"bxyz", b"b===", "bé".encode(), b"0", b"2", b"2probe", b"5", b"6", b"7", b"\xff\xfe", b"4\xc0\xaf",
    b"d=4", b"d=", b"\x1e", b"4\x1e", "²".encode(), b"-1",
    b"\x1e".join([b"3"] * (MAX_PACKETS + 1)), b"\x1e".join([b"3"] * 1000),
]  # fmt: skip


@asynccontextmanager
async def polled(server: Running, client: aiohttp.ClientSession) -> AsyncIterator[str]:
    """The address of a session that polls and is in the default namespace."""
    async with client.get(server.url + POLLING) as answer:
        url = f"{server.url}{POLLING}&sid={msgspec.json.decode((await answer.text())[1:])['sid']}"
    async with client.post(url, data=b"40") as connected:
        assert await connected.text() == "OK"
    await poll_for(client, url, '42["welcome"')
    yield url


async def poll_for(client: aiohttp.ClientSession, url: str, wanted: str) -> str:
    """The first packet that begins so."""
    while True:
        async with client.get(url) as answer:
            assert answer.status == 200
            for packet in (await answer.text()).split("\x1e"):
                if packet.startswith(wanted):
                    return packet


def test_a_payload_that_is_none_is_refused_and_ends_its_session(start: Start) -> None:
    server = start("socketio", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client:
            for payload in BAD_PAYLOADS:
                async with polled(server, client) as url:
                    async with client.post(url, data=payload) as refused:
                        error = decode_error(decode_envelope(await refused.read()).data)
                        assert (refused.status, error.code) == (400, "bad_request"), payload
                    async with client.post(url, data=b"4") as gone:
                        assert gone.status == 400, payload

    run(body())


def test_polling_takes_and_answers_what_a_websocket_does(start: Start) -> None:
    """Also a body of unknown length, of any type, several packets at once, and binary ones as base64."""
    server = start("socketio", "--source", "none")

    async def chunks() -> AsyncIterator[bytes]:
        yield b'427["request",'
        yield f"{ECHO}]".encode()

    async def body() -> None:
        async with aiohttp.ClientSession() as client, polled(server, client) as url:
            async with client.post(url, data=chunks()) as sent:
                assert sent.status == 200
            await poll_for(client, url, '437[{"type":"ack"')
            headers = {"content-type": "application/octet-stream; charset=utf-16"}
            data = f'3\x1e428["request",{ECHO}]'
            async with client.post(url, data=data.encode(), headers=headers) as sent:
                assert sent.status == 200
            await poll_for(client, url, '438[{"type":"ack"')
            async with client.post(url, data=b"bAP8=") as sent:
                assert sent.status == 200
            assert taken_apart(await poll_for(client, url, '42["error"'))[2] == BINARY
            held = asyncio.ensure_future(client.get(url))
            await asyncio.sleep(0)  # it is under way on the open connection: the next request needs another one
            async with client.post(url, data=b"1\x1e42[]\x1e3") as closed:
                assert closed.status == 200
            async with await asyncio.wait_for(held, 10) as answered:
                assert answered.status == 400 or await answered.text() == "6", "400: it came too late to be held"
            async with client.post(url, data=b"3") as gone:
                assert gone.status == 400

    run(body())


@pytest.mark.parametrize("probe", [None, "5", "4x", "3probe", "2", "2probe 5", "2probe 4x", b"\0"])
def test_an_upgrade_that_does_not_happen_leaves_the_session_as_it_was(start: Start, probe: Any) -> None:
    server = start("socketio", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client, polled(server, client) as url:
            address = url.replace("transport=polling", "transport=websocket")
            async with client.ws_connect(address) as peer:
                if isinstance(probe, bytes):
                    await peer.send_bytes(probe)
                for packet in probe.split() if isinstance(probe, str) else ():
                    await peer.send_str(packet)
            await until(lambda: _open_at_most(server, 1), "the WebSocket is gone")
            async with client.post(url, data=f'427["request",{ECHO}]'.encode()) as sent:
                assert sent.status == 200
            await asyncio.wait_for(poll_for(client, url, '437[{"type":"ack"'), 10)

    run(body())


async def _open_at_most(server: Running, count: int) -> bool:
    async with Control(server.ready["control_url"]) as control:
        return bool((await control.stats())["connections_now"] <= count)


@given(st.text(max_size=60) | st.from_regex(r"[0-9]{1,3}(-|/x,)?[0-9]*(\[.*)?", fullmatch=True))
def test_any_text_is_a_packet_or_a_packet_error(text: str) -> None:
    try:
        packet = parse_packet(text)
        request_of(packet.data or "null")
    except PacketError as error:
        assert str(error).encode()


@given(st.text(max_size=60), st.text(max_size=5), st.text(max_size=5))
def test_a_request_is_cut_out_of_its_event_as_it_was_sent(argument: str, before: str, after: str) -> None:
    spaces = re.sub(r"[^ \t\r\n]", " ", before)
    text = f'[{spaces}"request",{argument}]{spaces}'
    try:
        request = request_of(text)
    except PacketError:
        parts = msgspec.json.decode(text, type=list[msgspec.Raw])
        assert len(parts) != 2
    else:
        assert request.strip() == argument.encode().strip()


@given(st.binary(max_size=60) | st.text("0123456b\x1e=x", max_size=60).map(str.encode))
def test_any_payload_is_taken_or_refused(body: bytes) -> None:
    try:
        check_payload(body, 50)
    except Refusal as refusal:
        assert refusal.body
    else:
        assert body and len(body) <= 50
