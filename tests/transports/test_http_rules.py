"""What RFC 9110, 9112 and 6455 demand of a server, as one table over every transport, variant and listener.

Each row sends bytes and says what must come back; docs/protocol.md lists the same rows for people.
"""

import re
import socket
from collections.abc import Callable
from typing import NamedTuple

import pytest

from feed.transports import TRANSPORTS
from tests.conftest import ROOT, SERVED, Start

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


def refused(answer: Answer) -> bool:
    """A 400 in the one shape that errors have, after which the connection ends."""
    return answer.status == 400 and b'"code":"bad_request"' in answer.body and answer.all("connection") == ["close"]


def _pipelined(peer: Peer) -> bool:
    peer.sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\nGET /nothing HTTP/1.1\r\n" + HOST + b"\r\n")
    return [peer.answer().status, peer.answer().status] in ([200, 404], [404, 404])


def _close_is_last(peer: Peer) -> bool:
    peer.sock.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n")
    return peer.answer().all("connection") == ["close"] and peer.rest() == b""


def _head(peer: Peer) -> bool:
    """No content, an end at once, and the next answer is not shifted."""
    first = peer.ask(HOST, method=b"HEAD")
    return first.status == peer.good or ((peer.good == 400 and first.status == 200) and _alive(peer))


def _alive(peer: Peer) -> bool:
    """The connection is still good for another request."""
    return peer.ask(HOST, target=b"/").status in (200, 404)


def _ignored_upgrade(peer: Peer) -> bool:
    fields = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    return peer.ask(HOST, fields, target=b"/").status in (200, 404) and _alive(peer)


def _ignored_upgrade_with_body(peer: Peer) -> bool:
    fields = b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n"
    peer.send(HOST, fields, target=b"/nothing", method=b"POST")
    peer.sock.sendall(b"hello")
    chunked = b"Upgrade: h2c, foo/2\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n"
    first = peer.answer().status
    peer.send(HOST, chunked, target=b"/nothing", method=b"POST")
    peer.sock.sendall(b"5\r\nhello\r\n0\r\n\r\n")
    return (first, peer.answer().status) == (404, 404) and _alive(peer)


def _http_1_0(peer: Peer) -> bool:
    """Framed by its length or by the end of the connection, which is promised once."""
    answer = peer.ask(version=b"1.0")
    return answer.status == peer.good and not answer.all("transfer-encoding") and closes(answer)


def closes(answer: Answer) -> bool:
    said = [token.strip().lower() for value in answer.all("connection") for token in value.split(",")]
    return "close" in said and "keep-alive" not in said


def _chunk_extensions(peer: Peer) -> bool:
    peer.send(HOST, b"Transfer-Encoding: chunked\r\n", target=b"/nothing", method=b"POST")
    peer.sock.sendall(b'5;name=value;other="quoted"\r\nhello\r\n0;x\r\n\r\n')
    return peer.answer().status == 404 and _alive(peer)


def _expect(peer: Peer) -> bool:
    peer.send(HOST, b"Expect: 100-continue\r\nContent-Length: 2\r\n", target=b"/nothing", method=b"POST")
    return peer.answer().status in (100, 404)


def _no_slash(peer: Peer) -> bool:
    path = peer.path.partition(b"?")[0]
    other = path + b"/" if not path.endswith(b"/") else path[:-1]
    answer = peer.ask(HOST, target=other)
    return answer.status == 404 and not answer.all("location") and b"not_found" in answer.body


def _connect(peer: Peer) -> bool:
    """Whatever its target looks like."""
    other = Peer(peer.port, peer.path.decode(), peer.good)
    try:
        first = refused(other.ask(HOST, target=b"/", method=b"CONNECT"))
    finally:
        other.sock.close()
    return first and refused(peer.ask(HOST, target=b"localhost:80", method=b"CONNECT"))


def _empty_lines_cut_nothing(peer: Peer) -> bool:
    """Behind a request, too, and they are no request that would be overdue."""
    peer.sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n\r\n")
    return peer.answer().status in (200, 404) and _alive(peer)


