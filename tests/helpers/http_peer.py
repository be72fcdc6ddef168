"""One side of a connection that says what HTTP allows, and what it does not, byte by byte."""

import socket
from collections.abc import Callable
from typing import NamedTuple

from feed.transports import TRANSPORTS
from tests.conftest import SERVED

MAIN = {
    **{name: row.path for name, row in TRANSPORTS.items()},
    "socketio": "/socket.io/?EIO=4&transport=polling",
    "control": "/stats",
    "relay": "/stats",
}
"""The route of each listener that a GET is for."""
GOOD = {"websocket": 426, "socketio:websocket_only": 400}
"""How a plain GET of it is answered, where that is not 200."""
HTTP = [name for name in SERVED if name != "raw"]
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
"""The key of RFC 6455, section 1.3, which says what answers it."""
HOST = b"Host: localhost\r\n"


class Answer(NamedTuple):
    """One response."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    """Of what says its length; what is chunked, or ends with the connection, is not awaited."""

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found == name]


class Peer:
    """One connection to a listener, and the path that is asked for."""

    def __init__(self, port: int, path: str, good: int) -> None:
        self.port = port
        self.path = path.encode()
        self.good = good
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.pending = b""

    def send(self, *lines: bytes, target: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1") -> None:
        """A request: its fields, each with its line's end, in ``lines``."""
        head = b"%s %s HTTP/%s\r\n" % (method, target or self.path, version)
        self.sock.sendall(head + b"".join(lines) + b"\r\n")

    def answer(self, method: bytes = b"GET") -> Answer:
        """The next response."""
        while b"\r\n\r\n" not in self.pending:
            self._read()
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        length = int(dict(fields).get("content-length", 0)) if method != b"HEAD" else 0
        while len(self.pending) < length:
            self._read()
        body, self.pending = self.pending[:length], self.pending[length:]
        return Answer(int(first.split()[1]), fields, body)

    def ask(self, *lines: bytes, target: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1") -> Answer:
        """A request, and its response."""
        self.send(*lines, target=target, method=method, version=version)
        return self.answer(method)

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        try:
            while True:
                self._read()
        except EOFError:
            return self.pending

    def read(self, size: int) -> bytes:
        """The next bytes."""
        while len(self.pending) < size:
            self._read()
        data, self.pending = self.pending[:size], self.pending[size:]
        return data

    def _read(self) -> None:
        try:
            piece = self.sock.recv(65_536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise EOFError
        self.pending += piece


Rule = Callable[[Peer], bool]


def broken(server_port: int, path: str, good: int, rules: dict[str, Rule]) -> dict[str, str]:
    """The rules that are not kept, and what came instead."""
    wrong = {}
    for name, rule in rules.items():
        peer = Peer(server_port, path, good)
        try:
            if not rule(peer):
                wrong[name] = "another answer"
        except (EOFError, TimeoutError, IndexError, ValueError) as error:
            wrong[name] = repr(error)
        finally:
            peer.sock.close()
    return wrong


def refused(answer: Answer) -> bool:
    """A 400 in the one shape that errors have, after which the connection ends."""
    return answer.status == 400 and b'"code":"bad_request"' in answer.body and answer.all("connection") == ["close"]
