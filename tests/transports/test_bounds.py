"""Who stops reading, or never finishes asking, is bounded in time and memory; the others do not notice."""

import asyncio
import json
import socket
from contextlib import aclosing

import aiohttp
import pytest

from bench.reliability.soak import open_files
from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.options import ClientOptions
from feed.cursor import parse_cursor
from feed.envelope import Envelope, decode_envelope, decode_welcome
from feed.schedule import Schedule
from feed.transports import POLLS, TRANSPORTS
from feed.wire import FrameDecoder
from tests.conftest import SERVED, Running, Start, run, until
from tests.helpers.ways_in import envelopes_in

STREAMS = [served for served in SERVED if served.partition(":")[0] not in POLLS]
RING_READERS = [stream for stream in STREAMS if not stream.startswith("socketio")]
"""Socket.IO keeps a queue for each client: who does not keep up is disconnected, and told of its gap on return."""
STALL_S = "2.5"
OPENINGS = {name: row.opening for name, row in TRANSPORTS.items() if not row.is_poll}
SOCKETIO_CONNECT = bytes([0x81, 0x80 | 2]) + bytes(4) + b"40"
"""Engine.IO message, Socket.IO connect, in a masked frame."""
SOCKETIO_LEAVE = bytes([0x81, 0x80 | 2]) + bytes(4) + b"41"


