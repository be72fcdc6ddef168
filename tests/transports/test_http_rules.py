"""What RFC 9110, 9112 and 6455 demand of a server, as one table over every transport, variant and listener.

Each row sends bytes and says what must come back; docs/protocol.md lists the same rows for people.
"""

import socket

import pytest

from tests.conftest import Start
from tests.helpers.http_peer import GOOD, HOST, HTTP, KEY, MAIN, UPGRADE, VERSION, Answer, Peer, Rule, broken, refused


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
