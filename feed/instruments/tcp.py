"""The kernel's counters of a TCP connection: TCP_INFO (tcp(7), struct tcp_info of linux/tcp.h), for both ends."""

import array
import fcntl
import resource
import socket
import struct
import termios
from typing import Final, NamedTuple

CONGESTION_CONTROL: Final = "cubic"
"""Set on every socket if the kernel allows it, as pacing by BBR and its like shapes a loopback unlike a LAN."""
MAX_SEGMENT_BYTES: Final = 1460
"""TCP_MAXSEG for segments as on a path with an MTU of 1500, not loopback's 64 KiB. Timestamps take 12 bytes of it."""

IP_HEADER_BYTES: Final = 20
TCP_HEADER_BYTES: Final = 20
TIMESTAMP_BYTES: Final = 12
SYN_EXTRA_BYTES: Final = 8
"""A SYN has 20 bytes of options (MSS, SACK permitted, timestamps, window scale), other segments 12."""

ESTABLISHED: Final = 1
CLOSED_STATES: Final = (6, 7)  # TIME_WAIT, CLOSE
_TIMESTAMPS_OPTION: Final = 1
_FIELDS: Final = {
    "state": (0, "B"),
    "options": (5, "B"),
    "send_mss_bytes": (16, "I"),
    "unacked_segments": (24, "I"),
    "last_data_received_ms": (52, "I"),
    "rtt_us": (68, "I"),
    "retransmits": (100, "I"),
    "bytes_acked": (120, "Q"),
    "bytes_received": (128, "Q"),
    "segments_out": (136, "I"),
    "segments_in": (140, "I"),
    "notsent_bytes": (144, "I"),
    "bytes_sent": (200, "Q"),
}
"""Offset in bytes and type of each field in ``struct tcp_info``."""


def _layout(*names: str) -> struct.Struct:
    """The structure up to the last of these fields, which must be in the order of their offsets."""
    text, at = "=", 0
    for name in names:
        offset, kind = _FIELDS[name]
        text += f"{offset - at}x{kind}"
        at = offset + struct.calcsize(f"={kind}")
    return struct.Struct(text)


_ALL: Final = _layout(*_FIELDS)
_PROGRESS: Final = _layout("unacked_segments", "bytes_acked", "notsent_bytes")


class TcpInfo(NamedTuple):
    """One reading. Byte counts are those of the TCP stream since the connection's beginning."""

    state: int
    options: int
    send_mss_bytes: int
    unacked_segments: int
    last_data_received_ms: int
    """Time since data came, in whole ticks of the kernel (``feed.instruments.clock.tick_ns`` long)."""
    rtt_us: int
    retransmits: int
    bytes_acked: int
    bytes_received: int
    segments_out: int
    segments_in: int
    notsent_bytes: int
    bytes_sent: int

    @property
    def timestamps(self) -> bool:
        """Does every segment carry the timestamps option?"""
        return bool(self.options & _TIMESTAMPS_OPTION)

    @property
    def stream_bytes(self) -> int:
        """Bytes that both ends handed to TCP, retransmissions included."""
        return self.bytes_sent + self.bytes_received

    @property
    def header_bytes(self) -> int:
        """Bytes of TCP and IP headers of all segments so far, both directions."""
        per_segment = IP_HEADER_BYTES + TCP_HEADER_BYTES + (TIMESTAMP_BYTES if self.timestamps else 0)
        return (self.segments_out + self.segments_in) * per_segment + 2 * SYN_EXTRA_BYTES

    @property
    def wire_bytes(self) -> int:
        """IP bytes moved in both directions: stream plus headers."""
        return self.stream_bytes + self.header_bytes


def read_tcp_info(sock: socket.socket) -> TcpInfo:
    """Read the counters. Raises ``OSError`` if the socket is closed or the kernel's structure is too short."""
    return TcpInfo(*_read(sock, _ALL))


def unread_bytes(sock: socket.socket) -> int:
    """What the kernel has received and the application has not read (``SIOCINQ``, tcp(7))."""
    found = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, found)
    return found[0]


def read_progress(sock: socket.socket) -> tuple[bool, int]:
    """Does the peer still owe acknowledgements, and how many bytes has it acknowledged? Raises ``OSError``.

    By these a stalled peer is recognised, at a third of the cost of ``read_tcp_info``.
    """
    unacked, acked, notsent = _read(sock, _PROGRESS)
    return bool(unacked or notsent), acked


def _read(sock: socket.socket, layout: struct.Struct) -> tuple[int, ...]:
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, layout.size)
    if len(raw) < layout.size:
        raise OSError(f"TCP_INFO has {len(raw)} bytes; {layout.size} are needed (Linux 4.19 or newer)")
    return layout.unpack(raw)


def tune(sock: socket.socket) -> None:
    """Make a loopback connection's segments and congestion control those of an ordinary path.

    Call it before the socket connects or listens; accepted sockets inherit both. A kernel that lacks the congestion
    control keeps its own: ``describe`` shows what is in force.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, MAX_SEGMENT_BYTES)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL.encode())
    except OSError:
        return


def raise_open_files() -> int:
    """Raise this process's limit of open files to what the system allows (getrlimit(2)). Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def describe(sock: socket.socket) -> dict[str, object]:
    """The socket options in force that can change a measurement, for the record."""
    congestion = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()
    return {
        "congestion_control": congestion,
        "mss_bytes": sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
        "nodelay": bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
        "send_buffer_bytes": sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        "receive_buffer_bytes": sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
    }
