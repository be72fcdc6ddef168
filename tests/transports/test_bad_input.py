"""Bad input gets the documented error, and everybody else is served on."""

import socket
import struct
from contextlib import aclosing, suppress

import msgspec
import pytest

from clients.contract.feed import CHECKS, Bench, run_check
from clients.control import Control
from clients.core.client import new_client, new_shared
from clients.core.options import ClientOptions
from feed.envelope import decode_envelope, decode_error
from feed.transports import TRANSPORTS
from tests.conftest import Running, Start, run
from tests.transports.test_bounds import OPENINGS

HTTP_PATHS = {name: row.path for name, row in TRANSPORTS.items() if name not in ("socketio", "raw")}
FUTURE = "ffffffff-"


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and read until the server closes; what it has not read by then resets the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(data)
        answer = b""
        with suppress(ConnectionResetError):
            while piece := sock.recv(65_536):
                answer += piece
    return answer


def request(port: int, target: str, method: str = "GET", extra: str = "", body: bytes = b"") -> tuple[int, str, str]:
    """One HTTP exchange; returns status, error code and message."""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{extra}\r\n"
    return parse(exchange(port, head.encode() + body))


def parse(answer: bytes) -> tuple[int, str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    error = decode_error(decode_envelope(body).data)
    assert decode_envelope(body).type == "error"
    return int(head.split()[1]), error.code, error.message


def still_serves(server: Running) -> None:
    """The whole contract still holds."""

    async def body() -> None:
        shared = new_shared(seed=1)
        async with Control(server.ready["control_url"]) as control:
            await run_check(CHECKS[0], Bench(server.target, control, shared))
        shared.timer.close()

    run(body())


@pytest.fixture(params=list(HTTP_PATHS))
def http_server(request: pytest.FixtureRequest, share: Start) -> Running:
    return share(str(request.param), "--source", "none")


def upgrade(server: Running) -> str:
    """The headers that make a request to /ws a WebSocket handshake; nothing for the others."""
    if server.ready["transport"] != "websocket":
        return ""
    return (
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
    )


def test_http_refusals(http_server: Running) -> None:
    port, path = http_server.port, HTTP_PATHS[http_server.ready["transport"]]
    extra = upgrade(http_server)
    assert request(port, f"{path}?since=nonsense", extra=extra)[:2] == (400, "bad_cursor")
    assert request(port, f"{path}?since=00000000-99999999999999999999", extra=extra)[:2] == (400, "bad_cursor")
    assert request(port, f"{path}?room=a/b", extra=extra)[:2] == (400, "bad_room")
    assert request(port, f"{path}?room=%F0%9F%92%A5", extra=extra)[:2] == (400, "bad_room")
    status, code, message = request(port, f"{path}?room=nowhere", extra=extra)
    assert (status, code) == (404, "unknown_room") and "the feed has feed" in message
    assert request(port, "/nothing", extra=extra)[:2] == (404, "not_found")
    assert request(port, f"{path}?x={'y' * 9000}", extra=extra)[:2] == (414, "url_too_long")
    assert request(port, path, method="DELETE")[:2] == (405, "method_not_allowed")
    assert request(port, path, "POST", "Content-Length: 70000\r\n")[:2] == (413, "body_too_large")
    still_serves(http_server)


def test_bytes_that_are_no_http(http_server: Running) -> None:
    port = http_server.port
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET\r\n\r\n", b"\0" * 5000):
        assert parse(exchange(port, garbage))[:2] == (400, "bad_request")
    bad_header = b"GET / HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n"
    assert parse(exchange(port, bad_header))[:2] == (400, "bad_request")
    oversize = b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"z" * 33_000 + b"\r\n\r\n"
    assert parse(exchange(port, oversize))[:2] == (431, "headers_too_large")
    still_serves(http_server)


@pytest.mark.parametrize("hold", ["-1", "56", "soon", "nan", "1e400"])
def test_long_polling_refuses_a_bad_hold(share: Start, hold: str) -> None:
    server = share("long_polling", "--source", "none")
    status, code, message = request(server.port, f"/long-poll?hold_s={hold}")
    assert (status, code) == (400, "bad_number") and "from 0 to 55" in message


def test_websocket_address_without_an_upgrade(share: Start) -> None:
    server = share("websocket", "--source", "none")
    assert request(server.port, "/ws")[:2] == (426, "upgrade_required")


def test_websocket_handshakes_that_are_none(share: Start) -> None:
    server = share("websocket", "--source", "none")
    keyless = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    answer = exchange(server.port, f"GET /ws HTTP/1.1\r\nHost: x\r\n{keyless}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    still_serves(server)


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"1000\r\n" + b"z" * 4096 + b"\r\n"
TRAILERS = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 4000) for i in range(20))


@pytest.mark.parametrize(
    ("rest", "refused"),
    [
        (b"Content-Length: 70000\r\n\r\n" + b"z" * 70_000, (413, "body_too_large")),
        (CHUNKED + CHUNK * 20, (413, "body_too_large")),
        (CHUNKED + b"0\r\n" + TRAILERS, (431, "headers_too_large")),
    ],
    ids=["length", "chunks", "trailers"],
)
def test_a_body_and_its_trailers_are_bounded(share: Start, rest: bytes, refused: tuple[int, str]) -> None:
    """Sent where a body is waited for, so that nothing answers before it is too large."""
    server = share("polling", "--source", "none")
    assert parse(exchange(server.port, head_of_a_request(server.port) + rest))[:2] == refused
    still_serves(server)


