"""Engine.IO under Socket.IO: python-engineio's server, and what it takes for granted about packets looked at before.

A payload that is no payload is answered with the error that names it, where the library would report a failure of its
own and answer that all is well (https://socket.io/docs/v4/engine-io-protocol/).
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
"""First characters of a client's text messages on a WebSocket: ping (the probe), pong, message, upgrade; 1 is close."""
VERSION: Final = "4"
TRANSPORTS: Final = {"http": "polling", "websocket": "websocket"}
"""What a request comes by -> what it must say that it does."""
POSTED_PACKETS: Final = frozenset("134b")
"""The same in the body of a POST: close, pong, message, and a message that is binary, as base64."""
MAX_PACKETS: Final[int] = Payload.max_decode_packets
"""Packets in the body of one POST."""
SEPARATOR: Final = "\x1e"
PROTOCOL_ERROR: Final = 1002


class Engine(engineio.AsyncServer):  # type: ignore[misc]  # the library has no types
    """Engine.IO with a bound on what waits for one client; its own queues have none."""

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
        with suppress(SocketIsClosedError):  # nobody looks at the result of this, and it is told by other means
            await client.send(pkt)

    def forget_closed(self, sid: str) -> None:
        """A session that its client has closed is none, and a poll that is held is answered.

        The library keeps both for a while, and fails if such a session is posted to.
        """
        client = self.sockets.get(sid)
        if client is not None and client.closed:
            del self.sockets[sid]
            client.queue.put_nowait(Packet(NOOP))

    def end_upgrade(self, sid: str) -> None:
        """A WebSocket has ended: if the session did not move to it, polls are answered again as before.

        The library forgets this where the WebSocket ends before its first packet.
        """
        client = self.sockets.get(sid)
        if client is not None and not client.upgraded:
            client.upgrading = False


def packets_only(receive: Receive) -> Receive:
    """Whoever says goodbye has left, and so has, for the library, who sends text that is no Engine.IO packet.

    It would fail with a traceback on the latter, and keep the connection of the former.
    """

    async def receiving() -> Message:
        message = await receive()
        text = message.get("text")
        if message["type"] == "websocket.receive" and text is not None and text[:1] not in WEBSOCKET_PACKETS:
            return {"type": "websocket.disconnect", "code": PROTOCOL_ERROR}
        return message

    return receiving


def check_query(params: Mapping[str, str], scope_type: str, polls: bool, sessions: Container[str]) -> None:
    """Raise ``Refusal`` unless the query is of this protocol's version, names how it comes, and a session that is.

    ``polls``: is polling spoken here?
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
    """Call ``gone`` if the client leaves while inside, unless it has been answered through the ``send`` handed out."""
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
    """The request with its body as one piece, of known length; ``None`` if the client has left. Raises ``Refusal``.

    The library reads as much as ``Content-Length`` says, nothing where that is not said, and fails for who has left.
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
    """Raise ``Refusal`` unless the body of a POST is packets that a client may send."""
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