def stalled_peer(server: Running, opening: bytes) -> socket.socket:
    """A subscriber that takes almost nothing and then never reads again."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(opening)
    if b"socket.io" in opening:
        sock.recv(1)  # the handshake is answered
        sock.sendall(SOCKETIO_CONNECT)
    return sock


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stalled_reader_is_aborted_and_its_memory_bounded(start: Start, stream: str) -> None:
    server = start(stream, "--source", "none", "--stall-timeout-s", STALL_S, "--history", "2048")
    name = server.ready["transport"]

    async def body() -> None:
        shared = new_shared(seed=1)
        files_before = open_files(server.process.pid)
        peers = [stalled_peer(server, OPENINGS[name]) for _ in range(5)]
        async with Control(server.ready["control_url"]) as control:
            healthy = new_client(name, server.url, ClientOptions(max_attempts=0, variant=server.target.variant), shared)
            async with aclosing(healthy.events()) as events:
                assert decode_welcome((await anext(events)).envelope.data).resume == "new"
                await until(lambda: connections_are(control, 6), "all connected")
                for _ in range(10):  # never further ahead than a reader may be, however slow this process is
                    await control.start_feed(Schedule("constant", 400.0, limit=200), 4096)
                    for _ in range(200):
                        await anext(events)
                await until(lambda: _aborted(control, 5), "stalled readers aborted")
                assert healthy.session.gaps == 0 and healthy.session.delivered == 2000
                await until(lambda: connections_are(control, 1), "only the healthy one is left")
        for peer in peers:
            with pytest.raises(ConnectionResetError):
                while True:
                    if not peer.recv(1 << 20):
                        raise AssertionError("closed instead of aborted")
            peer.close()
        await until(lambda: open_files(server.process.pid) <= files_before + 1, "no descriptor is left")
        shared.timer.close()

    run(body())


async def connections_are(control: Control, count: int) -> bool:
    return bool((await control.stats())["connections_now"] == count)


async def connected_are(control: Control, count: int) -> bool:
    return bool((await control.stats())["connections_total"] == count)


async def _aborted(control: Control, count: int) -> bool:
    return bool((await control.stats())["aborted_slow_readers"] == count)


@pytest.mark.parametrize("stream", RING_READERS)
def test_a_slow_reader_is_told_of_its_gap_and_stays(start: Start, stream: str) -> None:
    """It reads on after it has fallen off the ring: a gap notice with the exact number, then events."""
    server = start(stream, "--source", "none", "--history", "32", "--stall-timeout-s", "600")
    name = server.ready["transport"]

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            peer = stalled_peer(server, OPENINGS[name])
            peer.settimeout(60)
            await until(lambda: connections_are(control, 1), "connected")
            await control.start_feed(Schedule("constant", 2000.0, limit=3000), 4096)
            await until(lambda: _all_published(control, 3000), "all published")
            envelopes = await asyncio.to_thread(_read_until, peer, name, 3000)
            peer.close()
        expected = 1
        gaps = 0
        for envelope in envelopes:
            if envelope.type == "gap":
                gaps += 1
                missed = decode_welcome(envelope.data).missed
                assert missed
                expected += missed
                assert parse_cursor(envelope.id).seq == expected - 1
            elif envelope.type == "event":
                assert parse_cursor(envelope.id).seq == expected
                expected += 1
        assert gaps >= 1 and expected == 3001

    run(body())


async def _all_published(control: Control, count: int) -> bool:
    return bool((await control.stats())["feed_published"] == count)


def _read_until(peer: socket.socket, name: str, last_seq: int) -> list[Envelope]:
    envelopes: list[Envelope] = []
    frames, skipped_head = FrameDecoder(), name == "raw"
    pending, rest = b"", b""
    while not envelopes or envelopes[-1].type != "event" or parse_cursor(envelopes[-1].id).seq < last_seq:
        pending += peer.recv(1 << 16)
        if not skipped_head:
            _head, found, pending = pending.partition(b"\r\n\r\n")
            skipped_head = bool(found)
            continue
        if name == "raw":
            bodies = [body for body in frames.feed(pending) if body]
            pending = b""
        elif name == "websocket":
            bodies, pending = _texts(pending)
        else:
            chunks, pending = _unchunk(pending)
            bodies, rest = envelopes_in(rest + chunks)
        envelopes += [decode_envelope(body) for body in bodies]
    return envelopes


def _unchunk(data: bytes) -> tuple[bytes, bytes]:
    """Complete chunks of a chunked body, joined, and what is left."""
    joined = b""
    while (end := data.find(b"\r\n")) >= 0:
        size = int(data[:end], 16)
        if len(data) < end + 2 + size + 2:
            break
        joined += data[end + 2 : end + 2 + size]
        data = data[end + 2 + size + 2 :]
    return joined, data


def _texts(data: bytes) -> tuple[list[bytes], bytes]:
    """The payloads of complete unmasked text frames (RFC 6455, section 5.2), and what is left."""
    texts = []
    while len(data) >= 10:
        assert data[0] == 0x81
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            break
        texts.append(data[start : start + size])
        data = data[start + size :]
    return texts, data


def test_who_is_in_no_socketio_namespace_is_closed(start: Start) -> None:
    """Also who ignores the goodbye; and who was in one before."""
    server = start("socketio", "--source", "none", "--request-timeout-s", "0.5")

    async def body() -> None:
        peers = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(2)]
        for peer in peers:
            peer.sendall(OPENINGS["socketio"])
            await asyncio.to_thread(peer.recv, 1)  # the handshake is answered
        peers[1].sendall(SOCKETIO_CONNECT)
        async with (
            Control(server.ready["control_url"]) as control,
            aiohttp.ClientSession(headers={"connection": "close"}) as session,
        ):
            polling = server.url + "/socket.io/?EIO=4&transport=polling"
            async with session.get(polling) as opened:
                sid = json.loads((await opened.text())[1:])["sid"]
            await until(lambda: connections_are(control, 1), "the one that is in a namespace is left")
            async with session.get(f"{polling}&sid={sid}") as late:
                assert late.status == 400, "the session has ended"
            peers[1].sendall(SOCKETIO_LEAVE)
            await until(lambda: connections_are(control, 0), "it has left, and is closed")
        for peer in peers:
            peer.close()

    run(body())


def test_an_oversize_websocket_message_is_refused(start: Start) -> None:
    import aiohttp

    server = start("websocket", "--source", "none")

    async def body() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/ws") as socket_:
            assert (await socket_.receive_json())["type"] == "welcome"
            await socket_.send_str("x" * 70_000)
            await socket_.receive()
            assert socket_.close_code == 1009
        async with aiohttp.ClientSession() as session, session.ws_connect(server.url + "/ws") as socket_:
            await socket_.receive_json()
            await socket_.send_str("hello")
            assert (await socket_.receive_json())["data"]["code"] == "bad_request"

    run(body())


def test_pings_without_reading_are_not_taken_for_ever(start: Start) -> None:
    """Each ping is answered, so a peer that sends them and never reads would fill the server's memory."""
    server = start("websocket", "--source", "none")
    peer = stalled_peer(server, OPENINGS["websocket"])
    assert peer.recv(100).startswith(b"HTTP/1.1 101 ")  # a client may not send before that
    pings = (bytes([0x89, 0x80 | 125]) + bytes(4 + 125)) * 500
    peer.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 256 << 20:
            sent += peer.send(pings)
    assert sent < 64 << 20, "the server takes whatever it is sent"
    peer.close()


@pytest.mark.parametrize("held", ("long_polling", "long_polling:tuned"))
def test_the_handler_of_a_held_poll_ends_when_its_client_leaves(start: Start, held: str) -> None:
    """Starlette would let it wait for the whole hold."""
    server = start(held, "--source", "none")

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /long-poll HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            cursor = decode_envelope(await reader.readexactly(length)).id
            writer.write(f"GET /long-poll?since={cursor}&hold_s=50 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await writer.drain()
            before = (await control.stats())["requests"]
            writer.close()
            await until(lambda: _answered(control, before + 1), "the handler has ended")
            assert (await control.stats())["connections_now"] == 0

    run(body())


async def _answered(control: Control, count: int) -> bool:
    return bool((await control.stats())["requests"] == count)
