"""What RFC 6455 demands of a server, as one table over everything that speaks WebSocket."""

import re
from collections.abc import Callable

import pytest

from tests.conftest import ROOT, Start
from tests.helpers.http_peer import HOST, HTTP, KEY, MAIN, UPGRADE, VERSION, Peer, Rule, broken, refused
from tests.transports.test_http_rules import RULES


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