@pytest.mark.parametrize("rest", [CHUNKED + CHUNK * 20, CHUNKED + b"0\r\n" + TRAILERS], ids=["chunks", "trailers"])
def test_a_body_that_nobody_waits_for_is_bounded_too(share: Start, rest: bytes) -> None:
    """Refused, or answered with what is wrong with its address; and the end comes although the request never does."""
    server = share("websocket", "--source", "none")
    answer = exchange(server.port, b"POST /poll HTTP/1.1\r\nHost: x\r\n" + rest)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 413 ", b"HTTP/1.1 431 "))
    still_serves(server)


def test_a_client_that_leaves_within_its_body_is_no_failure(share: Start) -> None:
    """The fixture finds the traceback if it is one."""
    server = share("polling", "--source", "none")
    head = head_of_a_request(server.port)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(head + b"Content-Length: 10\r\n\r\nhalf")
    still_serves(server)


def head_of_a_request(port: int) -> bytes:
    """The beginning of a request whose body the server waits for, in a session of its own."""
    opened = exchange(port, b"POST /sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    session: str = msgspec.json.decode(opened.partition(b"\r\n\r\n")[2])["data"]["session"]
    return f"POST /requests HTTP/1.1\r\nHost: x\r\nPushmark-Session: {session}\r\n".encode()


def masked_text(body: bytes) -> bytes:
    """A client's text frame (RFC 6455, 5.2) with a mask of zeros."""
    return bytes([0x81, 0x80 | len(body)]) + bytes(4) + body


@pytest.mark.parametrize("served", ["websocket", "websocket:tuned", "socketio:websocket_only"])
@pytest.mark.parametrize("behind", ["text", "close"])
def test_bad_text_with_more_behind_it_in_one_read(share: Start, served: str, behind: str) -> None:
    """Closed with 1007 (RFC 6455, section 8.1), or as the peer wishes; the fixture sees that it is no failure."""
    server = share(served, "--source", "none")
    bad = bytes([0x81, 0x80 | 2]) + bytes(4) + b"\xf0\x28"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
        peer.sendall(OPENINGS[server.ready["transport"]])
        answer = peer.recv(1)  # the handshake is answered
        close = bytes([0x88, 0x80 | 2]) + bytes(4) + (1000).to_bytes(2, "big")
        peer.sendall(bad + (bad if behind == "text" else close))
        while piece := peer.recv(4096):
            answer += piece
    code = 1007 if behind == "text" else 1000
    assert b"\x88" in answer and code.to_bytes(2, "big") in answer


def test_two_websocket_messages_at_once_are_two_refusals(share: Start) -> None:
    """The fixture finds a traceback if the second one trips the server."""
    server = share("websocket", "--source", "none")
    handshake = f"GET /ws HTTP/1.1\r\nHost: x\r\n{upgrade(server)}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(handshake)
        answer = sock.recv(65_536)
        while b"welcome" not in answer:
            answer += sock.recv(65_536)
        sock.sendall(masked_text(b"one") + masked_text(b"two"))
        while answer.count(b"bad_request") < 2:
            answer += sock.recv(65_536)
    still_serves(server)


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"not json"), "bad_request"),
        (frame(b'{"type":"publish"}'), "bad_request"),
        (frame(b'{"type":"subscribe","more":1}'), "bad_request"),
        (frame(b'{"type":"subscribe","room":"a b"}'), "bad_room"),
        (frame(b'{"type":"subscribe","room":"nowhere"}'), "unknown_room"),
        (frame(b'{"type":"subscribe","since":"x"}'), "bad_cursor"),
        (b"GET / HTTP/1.1\r\n\r\n", "frame_too_large"),
    ],
)
def test_raw_refusals(share: Start, sent: bytes, code: str) -> None:
    server = share("raw", "--source", "none")
    answer = exchange(server.port, sent)
    assert decode_error(decode_envelope(answer[4:]).data).code == code
    still_serves(server)


def test_raw_takes_one_message_only(share: Start) -> None:
    server = share("raw", "--source", "none")
    answer = exchange(server.port, frame(b'{"type":"subscribe"}') * 2)
    length = struct.unpack(">I", answer[:4])[0]
    assert decode_envelope(answer[4 : 4 + length]).type == "welcome"
    assert decode_error(decode_envelope(answer[8 + length :]).data).code == "unexpected_message"


def test_the_control_listener_refuses_nonsense(share: Start) -> None:
    server = share("polling", "--source", "none")
    port = int(server.ready["control_url"].rpartition(":")[2])
    for body, named in (
        (b"{", "truncated"),
        (b'{"schedule":{"kind":"sometimes"}}', "kind"),
        (b'{"schedule":{"rate_hz":0}}', "rate_hz"),
        (b'{"schedule":{"rooms":9}}', "rooms 9: this server has 1"),
        (b'{"schedule":{},"payload_bytes":5}', "payload_bytes 5"),
        (b'{"schedule":{},"start_ns":9000000000000000000}', "start_ns"),
        (b'{"schedule":{},"colour":1}', "colour"),
    ):
        length = f"Content-Length: {len(body)}\r\n"
        status, code, message = request(port, "/feed/start", "POST", length, body)
        assert (status, code) == (400, "bad_request") and named in message, (body, message)


def test_a_client_is_told_why_it_was_refused(share: Start, transport: str) -> None:
    server = share(transport, "--source", "none")

    async def body() -> str:
        shared = new_shared(seed=1)
        client = new_client(transport, server.url, ClientOptions(room="nowhere"), shared)
        try:
            async with aclosing(client.events()) as stream:
                await anext(stream)
        except Exception as error:
            return str(error)
        finally:
            shared.timer.close()
        return ""

    said = run(body())
    assert "refused" in said and ("no room 'nowhere'" in said or "status 404" in said)


def test_error_bodies_are_valid_envelopes() -> None:
    from servers.gate.errors import KINDS, Refusal

    for code in KINDS:
        assert msgspec.json.decode(Refusal(code, "why").body)["data"] == {"code": code, "message": "why"}