def _trailers(peer: Peer) -> bool:
    """Host and Origin would be refused if they were taken for headers."""
    peer.send(HOST, b"Transfer-Encoding: chunked\r\n", target=b"/", method=b"GET")
    peer.sock.sendall(b"0\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n")
    return peer.answer().status in (200, 404) and _alive(peer)


def _one_answer(peer: Peer) -> bool:
    """Nothing is said of a body that turns out wrong after its request has been answered."""
    peer.send(HOST, b"Transfer-Encoding: chunked\r\n", target=b"/", method=b"GET")
    if peer.answer().status not in (200, 404):
        return False
    peer.sock.sendall(b"zz\r\n")
    return peer.rest() == b""


def _half_closed(peer: Peer) -> bool:
    peer.send(HOST, target=b"/")
    peer.sock.shutdown(socket.SHUT_WR)
    return peer.answer().status in (200, 404)


def _options(peer: Peer) -> bool:
    answer = peer.ask(HOST, method=b"OPTIONS")
    allowed = answer.all("allow")[0].split(", ")
    return answer.status == 204 and {"GET", "OPTIONS"} <= set(allowed) and not answer.all("content-length")


def _method(peer: Peer) -> bool:
    answer = peer.ask(HOST, method=b"PATCH")
    return answer.status == 405 and "GET" in answer.all("allow")[0] and b"method_not_allowed" in answer.body


