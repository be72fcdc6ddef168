"""Structures of the kernel that are read by hand: every field against another reader, and against what is known.

A field that is read four bytes too early is a plausible number all the same. So each is held against ``ss``, against
the kernel's other ways to say the same (ioctl), against the peer's own counters, and against a transfer whose bytes
and segments are known.
"""

import array
import fcntl
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.machine.processes import kernel_tcp_bytes, read_process, rss_bytes
from clients.core.ledger import Ledger
from feed.instruments.clock import NS_PER_MS, now_ns, timerfd_create, timerfd_set
from feed.instruments.tcp import (
    ESTABLISHED,
    MAX_SEGMENT_BYTES,
    TcpInfo,
    read_progress,
    read_tcp_info,
    tune,
    unread_bytes,
)
from servers.gate.watchdog import NO_LINGER
from tests.conftest import run, until

SIOCOUTQNSD = 0x894B
"""Bytes that were not sent yet (linux/sockios.h); ``TIOCOUTQ`` counts what was not acknowledged yet too."""


@contextmanager
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of one connection over loopback, with the segments of an ordinary path."""
    with socket.socket() as listening:
        tune(listening)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.socket() as one:
            tune(one)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.connect(listening.getsockname())
            two, _ = listening.accept()
            with two:
                two.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield one, two


def queued(sock: socket.socket, request: int) -> int:
    """What the kernel says is in a socket's queue for sending."""
    found = array.array("i", [0])
    fcntl.ioctl(sock, request, found)
    return found[0]


async def settled(*socks: socket.socket) -> None:
    """Until everything that was sent has been acknowledged."""
    await until(lambda: not any(queued(sock, termios.TIOCOUTQ) for sock in socks), "all acknowledged")


def test_a_known_transfer_is_what_both_ends_count() -> None:
    with connection() as (one, two):
        for _ in range(10):
            one.sendall(b"x" * 100)
            two.recv(100, socket.MSG_WAITALL)
        two.sendall(b"y" * 7)
        one.recv(7, socket.MSG_WAITALL)
        run(settled(one, two))
        there, back = read_tcp_info(one), read_tcp_info(two)
    assert (there.state, back.state) == (ESTABLISHED, ESTABLISHED)
    assert there.timestamps and back.timestamps
    assert (there.bytes_sent, back.bytes_sent) == (1000, 7)
    assert (there.bytes_received, back.bytes_received) == (7, 1000)
    assert there.bytes_acked == 1000 + 1, "who connects counts its SYN"
    assert back.bytes_acked == 7
    assert there.segments_out == back.segments_in >= 10 + 1
    assert back.segments_out + 1 == there.segments_in >= 2, "its SYN was answered before there was a socket"
    assert (there.unacked_segments, there.notsent_bytes, there.retransmits) == (0, 0, 0)
    assert there.send_mss_bytes == MAX_SEGMENT_BYTES - 12, "time stamps take 12 bytes of each segment"
    assert 0 < there.rtt_us < 10_000_000
    assert there.stream_bytes == back.stream_bytes == 1007


def test_a_quiet_connection_has_nothing_waiting_however_much_it_has_moved() -> None:
    """The segments that came in stand next to the bytes that were not sent."""
    with connection() as (one, two):
        for sock, other in ((one, two), (two, one)) * 3:
            sock.sendall(b"x" * 5000)
            other.recv(5000, socket.MSG_WAITALL)
        run(settled(one, two))
        for sock in (one, two):
            info = read_tcp_info(sock)
            assert info.segments_in > 0 and info.segments_out > 0
            assert read_progress(sock) == (False, info.bytes_acked)


def test_a_peer_that_does_not_read_leaves_what_the_kernel_says_is_queued() -> None:
    with connection() as (one, two):
        one.setblocking(False)
        two.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        try:
            while True:
                sent += one.send(b"z" * 65_536)
        except BlockingIOError:
            pass
        waiting, acked = read_progress(one)
        info = read_tcp_info(one)
        assert waiting and info.notsent_bytes == queued(one, SIOCOUTQNSD) > 0
        # The window may open between the readings: the peer's kernel goes on taking what fits into its buffer.
        assert acked <= info.bytes_acked <= sent - queued(one, termios.TIOCOUTQ) + 1
        assert sent - (info.bytes_acked - 1) >= info.notsent_bytes


class Connected:
    """A transport and its protocol, as the ledger sees them."""

    receive_ns = 0

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._sock if name == "socket" else None


def test_the_kernels_stamp_is_of_the_bytes_that_the_client_has_read() -> None:
    """Newer ones that wait unread say nothing about how well the client stamps: it is busy with something else."""

    async def body(one: socket.socket, two: socket.socket) -> None:
        ledger, connected = Ledger(), Connected(one)
        ledger.open(connected, connected)  # type: ignore[arg-type]
        assert ledger.stamps() == [], "nothing came"
        for sent in (b"one", b"two"):
            two.sendall(sent)

            async def came(size: int = len(sent)) -> bool:
                return unread_bytes(one) == size

            await until(came, "it waits unread")
            assert ledger.stamps() == []
            one.recv(100)
            connected.receive_ns = now_ns()
            ((read_ns, kernel_ns),) = ledger.stamps()
            assert read_ns == connected.receive_ns and kernel_ns > 0
        one.close()
        assert ledger.stamps() == [], "closed"

    with connection() as (one, two):
        run(body(one, two))


