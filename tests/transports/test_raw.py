"""The baseline as a plain socket sees it: frames, and heartbeats when there is nothing else."""

import socket
import struct

from feed.envelope import decode_envelope
from feed.wire import encode_frame
from tests.conftest import Start


def read_frame(sock: socket.socket) -> bytes:
    (length,) = struct.unpack(">I", _exactly(sock, 4))
    return _exactly(sock, length)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, "closed in the middle of a frame"
        data += piece
    return data


def test_a_plain_socket_reads_frames(start: Start) -> None:
    server = start("raw", "--source", "synthetic", "--rate-hz", "50")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(encode_frame(b'{"type":"subscribe"}'))
        assert decode_envelope(read_frame(sock)).type == "welcome"
        numbers = [decode_envelope(read_frame(sock)).value()["n"] for _ in range(5)]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_an_empty_frame_is_the_heartbeat(start: Start) -> None:
    server = start("raw", "--source", "none", "--heartbeat-s", "0.2")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(encode_frame(b'{"type":"subscribe"}'))
        assert decode_envelope(read_frame(sock)).type == "welcome"
        assert [read_frame(sock), read_frame(sock)] == [b"", b""]
