"""WebSocket: ``/ws?room=&since=CURSOR`` (RFC 6455). A ``welcome`` message, then one text message per event.

The client may send requests, one in each text message; answers come between the events. Anything wrong with the
handshake is refused before it is accepted, with the same error body as on HTTP.
``--variant tuned`` shows what the layers between publisher and socket cost: it leaves them out.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from feed.wire import encode_websocket_text
from servers.gate.admission import address_of
from servers.gate.errors import Refusal, error_response
from servers.gate.query import parameters
from servers.http.listener import HttpListener
from servers.http.protocols import PROTOCOL
from servers.hub.push import Push
from servers.hub.reader import HubClosedError
from servers.platform.connections import StreamPeer
from servers.platform.context import Context, Listener
from servers.platform.names import prefix
from servers.platform.namespace import Platform
from servers.platform.replies import Answer

SERVICE_RESTART = 1012


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    for platform in context.platforms:
        path = f"{prefix(platform.name)}/ws"
        routes += [WebSocketRoute(path, partial(_feed, context, platform)), Route(path, _upgrade_required)]
    return HttpListener(context.serving, routes, websocket=True)


async def _feed(context: Context, platform: Platform, websocket: WebSocket) -> None:
    params = parameters(websocket.scope["query_string"])
    try:
        identity = context.gate.identify(websocket.scope)
        reader = platform.subscribe(identity, params.get("room"), params.get("since"))
        peer = StreamPeer(identity, address_of(websocket.scope), reader)
        platform.enter(peer)
    except Refusal as refusal:
        await websocket.send_denial_response(error_response(refusal))
        return
    reason = "connection lost"
    try:
        await websocket.accept()
        converse = _push if context.options.variant == "tuned" else _converse
        reason = await converse(context, _Talk(platform, websocket, peer))
    finally:
        platform.leave(peer, reason)


async def _upgrade_required(request: Request) -> Response:
    refusal = Refusal("upgrade_required", "/ws speaks WebSocket: send an Upgrade request (RFC 6455, section 4.1)")
    return error_response(refusal)


async def _converse(context: Context, talk: "_Talk") -> str:
    """Send what is published until either side ends it. One task sends, this one answers requests."""
    with talk.peer.reader:
        sender = asyncio.ensure_future(_send(context, talk.websocket, talk.peer))
        talk.stop_events = sender.cancel
        try:
            return await talk.answer_requests()
        finally:
            sender.cancel()


async def _push(context: Context, talk: "_Talk") -> str:
    """The same without a sender: the publisher writes frames that were made once, and this task answers."""
    protocol = talk.websocket.scope["extensions"][PROTOCOL]()
    batch_events = context.options.stream_batch_events
    push = Push(talk.peer.reader, protocol.transport, attrgetter("websocket_frame"), _frame, batch_events)
    protocol.push = push
    push.start(talk.peer.client)

    def stop() -> None:
        push.stop()
        protocol.push = None  # or room in the transport would make it go on

    talk.stop_events = stop
    try:
        return await talk.answer_requests()
    finally:
        stop()


def _frame(body: bytes, cursor: str) -> bytes:
    return encode_websocket_text(body)


async def _send(context: Context, websocket: WebSocket, peer: StreamPeer) -> None:
    reader, limit = peer.reader, context.options.stream_batch_events
    try:
        await websocket.send_text(reader.welcome(peer.client).json.decode())
        while True:
            events, notice = await reader.next(limit)
            if notice is not None:
                await websocket.send_text(notice.json.decode())
            for event in events:
                await websocket.send_text(event.text)
    except HubClosedError:
        await websocket.close(SERVICE_RESTART, "server stops")
    except WebSocketDisconnect:
        return


class _Talk:
    """What the client says on one connection, and the answers."""

    __slots__ = ("_tasks", "peer", "platform", "stop_events", "websocket")

    stop_events: Callable[[], object]
    """What is published is for this client no longer; set before it can ask for anything."""

    def __init__(self, platform: Platform, websocket: WebSocket, peer: StreamPeer) -> None:
        self.platform = platform
        self.websocket = websocket
        self.peer = peer
        self._tasks: tuple[asyncio.Future[None], ...] = ()
        peer.on_end = self.end

    async def answer_requests(self) -> str:
        """Answer until the connection ends; the reason for it."""
        if self.peer.ended is not None:  # since the handshake, when nobody could say so yet
            self.end(self.peer.ended)
        try:
            while True:
                message = await self.websocket.receive()
                if message["type"] != "websocket.receive":
                    return str(message.get("reason") or f"closed with code {message.get('code')}")
                answer = self._answer(message)
                if isinstance(answer, bytes):
                    await self._say(answer)
                else:
                    self._start(self._say_later(answer))
        finally:
            for task in self._tasks:
                task.cancel()

    def _answer(self, message: Message) -> Answer:
        text = message.get("text")
        if text is None:
            return self.platform.handle_binary(self.peer, len(message["bytes"]))
        return self.platform.handle(self.peer, text.encode())

    def end(self, refusal: Refusal) -> None:
        """Say why, and close. Nothing that is published comes after the reason, however slowly the peer takes it."""
        self.stop_events()
        self._start(self._say_and_close(refusal))

    async def _say_and_close(self, refusal: Refusal) -> None:
        await self._say(refusal.body)
        with suppress(WebSocketDisconnect, RuntimeError):  # RuntimeError: it is being closed already
            await self.websocket.close(refusal.kind.close_code, refusal.code)

    async def _say_later(self, answer: asyncio.Task[bytes]) -> None:
        await self._say(await asyncio.shield(answer))  # a repeated request may wait for the same answer

    async def _say(self, body: bytes) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self.websocket.send_text(body.decode())

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        running = [task for task in self._tasks if not task.done()]
        self._tasks = (*running, asyncio.ensure_future(coroutine))