def _by_ss(sock: socket.socket) -> dict[str, str]:
    """What ``ss`` reads of the same connection, over netlink."""
    port, peer = sock.getsockname()[1], sock.getpeername()[1]
    wanted = f"sport = :{port} and dport = :{peer}"
    done = subprocess.run(["ss", "-Htin", "state", "established", wanted], capture_output=True, text=True, check=True)
    return dict(re.findall(r"([a-z_]+):([0-9.]+)", done.stdout))


@pytest.mark.skipif(shutil.which("ss") is None, reason="ss is missing: apt-get install iproute2")
def test_every_field_is_what_ss_reads() -> None:
    with connection() as (one, two):
        for size in (1, 3000, 70):
            one.sendall(b"x" * size)
            two.recv(size, socket.MSG_WAITALL)
        two.sendall(b"y" * 12_345)
        one.recv(12_345, socket.MSG_WAITALL)
        run(settled(one, two))
        for sock in (one, two):
            info, said = read_tcp_info(sock), _by_ss(sock)
            number = {name: int(said.get(name, 0)) for name in _SAID_BY_SS}
            assert number == {name: getattr(info, field) for name, field in _SAID_BY_SS.items()}
            assert float(said["rtt"].partition("/")[0]) * 1000 == pytest.approx(info.rtt_us, abs=1)
    known = {"rtt_us", "options", "state", "last_data_received_ms"}  # ss leaves out times that it finds short
    assert {*_SAID_BY_SS.values(), *known} == set(TcpInfo._fields), "a field that nothing else tells"


_SAID_BY_SS = {
    "mss": "send_mss_bytes",
    "unacked": "unacked_segments",
    "retrans": "retransmits",
    "bytes_acked": "bytes_acked",
    "bytes_received": "bytes_received",
    "segs_out": "segments_out",
    "segs_in": "segments_in",
    "notsent": "notsent_bytes",
    "bytes_sent": "bytes_sent",
}


def test_both_readers_agree_while_bytes_move() -> None:
    with connection() as (one, two):
        reading = threading.Thread(target=_drain, args=(two,))
        reading.start()
        for _ in range(200):
            one.sendall(b"x" * 10_000)
            before = read_tcp_info(one)
            waiting, acked = read_progress(one)
            after = read_tcp_info(one)
            assert before.bytes_acked <= acked <= after.bytes_acked
            if not waiting:
                assert acked == 1 + after.bytes_sent
        one.shutdown(socket.SHUT_WR)
        reading.join()


def _drain(sock: socket.socket) -> None:
    while sock.recv(1 << 20):
        pass


def test_the_option_that_resets_is_understood_by_the_kernel() -> None:
    with connection() as (one, two):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        found = struct.unpack("ii", one.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))
        assert found == (1, 0)
        one.close()
        with pytest.raises(ConnectionResetError):
            two.recv(1)


def test_a_timer_is_armed_for_the_instant_that_was_asked_for() -> None:
    """Read back from the kernel's own words about the descriptor (proc(5), fdinfo)."""
    fd = timerfd_create()
    try:
        due_ns = now_ns() + 3600 * 1000 * NS_PER_MS
        timerfd_set(fd, due_ns, 5 * NS_PER_MS)
        said = Path(f"/proc/self/fdinfo/{fd}").read_text()
        left_s, left_ns = map(int, re.findall(r"it_value: \((\d+), (\d+)\)", said)[0])
        assert 0 <= due_ns - now_ns() - (left_s * 10**9 + left_ns) + 10**9 <= 2 * 10**9
        assert re.findall(r"it_interval: \((\d+), (\d+)\)", said) == [("0", str(5 * NS_PER_MS))]
    finally:
        os.close(fd)


def test_a_process_is_named_without_the_folder_of_its_program() -> None:
    """Results are published, and where somebody keeps their programs is nobody's business."""
    command = [sys.executable, "-c", "print(flush=True);input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()  # it runs: the kernel knows its command line
        found = read_process(process.pid)
        process.communicate(b"\n")
    program, _, arguments = found.command.partition(" ")
    assert (found.pid, arguments) == (process.pid, " ".join(command[1:]))
    assert "python" in program and "/" not in program


def test_memory_is_what_other_readers_say() -> None:
    said = int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    assert rss_bytes(os.getpid()) == pytest.approx(said, rel=0.05)
    pages = int(re.findall(r"^TCP: .* mem (\d+)$", Path("/proc/net/sockstat").read_text(), re.MULTILINE)[0])
    assert kernel_tcp_bytes() == pytest.approx(pages * resource.getpagesize(), abs=64 * resource.getpagesize())
