"""Faults, with real processes over all transports: killed, cut, vanished, besieged, fed with nonsense."""

import asyncio
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.machine.host import Placement
from bench.machine.processes import rss_bytes
from bench.reliability.failures import run_fault
from bench.reliability.planned_fault import PlannedFault
from bench.results.reliability import FaultTrial
from clients.control import Control
from feed.wire import encode_frame
from tests.conftest import SERVED, Running, Start, run, until
from tests.transports.test_bad_input import still_serves
from tests.transports.test_bounds import OPENINGS

CLIENTS = int(os.environ.get("PUSHMARK_FAULT_CLIENTS", "50"))
BACK_OFF_CAP_S = 30.0
KIB = 1024
VANISHING = f"10.99.99.{1 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:])}"
"""One for each of the processes that run tests."""
EXAMPLES = int(os.environ.get("PUSHMARK_FUZZ_EXAMPLES", "300"))
FUZZED = ("--source", "none", "--request-timeout-s", "1")
HANDSHAKE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
HANDSHAKE += b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
PATHS = {"polling": "/poll", "long_polling": "/long-poll", "sse": "/sse", "websocket": "/ws", "socketio": "/socket.io/"}


def broken(transport: str, fault: str, folder: Path) -> FaultTrial:
    """One fault with many clients connected, as the benchmark has it."""
    (folder / "logs").mkdir()
    core = min(os.sched_getaffinity(0))
    place = Placement(core, core, [core])

    async def body() -> FaultTrial:
        return await run_fault(PlannedFault(transport, fault, 1), CLIENTS, 20.0, folder, place, seed=1)

    trial: FaultTrial = run(body())
    assert trial.never_back == 0 and trial.duplicates == 0 and trial.silently_lost == 0
    assert trial.recover_s[-1] <= BACK_OFF_CAP_S
    return trial


def test_everybody_comes_back_after_kill_9(transport: str, tmp_path: Path) -> None:
    """With the history gone, each is told of a gap: the truth."""
    trial = broken(transport, "kill", tmp_path)
    assert (trial.gaps, trial.resumed) == (CLIENTS, 0)


def test_everybody_is_resumed_after_a_cut(transport: str, tmp_path: Path) -> None:
    trial = broken(transport, "cut", tmp_path)
    assert trial.gaps == 0 and trial.resumed + trial.undisturbed >= CLIENTS
    assert trial.delivered == CLIENTS * 40


