"""What no library would post to Engine.IO under Socket.IO: refused by name, and no traceback in the server's log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.control import Control
from feed.envelope import decode_envelope, decode_error
from servers.gate.errors import Refusal
from servers.http.engineio import MAX_PACKETS, check_payload
from servers.http.socketio_server import UNANNOUNCED
from tests.conftest import Running, Start, run, until
from tests.transports.test_socketio_packets import ECHO, taken_apart

POLLING = "/socket.io/?EIO=4&transport=polling"

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


def test_what_is_asked_before_a_goodbye_is_done_and_behind_it_refused(share: Start) -> None:
    """Though all of it comes in one payload; and who has said goodbye may come again."""
    server = share("socketio", "--source", "none")
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


def test_a_payload_that_is_none_is_refused_and_ends_its_session(share: Start) -> None:
    server = share("socketio", "--source", "none")

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


def test_polling_takes_and_answers_what_a_websocket_does(share: Start) -> None:
    """Also a body of unknown length, of any type, several packets at once, and binary ones as base64."""
    server = share("socketio", "--source", "none")

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
            assert taken_apart(await poll_for(client, url, '42["error"'))[2] == UNANNOUNCED
            held = asyncio.ensure_future(client.get(url))
            await asyncio.sleep(0)  # it is under way on the open connection: the next request needs another one
            async with client.post(url, data=b"1\x1e42[]\x1e3") as closed:
                assert closed.status == 200
            async with await asyncio.wait_for(held, 10) as answered:
                assert answered.status == 400 or await answered.text() == "6", "400: it came too late to be held"
            async with client.post(url, data=b"3") as gone:
                assert gone.status == 400

    run(body())


@pytest.mark.parametrize("probe", [None, "5", "4x", "3probe", "2", "2probe", "2probe 4x", b"\0"])
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


def test_a_session_that_was_upgraded_ends_with_its_websocket(share: Start) -> None:
    server = share("socketio", "--source", "none")

    async def ended(client: aiohttp.ClientSession, url: str) -> bool:
        async with client.post(url, data=b"3") as answer:
            return answer.status == 400

    async def body() -> None:
        async with aiohttp.ClientSession() as client, polled(server, client) as url:
            async with client.ws_connect(url.replace("transport=polling", "transport=websocket")) as peer:
                await peer.send_str("2probe")
                assert await peer.receive_str(timeout=10) == "3probe"
                await peer.send_str("5")
                await peer.send_str(f'427["request",{ECHO}]')
                while not (await peer.receive_str(timeout=10)).startswith('437[{"type":"ack"'):
                    pass
            await until(lambda: ended(client, url), "the session has ended")

    run(body())


async def _open_at_most(server: Running, count: int) -> bool:
    async with Control(server.ready["control_url"]) as control:
        return bool((await control.stats())["connections_now"] <= count)


@given(st.binary(max_size=60) | st.text("0123456b\x1e=x", max_size=60).map(str.encode))
def test_any_payload_is_taken_or_refused(body: bytes) -> None:
    try:
        check_payload(body, 50)
    except Refusal as refusal:
        assert refusal.body
    else:
        assert body and len(body) <= 50


async def socket_said(client: aiohttp.ClientSession, url: str) -> tuple[int, str, str]:
    """How a WebSocket handshake is refused: status, error code, message."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with client.get(url, headers=headers) as answer:
        error = decode_error(decode_envelope(await answer.read()).data)
        return answer.status, error.code, error.message


@pytest.mark.parametrize("served", ["socketio", "socketio:websocket_only"])
def test_handshakes_of_another_protocol_are_refused_in_our_words(share: Start, served: str) -> None:
    server = share(served, "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client:
            path = server.url + "/socket.io/"
            for query, said in (
                ("", "Engine.IO 4"),
                ("?EIO=3&transport=websocket", "Engine.IO 4"),
                ("?EIO=4", "transport=''"),
                ("?EIO=4&transport=polling", "transport='polling'"),
                ("?EIO=4&transport=websocket&sid=nobody", "no such session"),
            ):
                status, code, message = await socket_said(client, path + query)
                assert (status, code) == (400, "bad_request") and said in message
                if "websocket" not in query and (query[-7:] != "polling" or served != "socketio"):
                    async with client.get(path + query) as answer:
                        assert answer.status == 400
                        assert decode_error(decode_envelope(await answer.read()).data).code == "bad_request"
            assert (await socket_said(client, server.url + "/nothing"))[:2] == (404, "not_found")

    run(body())


def test_a_poll_that_its_client_has_left_swallows_nothing(share: Start) -> None:
    """What is put into it would be lost; so the session ends, and its client comes again with its cursor."""
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client, polled(server, client) as url:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.get(url)
            await until(lambda: _is_gone(client, url), "the session has ended")

    run(body())


async def _is_gone(client: aiohttp.ClientSession, url: str) -> bool:
    async with client.post(url, data=b"3") as answer:
        return answer.status == 400


def test_a_session_has_one_poll_at_a_time(share: Start) -> None:
    """As in Node's: a second one ends it, and the first is answered."""
    server = share("socketio", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as client, polled(server, client) as url:
            first = asyncio.ensure_future(client.get(url))
            await asyncio.sleep(0)
            await until(lambda: _overlaps(client, url), "the first one is held")
            async with await first as answer:
                assert answer.status == 200
            await until(lambda: _is_gone(client, url), "the session has ended")

    run(body())


async def _overlaps(client: aiohttp.ClientSession, url: str) -> bool:
    async with client.get(url) as answer:
        return answer.status == 400 and "already" in await answer.text()


def test_who_is_ended_for_a_packet_is_told_why_by_its_next_poll(share: Start) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        for packet in (b"47x", b"4", b"401-{}"):
            async with aiohttp.ClientSession() as client, polled(server, client) as url:
                async with client.post(url, data=packet) as answer:
                    assert answer.status == 200
                assert taken_apart(await poll_for(client, url, '42["error"'))[1] == "bad_request"

    run(body())


def test_a_goodbye_by_websocket_closes_it(share: Start) -> None:
    server = share("socketio", "--source", "none")

    async def body() -> None:
        url = server.url + "/socket.io/?EIO=4&transport=websocket"
        async with aiohttp.ClientSession() as client, client.ws_connect(url) as peer:
            await peer.send_str("40")
            await peer.send_str("1")
            while (await peer.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert peer.close_code == 1000

    run(body())
