"""Engine.IO under Socket.IO: python-engineio's server, and checks of the packets whose form it takes for granted.

A malformed payload is answered with an error that names the fault; the library alone would log a failure and answer
with success (https://socket.io/docs/v4/engine-io-protocol/).
"""

import asyncio
import base64
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import engineio
from engineio.exceptions import SocketIsClosedError
from engineio.packet import NOOP, Packet
from engineio.payload import Payload
from starlette.types import Message, Receive, Scope, Send

from servers.gate.errors import Refusal

WEBSOCKET_PACKETS: Final = frozenset("2345")
"""First characters of a client's text messages on a WebSocket: ping (a probe), pong, message, upgrade; 1 is close."""
VERSION: Final = "4"
TRANSPORTS: Final = {"http": "polling", "websocket": "websocket"}
"""Type of an ASGI scope -> the ``transport`` that its query must name."""
POSTED_PACKETS: Final = frozenset("134b")
"""First characters of packets in the body of a POST: close, pong, message, and binary message in base64."""
MAX_PACKETS: Final[int] = Payload.max_decode_packets
"""Most packets in the body of one POST."""
SEPARATOR: Final = "\x1e"
PROTOCOL_ERROR: Final = 1002


class Engine(engineio.AsyncServer):  # type: ignore[misc]  # the library has no types
    """Engine.IO with a bound on the packets that wait for one client, which the library's queues do not have."""

    def __init__(self, max_queued: int, abort: Callable[[str], None], **options: Any) -> None:
        super().__init__(**options)
        self._max_queued = max_queued
        self._abort = abort

    async def send_packet(self, sid: str, pkt: Any) -> None:
        client = self.sockets.get(sid)
        if client is None:
            return
        if client.queue.qsize() >= self._max_queued:
            if not client.closing:
                self._abort(sid)
                await client.close(wait=False, abort=True, reason="too slow")
            return
        with suppress(SocketIsClosedError):  # the end of the session is reported elsewhere
            await client.send(pkt)

    def forget_closed(self, sid: str) -> None:
        """Drop a session that its client has closed, and answer its held poll.

        The library keeps both for a while, and fails when a client posts to such a session.
        """
        client = self.sockets.get(sid)
        if client is not None and client.closed:
            del self.sockets[sid]
            client.queue.put_nowait(Packet(NOOP))

    def end_upgrade(self, sid: str) -> None:
        """Answer polls again after the end of a WebSocket to which the session did not move.

        The library does not, if the WebSocket ends before its first packet.
        """
        client = self.sockets.get(sid)
        if client is not None and not client.upgraded:
            client.upgrading = False


def packets_only(receive: Receive) -> Receive:
    """Turn a close packet, and text that is no Engine.IO packet, into the end of the connection.

    The library would keep the connection after the former, and fail with a traceback on the latter.
    """

    async def receiving() -> Message:
        message = await receive()
        text = message.get("text")
        if message["type"] == "websocket.receive" and text is not None and text[:1] not in WEBSOCKET_PACKETS:
            return {"type": "websocket.disconnect", "code": PROTOCOL_ERROR}
        return message

    return receiving


def check_query(params: Mapping[str, str], scope_type: str, polls: bool, sessions: Container[str]) -> None:
    """Raise ``Refusal`` unless the query names version 4, the transport that it uses, and an existing session if any.

    ``polls``: the server takes polls.
    """
    if params.get("EIO") != VERSION:
        raise Refusal("bad_request", f"EIO={params.get('EIO', '')[:20]!r}: spoken here is Engine.IO {VERSION}")
    if params.get("transport") != TRANSPORTS[scope_type] or (scope_type == "http" and not polls):
        said = params.get("transport", "")[:20]
        allowed = f"{'polling, or ' if polls else ''}websocket with a WebSocket handshake"
        raise Refusal("bad_request", f"transport={said!r}: allowed is {allowed}")
    if (sid := params.get("sid", "")) and sid not in sessions:
        raise Refusal("bad_request", f"sid={sid[:40]!r}: there is no such session, or it has ended")


@contextmanager
def unless_gone(receive: Receive, gone: Callable[[], object]) -> Iterator[Callable[[Send], Send]]:
    """Within the context, call ``gone`` if the client leaves before an answer has begun.

    The context is a function that wraps ``send``, so that it is known when the answer begins.
    """
    answered = False

    def answering(send: Send) -> Send:
        async def sending(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        return sending

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not answered:
            gone()

    watcher = asyncio.ensure_future(watch())
    try:
        yield answering
    finally:
        watcher.cancel()


async def whole_request(scope: Scope, receive: Receive, max_bytes: int) -> tuple[Scope, Receive] | None:
    """The request with its body in one piece, of known length; ``None`` if the client has left. Raises ``Refusal``.

    The library reads as many bytes as ``Content-Length`` says, none without it, and fails if the client has left.
    """
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["method"] == "POST":
        check_payload(body, max_bytes)
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]

    async def again() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return {**scope, "headers": [*headers, (b"content-length", b"%d" % len(body))]}, again


def check_payload(body: bytes, max_bytes: int) -> None:
    """Raise ``Refusal`` unless the body of a POST consists of packets that a client may send."""
    if len(body) > max_bytes:
        raise Refusal("body_too_large", f"{len(body)} bytes: a payload may have {max_bytes}")
    try:
        packets = body.decode().split(SEPARATOR)
    except UnicodeDecodeError as error:
        raise Refusal("bad_request", f"the payload is not UTF-8: {error.reason} (byte {error.start})") from None
    if len(packets) > MAX_PACKETS:
        raise Refusal("bad_request", f"{len(packets)} packets: a payload may have {MAX_PACKETS}")
    for packet in packets:
        _check_packet(packet)


def _check_packet(packet: str) -> None:
    if packet[:1] not in POSTED_PACKETS:
        allowed = "1 (close), 3 (pong), 4 (message), b (a message as base64)"
        raise Refusal("bad_request", f"{packet[:20]!r} is no packet that a client may post: they begin with {allowed}")
    if packet[0] == "b":
        try:
            base64.b64decode(packet[1:], validate=True)
        except ValueError as error:  # also of characters that are not ASCII
            raise Refusal("bad_request", f"{packet[:20]!r} is no base64: {error}") from None
