"""Packets that python-socketio would take, or fail over in silence: our client ends or goes on, and keeps nothing."""

import asyncio
from itertools import repeat

import pytest

from clients.core.errors import GaveUpError
from feed.wire import (
    encode_websocket_text,
)
from tests.conftest import run, until
from tests.helpers.hostile import (
    HANDSHAKE,
    WELCOME,
    listening,
    message,
    response,
    stranger,
)
from tests.transports.test_client_bounds import event, flood, welcomed


@pytest.mark.parametrize(
    "packet",
    [
        b"5" * 3 + b'9-["x",{"_placeholder":true,"num":0}]',
        b"47",
        b"4x",
        b'4{"a":1}',
        b'42["event","x"]',
        b"42[",
        b'42["event"]',
        b'42["event",' + b"[" * 5000 + b"]",
        b'44{"message":"no"}',
    ],
    ids=["attachments", "unknown", "letter", "object", "text", "half", "no_argument", "too_deep", "refused_late"],
)
def test_packets_that_make_no_sense_end_a_socketio_connection(packet: bytes) -> None:
    """And the client learns of it, which the library's tasks would keep to themselves."""
    text = encode_websocket_text(b"4" + packet if packet.startswith(b"5") else packet)
    error = run(flood("socketio", welcomed("socketio"), lambda: repeat(text, 1)))
    assert isinstance(error, GaveUpError) == (packet[:2] != b"44"), error


ANNOUNCED = (
    b'451-["snapshot",{"type":"snapshot","id":"x","room":"r","data":{},"payload":{"_placeholder":true,"num":0}}]'
)
BINARY = b"\x82\x03abc"


@pytest.mark.parametrize(
    "frames",
    [
        [BINARY],
        [encode_websocket_text(ANNOUNCED), encode_websocket_text(ANNOUNCED)],
        [encode_websocket_text(ANNOUNCED), encode_websocket_text(b'42["event",{}]')],
        [encode_websocket_text(b'452-["snapshot",{}]'), BINARY, BINARY],
        [encode_websocket_text(b'451-["snapshot"]'), BINARY],
        [encode_websocket_text(b'451-["snapshot",{"type":1}]'), BINARY],
        [encode_websocket_text(b"461-[]"), BINARY],
    ],
    ids=["unannounced", "twice", "text_instead", "two", "no_argument", "no_envelope", "ack"],
)
def test_attachments_that_make_no_sense_end_a_socketio_connection(frames: list[bytes]) -> None:
    error = run(flood("socketio", welcomed("socketio"), lambda: iter(frames)))
    assert isinstance(error, GaveUpError), error


def test_namespaces_that_nobody_asked_for_are_not_remembered() -> None:
    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(welcomed("socketio")(request))
            for number in range(1000):
                writer.write(
                    encode_websocket_text(b"40/n%d,{}" % number) + encode_websocket_text(b"44/n%d,{}" % number)
                )
            writer.write(message("socketio", event(1)))

        async with stranger(say) as server:
            client = server.client("socketio", variant="websocket_only")
            stream = client.events()
            assert [(await anext(stream)).envelope.type for _ in range(2)] == ["welcome", "event"]
            sio = client._sio  # type: ignore[attr-defined]  # what the library keeps
            assert list(sio.namespaces) == ["/"] and sio.failed_namespaces == []
            await stream.aclose()

    run(body())


def test_a_cut_while_socketio_polls_is_noticed() -> None:
    """The library's task would end without a word."""

    async def body() -> None:
        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            if request.startswith(b"POST"):
                writer.write(response(b"ok", "text/plain"))
            elif b"sid=" not in request:
                writer.write(response(HANDSHAKE, "text/plain"))
            elif sum(b"sid=" in one and one.startswith(b"GET") for one in server.requests) % 2:
                packets = b'40{"sid":"y"}\x1e42["event",' + WELCOME + b"]"
                writer.write(response(packets, "text/plain"))
            else:
                writer.write(response(b"6" * 100, "text/plain")[:-50])
                await writer.drain()
                writer.close()

        async with stranger(say) as server:
            client = server.client("socketio")
            async with listening(client):
                await until(lambda: client.reconnects >= 2, "noticed, and connected again")

    run(body())