def test_ctrl_c_while_a_server_starts_is_no_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_ctrl_c(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("bench.reliability.failures.start_server", press_ctrl_c)
    with pytest.raises(asyncio.CancelledError):
        run(run_fault(PlannedFault("sse", "kill", 1), 1, 20.0, tmp_path, Placement(0, 0, [0]), seed=1))


@pytest.mark.parametrize(("command", "option"), [("faults", "--rate-hz"), ("soak", "--duration-s")])
@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_what_is_no_number_within_the_range_is_refused(command: str, option: str, number: str) -> None:
    done = CliRunner().invoke(main, [command, option, number])
    assert done.exit_code == 2 and f"'{option}': {number}" in done.stderr


def vanish(address: str) -> None:
    """From now on nothing comes from this address, and what is sent to it is dropped without a word."""
    subprocess.run(["ip", "addr", "del", f"{address}/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "route", "add", "blackhole", f"{address}/32"], check=True)


@contextmanager
def vanishing_address() -> Iterator[str]:
    """An address of this machine that can be taken away, with all packets to it."""
    with suppress(FileNotFoundError):
        if subprocess.run(["ip", "addr", "add", f"{VANISHING}/32", "dev", "lo"], capture_output=True).returncode == 0:
            try:
                yield VANISHING
            finally:
                subprocess.run(["ip", "route", "del", "blackhole", f"{VANISHING}/32"], capture_output=True, check=False)
                subprocess.run(["ip", "addr", "del", f"{VANISHING}/32", "dev", "lo"], capture_output=True, check=False)
            return
    pytest.skip("no right to add an address: needs root and iproute2")


@pytest.mark.parametrize("stream", [name for name in SERVED if name.partition(":")[0] in OPENINGS])
def test_a_peer_whose_network_vanished_is_dropped(start: Start, stream: str) -> None:
    """No FIN, no reset, no answer: gone within heartbeat + stall time-out + sweep."""
    server = start(stream, "--source", "none", "--heartbeat-s", "0.5", "--stall-timeout-s", "1.5")
    name = server.ready["transport"]

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            with vanishing_address() as address, socket.socket() as peer:
                peer.bind((address, 0))
                peer.connect(("127.0.0.1", server.port))
                peer.sendall(OPENINGS[name])
                peer.recv(1)
                if name == "socketio":
                    peer.sendall(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"40")
                await until(lambda: _connections(control, 1), "connected")
                await asyncio.to_thread(vanish, address)
                await until(lambda: _connections(control, 0), "dropped")
                assert (await control.stats())["aborted_slow_readers"] == 1, "by the watchdog: a ping has a minute"

    run(body())


async def _connections(control: Control, count: int) -> bool:
    return bool((await control.stats())["connections_now"] == count)


def test_a_thousand_unfinished_handshakes_cost_little(start: Start, transport: str) -> None:
    """At most 64 KiB of resident memory each, the contract holds meanwhile, and all are gone in the end."""
    server = start(transport, "--source", "none", "--request-timeout-s", "4")
    still_serves(server)
    before = rss_bytes(server.process.pid)
    peers = []
    for _ in range(1000):
        peer = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        peer.sendall(b"GET / HTTP/1.1\r\nHo" if transport != "raw" else b"\0\0")
        peers.append(peer)
    still_serves(server)
    assert rss_bytes(server.process.pid) - before <= 1000 * 64 * KIB

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            await until(lambda: _connections(control, 0), "all closed")

    run(body())
    for peer in peers:
        peer.close()


def test_connections_cut_in_the_middle_of_a_message(start: Start, served_upstream: str) -> None:
    """Half a frame, half a body, then a reset: nothing is kept."""
    server = start(served_upstream, "--source", "none")
    name = server.ready["transport"]
    halves = {
        "websocket": OPENINGS["websocket"] + bytes([0x81, 0xFE, 0x10, 0x00, 0, 0, 0, 0]) + b'{"type":',
        "socketio": OPENINGS["socketio"] + bytes([0x81, 0xFE, 0x10, 0x00, 0, 0, 0, 0]) + b'42["request",',
    }
    post = b'POST /requests HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"type":"publish"'
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
            peer.sendall(halves.get(name, post))
            if name in halves:
                peer.recv(1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def body() -> None:
        async with Control(server.ready["control_url"]) as control:
            await until(lambda: _connections(control, 0), "all gone")

    run(body())
    still_serves(server)


BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(str.encode),
    st.builds(
        lambda kind, key, value: b'{"type":"%s","id":"1","%s":%s}' % (kind, key, value),
        st.sampled_from([b"publish", b"join", b"leave", b"typing", b"acknowledge", b"renew", b"call", b"x", b""]),
        st.sampled_from([b"room", b"rooms", b"user", b"data", b"service", b"message", b"token", b"since", b"active"]),
        st.sampled_from(
            [b"1", b'"a"', b"null", b"[]", b"{}", b'"\\ud800"', b"1e999", b"[" * 500, b'"' + b"x" * 70_000 + b'"']
        ),
    ),
)
BASELINE = st.one_of(st.binary(max_size=300), BODIES.map(encode_frame))
HTTP = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda method, path, query, header, body: (
            b"%s %s?%s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n%s"
            % (method, path, query, header, len(body), body)
        ),
        st.sampled_from([b"GET", b"POST", b"DELETE", b"PUT", b"OPTIONS", b"HEAD", b"FLY"]),
        st.sampled_from(
            [*(path.encode() for path in PATHS.values()), b"/", b"/requests", b"/sessions", b"/x", b"*", b"//"]
        ),
        st.one_of(
            st.sampled_from(
                [b"room=feed&since=x", b"hold_s=0", b"EIO=4&transport=polling", b"EIO=4&sid=x", b"token=a.b.c"]
            ),
            st.text("ab=&%+;0", max_size=30).map(str.encode),
        ),
        st.sampled_from(
            [
                b"X: y",
                b"Pushmark-Session: x",
                b"Authorization: Bearer x",
                b"Origin: null",
                b"Cookie: a",
                b"Expect: 100-continue",
            ]
        ),
        BODIES,
    ),
)
FRAMES = st.builds(
    lambda opcode, body: bytes([0x80 | opcode, 0x80 | min(len(body), 125)]) + bytes(4) + body[:125],
    st.sampled_from([0, 1, 2, 8, 9, 10, 15]),
    st.one_of(
        BODIES, st.builds(lambda a, b: a + b, st.sampled_from([b"40", b"42", b"43", b"44", b"1", b"2", b"45-"]), BODIES)
    ),
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_fuzz(start: Start, served: str) -> None:
    """Whatever comes: no 5xx, no traceback (the fixture looks), no hang, and afterwards the contract holds."""
    server = start(served, *FUZZED, *([] if served == "raw" else ["--limit", "strikes=1000000"]))
    name = server.ready["transport"]
    sockets = name in ("websocket", "socketio")

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(FRAMES, min_size=1, max_size=4) if sockets else HTTP, BASELINE if name == "raw" else HTTP)
    def one(first: list[bytes] | bytes, second: bytes) -> None:
        if isinstance(first, list):
            _send(server, OPENINGS[name], b"".join(first))
        else:
            _send(server, first, b"")
        _send(server, second, b"")

    one()
    still_serves(server)


def _send(server: Running, opening: bytes, then: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer, suppress(ConnectionError):
        peer.sendall(opening)
        answer = peer.recv(100) if then else b""
        if then:
            peer.sendall(then)
        with suppress(OSError):  # the server has cut it off already
            peer.shutdown(socket.SHUT_WR)
        peer.settimeout(3)
        deadline = time.monotonic() + 3
        with suppress(TimeoutError):  # a stream that goes on is no hang
            while (piece := peer.recv(65_536)) and time.monotonic() < deadline:
                answer += piece
        assert b"HTTP/1.1 5" not in answer, (opening, then, answer[:500])