RULES: dict[str, Rule] = {
    "host-missing": lambda peer: refused(peer.ask()),
    "host-repeated": lambda peer: refused(peer.ask(HOST, HOST)),
    "host-invalid": lambda peer: refused(peer.ask(b"Host: a/b\r\n")),
    "host-not-needed-in-1.0": lambda peer: peer.ask(version=b"1.0").status == peer.good,
    "absolute-form": lambda peer: peer.ask(b"Host: x\r\n", target=b"http://localhost" + peer.path).status == peer.good,
    "connect": _connect,
    "asterisk-form": lambda peer: peer.ask(HOST, target=b"*", method=b"OPTIONS").status == 204,
    "asterisk-only-for-options": lambda peer: refused(peer.ask(HOST, target=b"*")),
    "version-unknown": lambda peer: refused(peer.ask(HOST, version=b"2.0")),
    "empty-line-behind": _empty_lines_cut_nothing,
    "empty-line-first": lambda peer: peer.ask(HOST, method=b"\r\nGET").status == peer.good,
    "space-before-colon": lambda peer: refused(peer.ask(HOST, b"X : y\r\n")),
    "line-folding": lambda peer: refused(peer.ask(HOST, b"X: y\r\n z\r\n")),
    "control-in-value": lambda peer: refused(peer.ask(HOST, b"X: a\0b\r\n")),
    "transfer-encoding-to-1.0": _http_1_0,
    "length-and-encoding": lambda peer: refused(
        peer.ask(HOST, b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", method=b"POST")
    ),
    "encoding-without-end": lambda peer: refused(peer.ask(HOST, b"Transfer-Encoding: gzip\r\n", method=b"POST")),
    "lengths-differ": lambda peer: refused(
        peer.ask(HOST, b"Content-Length: 3\r\nContent-Length: 4\r\n", method=b"POST")
    ),
    "length-invalid": lambda peer: refused(peer.ask(HOST, b"Content-Length: -3\r\n", method=b"POST")),
    "encoding-in-1.0": lambda peer: refused(
        peer.ask(b"Transfer-Encoding: chunked\r\n", method=b"POST", version=b"1.0")
    ),
    "encoding-not-undone": lambda peer: refused(
        peer.ask(HOST, b"Transfer-Encoding: gzip, chunked\r\n", method=b"POST")
    ),
    "chunk-extensions": _chunk_extensions,
    "trailers-are-no-headers": _trailers,
    "one-answer": _one_answer,
    "half-closed": _half_closed,
    "answers-in-order": _pipelined,
    "nothing-after-close": _close_is_last,
    "date": lambda peer: len(peer.ask(HOST).all("date")) == 1,
    "date-on-refusals": lambda peer: len(peer.ask().all("date")) == 1,
    "upgrade-ignored": _ignored_upgrade,
    "upgrade-with-body-ignored": _ignored_upgrade_with_body,
    "upgrade-in-1.0-ignored": lambda peer: peer.ask(UPGRADE, VERSION, KEY, version=b"1.0").status == peer.good,
    "head": _head,
    "allow-with-405": _method,
    "options": _options,
    "expect-continue": _expect,
    "expect-in-1.0-ignored": lambda peer: (
        peer.ask(b"Expect: 100-continue\r\nContent-Length: 0\r\n", version=b"1.0").status == peer.good
    ),
    "no-redirect-by-host": _no_slash,
    "line-feed-in-path": lambda peer: (
        peer.ask(HOST, target=peer.path.partition(b"?")[0] + b"%0A").status == 404 and _alive(peer)
    ),
}
"""Name -> does the server keep it? For every HTTP listener."""


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


@pytest.mark.parametrize("served", HTTP)
def test_every_rule_of_http_is_kept(share: Start, served: str) -> None:
    server = share(served, "--source", "none")
    name = served.partition(":")[0]
    good = GOOD.get(served, GOOD.get(name, 200))
    assert broken(server.port, MAIN[name], good, RULES) == {}


@pytest.mark.parametrize("listener", ["control", "relay"])
def test_the_control_listeners_keep_them_too(share: Start, listener: str) -> None:
    server = share("sse", "--source", "none") if listener == "control" else share("relay", "--to", "127.0.0.1:9")
    rules = {name: rule for name, rule in RULES.items() if name != "absolute-form"}
    port = int(server.ready["control_url"].rpartition(":")[2])
    assert broken(port, MAIN[listener], 200, rules) == {}


def frame(opcode: int, payload: bytes, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame (RFC 6455, section 5.2) with a mask of zeros."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0x80 if masked else 0) | min(len(payload), 126)])
    head += len(payload).to_bytes(2, "big") if len(payload) > 125 else b""
    return head + (bytes(4) if masked else b"") + payload


def _open(peer: Peer) -> Peer:
    """Past the handshake and the first message."""
    assert peer.ask(HOST, UPGRADE, VERSION, KEY).status == 101
    _next_frame(peer)
    return peer


def _next_frame(peer: Peer) -> tuple[int, bytes]:
    first, second = peer.read(2)
    assert not second & 0x80, "a server must not mask (RFC 6455, section 5.1)"
    size = second & 0x7F
    if size == 126:
        size = int.from_bytes(peer.read(2), "big")
    return first & 0x0F, peer.read(size)


def _closed_with(*frames: bytes) -> Callable[[int], Rule]:
    def expecting(code: int) -> Rule:
        def rule(peer: Peer) -> bool:
            _open(peer).sock.sendall(b"".join(frames))
            while (found := _next_frame(peer))[0] != 8:
                pass
            return int.from_bytes(found[1][:2], "big") == code

        return rule

    return expecting


def _pong(peer: Peer) -> bool:
    _open(peer).sock.sendall(frame(9, b"ping!"))
    while (found := _next_frame(peer))[0] != 10:
        pass
    return found[1] == b"ping!"


def _lists(peer: Peer) -> bool:
    fields = b"Connection: keep-alive\r\nConnection: foo, UPGRADE\r\nUpgrade: h2c, WebSocket\r\n"
    return peer.ask(HOST, fields, VERSION, KEY).status == 101


def _accept(peer: Peer) -> bool:
    answer = peer.ask(HOST, UPGRADE, VERSION, KEY, b"Cookie: " + b"c" * 10_000 + b"\r\n")
    return answer.status == 101 and answer.all("sec-websocket-accept") == ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]


def _other_version(peer: Peer) -> bool:
    answer = peer.ask(HOST, UPGRADE, KEY, b"Sec-WebSocket-Version: 8\r\n")
    named = answer.all("sec-websocket-version") == ["13"] and answer.all("upgrade") == ["websocket"]
    return answer.status == 426 and named and b'"type":"error"' in answer.body


def _bad_handshake(*fields: bytes, method: bytes = b"GET") -> Rule:
    def rule(peer: Peer) -> bool:
        answer = peer.ask(HOST, *fields, method=method)
        return refused(answer) and answer.all("sec-websocket-version") == ["13"]

    return rule


def _early_data(peer: Peer) -> bool:
    head = b"GET " + peer.path + b" HTTP/1.1\r\n" + HOST + UPGRADE + VERSION + KEY + b"\r\n"
    peer.sock.sendall(head + frame(1, b"too early"))
    return refused(peer.answer())


def _in_line(peer: Peer) -> bool:
    """Behind a request that is not answered yet: not answered before it, nor in the midst of it."""
    handshake = b"GET " + peer.path + b" HTTP/1.1\r\n" + HOST + UPGRADE + VERSION + KEY + b"\r\n"
    peer.sock.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n" + handshake)
    return b" 101 " not in peer.rest()


def _nothing_there(peer: Peer) -> bool:
    answer = peer.ask(HOST, UPGRADE, VERSION, KEY, target=b"/nothing")
    return answer.status == 404 and b"not_found" in answer.body


WEBSOCKET_RULES: dict[str, Rule] = {
    "handshake-in-line": _in_line,
    "handshake-to-nothing": _nothing_there,
    "accept-value": _accept,
    "upgrade-among-others": _lists,
    "version-not-13": _other_version,
    "version-missing": _bad_handshake(UPGRADE, KEY),
    "key-missing": _bad_handshake(UPGRADE, VERSION),
    "key-short": _bad_handshake(UPGRADE, VERSION, b"Sec-WebSocket-Key: c2hvcnQ=\r\n"),
    "key-repeated": _bad_handshake(UPGRADE, VERSION, KEY, KEY),
    "handshake-by-post": _bad_handshake(UPGRADE, VERSION, KEY, method=b"POST"),
    "handshake-with-body": _bad_handshake(UPGRADE, VERSION, KEY, b"Content-Length: 1\r\n"),
    "data-before-answer": _early_data,
    "unmasked": _closed_with(frame(1, b"x", masked=False))(1002),
    "reserved-bits": _closed_with(frame(1, b"x", rsv=1))(1002),
    "unknown-opcode": _closed_with(frame(3, b"x"))(1002),
    "control-in-pieces": _closed_with(frame(9, b"x", fin=False))(1002),
    "control-too-long": _closed_with(frame(9, b"x" * 126))(1002),
    "continuation-of-nothing": _closed_with(frame(0, b"x"))(1002),
    "text-not-utf-8": _closed_with(frame(1, b"\xf0\x28"))(1007),
    "close-code-reserved": _closed_with(frame(8, (1005).to_bytes(2, "big")))(1002),
    "close-is-answered": _closed_with(frame(8, (1000).to_bytes(2, "big")))(1000),
    "ping-is-answered": _pong,
}
"""The same for what speaks WebSocket."""


@pytest.mark.parametrize("served", [name for name in HTTP if name.partition(":")[0] in ("websocket", "socketio")])
def test_every_rule_of_websocket_is_kept(share: Start, served: str) -> None:
    server = share(served, "--source", "none")
    path = "/ws" if "websocket" in served.partition(":")[0] else "/socket.io/?EIO=4&transport=websocket"
    assert broken(server.port, path, 0, WEBSOCKET_RULES) == {}


@pytest.mark.parametrize("served", [name for name in HTTP if "socketio" not in name])
def test_every_401_says_how_to_authenticate(share: Start, served: str) -> None:
    """RFC 9110, section 15.5.2. Socket.IO's library asks for the token in its own protocol."""
    server = share(served, "--source", "none", "--auth", "dev")
    name = served.partition(":")[0]
    peer = Peer(server.port, MAIN[name], 401)
    answer = peer.ask(HOST, *([UPGRADE, VERSION, KEY] if name == "websocket" else []))
    peer.sock.close()
    assert (answer.status, answer.all("www-authenticate")) == (401, ['Bearer realm="pushmark"'])


def test_the_documented_rules_are_those_that_are_tested() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    named = re.findall(r"^\| `([a-z0-9.-]+)` \| (?:9110|9112|6455|pushmark)", text, re.MULTILINE)
    assert sorted(named) == sorted([*RULES, *WEBSOCKET_RULES])
