"""The relay's delay, held against kernel time stamps at both ends (SO_TIMESTAMPNS), its order, ends and bounds."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from clients.control import Control
from tests.conftest import Running, Start, invoke, run

RTT_MS = 40.0
MESSAGES = 60
SO_TIMESTAMPNS = 35  # asm-generic/socket.h; its control message has the same number


def stamped_read(sock: socket.socket) -> tuple[bytes, int]:
    """Data and the kernel's receive stamp in nanoseconds of CLOCK_REALTIME."""
    data, controls, _, _ = sock.recvmsg(65_536, 1024)
    for level, kind, value in controls:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", value[:16])
            return data, seconds * 10**9 + nanoseconds
    return data, 0


@contextmanager
def echo_server() -> Iterator[tuple[int, list[int]]]:
    """Answers every message at once; records the kernel's receive stamps."""
    stamps: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while True:
                data, stamp = stamped_read(connection)
                if not data:
                    return
                stamps.append(stamp)
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], stamps
        thread.join(5)
        assert not thread.is_alive()
    finally:
        listener.close()


def relay_to(start: Start, port: int, rtt_ms: float = RTT_MS) -> Running:
    return start("relay", "--to", f"127.0.0.1:{port}", "--rtt-ms", str(rtt_ms))


def test_each_direction_takes_half_the_round_trip_by_the_kernels_clock(start: Start) -> None:
    with echo_server() as (port, server_stamps):
        relay = relay_to(start, port)
        connecting_ns = time.time_ns()
        with socket.create_connection(("127.0.0.1", relay.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sent, received = [], []
            for i in range(MESSAGES):
                sent.append(time.time_ns())
                sock.sendall(struct.pack(">I", i) * 50)
                data, stamp = stamped_read(sock)
                assert data == struct.pack(">I", i) * 50
                received.append(stamp)
    there_ms = [(b - a) / 1e6 for a, b in zip(sent, server_stamps, strict=True)]
    back_ms = [(b - a) / 1e6 for a, b in zip(server_stamps, received, strict=True)]
    # The first message of a connection waits one round trip more: TCP's own handshake, which the relay swallows.
    assert (server_stamps[0] - connecting_ns) / 1e6 >= 1.5 * RTT_MS
    for name, one_way_ms in (("there", sorted(there_ms[1:])), ("back", sorted(back_ms))):
        assert one_way_ms[0] >= RTT_MS / 2, f"{name}: released early"
        assert one_way_ms[0] < RTT_MS / 2 + 2, f"{name}: even the least disturbed came late: {one_way_ms}"


def test_it_reports_its_own_lateness(start: Start) -> None:
    with echo_server() as (port, _):
        relay = relay_to(start, port, 4)
        with socket.create_connection(("127.0.0.1", relay.port)) as sock:
            for _ in range(10):
                sock.sendall(b"x")
                sock.recv(10)

            async def body() -> tuple[int, int]:
                async with Control(relay.ready["control_url"]) as control:
                    before = (await control.stats())["release_lateness"]
                    assert 0 < before["us_p50"] <= before["us_max"]
                    await control.reset_stats()
                    after = (await control.stats())["release_lateness"]
                    return before["count"], after["count"]

            count, after = run(body())  # while it is open: its end would be one more
        assert count >= 20 and after == 0


def test_bulk_keeps_its_order_and_its_bound(start: Start) -> None:
    """Far more than the relay may hold, towards a reader that begins late; then the ends of both directions."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # else the kernel would take it all
    relay = relay_to(start, listener.getsockname()[1], 10)
    total = 24 << 20
    pattern = bytes(range(256)) * 256
    with socket.create_connection(("127.0.0.1", relay.port)) as sock:
        connection, _ = listener.accept()
        accepted_without_reader = 0
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while accepted_without_reader < total:
                accepted_without_reader += sock.send(pattern[accepted_without_reader % len(pattern) :])
        assert accepted_without_reader < total, "the relay took everything although nobody read"
        sock.settimeout(20)
        received = bytearray()

        def read() -> None:
            while piece := connection.recv(1 << 20):
                received.extend(piece)

        thread = threading.Thread(target=read)
        thread.start()
        sent = accepted_without_reader
        while sent < total:
            sent += sock.send(pattern[sent % len(pattern) :])
        sock.shutdown(socket.SHUT_WR)
        thread.join(20)
        assert len(received) == sent and bytes(received[: 1 << 20]) == (pattern * 16)[: 1 << 20]
        assert bytes(received) == (pattern * (sent // len(pattern) + 1))[:sent]
        connection.sendall(b"still open")
        assert sock.recv(100) == b"still open"
        connection.close()
        assert sock.recv(100) == b""
    listener.close()


def test_a_target_that_refuses_resets_the_client(start: Start) -> None:
    relay = relay_to(start, 9, 4)
    with socket.create_connection(("127.0.0.1", relay.port), timeout=5) as sock, suppress(ConnectionResetError):
        assert sock.recv(10) == b""


@pytest.mark.parametrize("target", ("nowhere", "127.0.0.1:0", "127.0.0.1:99999", ":80"))
def test_a_bad_target_is_named(target: str) -> None:
    done = invoke("servers", "relay", "--to", target)
    assert done.returncode == 2 and target in done.stderr and "HOST:PORT" in done.stderr


def test_many_connections_leave_nothing_behind(start: Start) -> None:
    server = start("polling", "--source", "none")
    relay = relay_to(start, server.port, 2)

    async def body() -> None:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        async with Control(relay.ready["control_url"]) as control:
            stats = await control.stats()
            while stats["connections_now"]:
                stats = await control.stats()
            assert stats["connections_total"] == 20

    run(asyncio.wait_for(body(), 20))


def test_a_narrow_network_that_loses_delivers_everything_in_order_and_counts(start: Start) -> None:
    """400 kB at 4 Mbit/s take 0.8 s or more; the relay says what it lost, by which network and which seeds."""
    listener = socket.create_server(("127.0.0.1", 0))
    target = f"127.0.0.1:{listener.getsockname()[1]}"
    given = ("--network", "lan", "--jitter-ms", "2", "--bandwidth-mbit-s", "4", "--loss", "0.02", "--seed", "5")
    relay = start("relay", "--to", target, *given)
    assert relay.ready["options"]["network"] == {
        "name": "custom",
        "rtt_ms": 1.0,
        "jitter_ms": 2.0,
        "bandwidth_mbit_s": 4.0,
        "loss": 0.02,
    }
    assert relay.ready["options"]["seeds"].startswith("5-CONNECTION-up and ")
    sent = b"".join(struct.pack(">I", i) for i in range(100_000))
    with socket.create_connection(("127.0.0.1", relay.port)) as sock:
        connection, _ = listener.accept()
        began = time.monotonic()
        writer = threading.Thread(target=lambda: (sock.sendall(sent), sock.shutdown(socket.SHUT_WR)))
        writer.start()
        received = bytearray()
        while piece := connection.recv(1 << 16):
            received.extend(piece)
        took_s = time.monotonic() - began
        writer.join(5)
        connection.close()
    listener.close()
    assert bytes(received) == sent
    assert took_s >= len(sent) * 8 / 4e6

    async def body() -> dict[str, int]:
        async with Control(relay.ready["control_url"]) as control:
            return (await control.stats())["link"]

    path = run(body())
    assert path["segments"] - path["lost"] >= len(sent) / 1448
    assert path["lost"] >= path["stalls"] > 0
