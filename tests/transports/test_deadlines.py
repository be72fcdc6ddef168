"""Who never finishes asking is answered at the deadline and closed; the deadline is only for what is unfinished."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from clients.control import Control
from clients.core.tls import client_context
from feed.envelope import decode_envelope, decode_error
from feed.transports import TRANSPORTS
from tests.conftest import Running, Start, run, until
from tests.transports.test_bounds import connected_are, connections_are


async def all_time_out(server: Running, count: int) -> None:
    """All have connected, are closed, and are counted for the reason."""
    async with Control(server.ready["control_url"]) as control:
        await until(lambda: connected_are(control, count), "all have connected")
        await until(lambda: connections_are(control, 0), "all closed")
        assert (await control.stats())["request_timeouts"] == count


@pytest.mark.parametrize("name", list(TRANSPORTS))
def test_unfinished_requests_are_answered_and_closed(start: Start, name: str) -> None:
    server = start(name, "--source", "none", "--request-timeout-s", "0.5")
    beginning = b"\x00\x00" if name == "raw" else b"GET / HTTP/1.1\r\nHo"

    async def body() -> None:
        peers = []
        for sent in [beginning, b""] * 25:
            peer = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            peer.sendall(sent)
            peers.append(peer)
        await all_time_out(server, 50)
        for peer in peers:
            answer = b""
            with contextlib.closing(peer):
                while piece := peer.recv(4096):
                    answer += piece
            body = answer[4:] if name == "raw" else answer.partition(b"\r\n\r\n")[2]
            assert decode_error(decode_envelope(body).data).code == "request_timeout"

    run(body())


@pytest.mark.parametrize(
    "sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["nothing", "half a hello"]
)
def test_a_tls_handshake_that_never_ends_is_counted_and_closed(start: Start, transport: str, sent: bytes) -> None:
    """The time runs from the accept, not from the end of the handshake that it should bound."""
    server = start(transport, "--source", "none", "--request-timeout-s", "0.5", "--tls", "dev")

    async def body() -> None:
        peers = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(20)]
        for peer in peers:
            peer.sendall(sent)
        await all_time_out(server, 20)
        for peer in peers:
            with contextlib.closing(peer), contextlib.suppress(ConnectionResetError):
                assert not peer.recv(4096)

    run(body())


def test_after_tls_the_rest_of_the_time_is_for_the_request(start: Start, transport: str) -> None:
    server = start(transport, "--source", "none", "--request-timeout-s", "0.5", "--tls", "dev")
    trusting = client_context(Path(server.ready["ca_file"]))

    async def body() -> None:
        peers = [
            trusting.wrap_socket(
                socket.create_connection(("127.0.0.1", server.port), timeout=60), server_hostname="localhost"
            )
            for _ in range(5)
        ]
        async with Control(server.ready["control_url"]) as control:
            await until(lambda: connections_are(control, 0), "all closed, though none says goodbye")
            stats = await control.stats()
            assert (stats["request_timeouts"], stats["connections_total"]) == (5, 5)
        for peer in peers:
            peer.close()

    run(body())


def test_a_trickled_request_is_cut_at_the_deadline(start: Start) -> None:
    """A peer that sends a byte now and then does not extend its time."""
    server = start("polling", "--source", "none", "--request-timeout-s", "0.6")

    async def body() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        answered = asyncio.ensure_future(_all_of(reader))
        for letter in b"GET /poll HTTP/1.1\r\nX: " + b"y" * 1000:
            if answered.done():
                break
            with contextlib.suppress(ConnectionError):
                writer.write(bytes([letter]))
                await writer.drain()
            await asyncio.sleep(0.02)
        assert (await answered).startswith(b"HTTP/1.1 408 ")
        writer.close()

    run(body())


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """What came before the end, also if the peer was reset: it had not read everything that was written to it."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(4096):
            received += piece
    return received


@pytest.mark.parametrize("served", ["sse", "sse:plain", "long_polling", "long_polling:tuned"])
def test_an_empty_line_is_no_request_that_could_be_overdue(start: Start, served: str) -> None:
    """Clients send one behind a request (RFC 9112, section 2.2): a stream or a held poll goes on."""
    server = start(served, "--source", "none", "--request-timeout-s", "0.5", "--heartbeat-s", "0.3")
    path = "/sse" if "sse" in served else "/long-poll?hold_s=2&since="

    async def body() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        if "polling" in served:
            writer.write(b"GET /long-poll HTTP/1.1\r\nHost: x\r\n\r\n")
            first = await reader.readuntil(b"}}")
            path_ = path + decode_envelope(first.partition(b"\r\n\r\n")[2]).id
        else:
            path_ = path
        writer.write(f"GET {path_} HTTP/1.1\r\nHost: x\r\n\r\n\r\n".encode())
        await writer.drain()
        if "polling" in served:
            assert b'"events":[]' in await reader.readuntil(b"}}")
        else:
            for _ in range(4):
                await reader.readuntil(b": ping")
        async with Control(server.ready["control_url"]) as control:
            assert (await control.stats())["request_timeouts"] == 0
        writer.close()

    run(body())


def test_the_relays_control_listener_is_bounded_too(start: Start) -> None:
    """It has no option for it: as long as the default."""
    relay = start("relay", "--to", "127.0.0.1:9")
    port = int(relay.ready["control_url"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=40) as peer:
        peer.sendall(b"GET /stats HTT")
        assert peer.recv(100).startswith(b"HTTP/1.1 408 ")
