"""WebSocket: ``/ws?room=&since=CURSOR`` (RFC 6455). A ``welcome`` message, then one text message per event.

The client may send requests, one in each message; replies come between the events. Anything wrong with the
handshake is refused before it is accepted, with the same error body as on HTTP.
``--variant tuned`` shows what the layers between publisher and socket cost: it leaves them out.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from feed.envelope import split_packet, with_payload
from feed.wire import encode_websocket_text
from servers.gate.admission import address_of
from servers.gate.errors import Refusal, error_response
from servers.gate.query import parameters
from servers.http.listener import HttpListener
from servers.http.protocols import PROTOCOL
from servers.hub.push import Push
from servers.hub.reader import HubClosedError
from servers.platform.connections import StreamConnection
from servers.platform.context import Context, Listener
from servers.platform.names import path_of
from servers.platform.namespace import Namespace
from servers.platform.replies import Reply

SERVICE_RESTART = 1012
MAX_UNSENT = 200
"""Answers of one connection that wait to be known or to be sent: twice as many as requests may wait."""


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    for namespace in context.namespaces:
        path = path_of("websocket", namespace.name)
        routes += [WebSocketRoute(path, partial(_feed, context, namespace)), Route(path, _upgrade_required)]
    return HttpListener(context.serving, routes, websocket=True)


async def _feed(context: Context, namespace: Namespace, websocket: WebSocket) -> None:
    params = parameters(websocket.scope["query_string"])
    try:
        identity = context.admission.identify(websocket.scope)
        reader = namespace.subscribe(identity, params.get("room"), params.get("since"))
        connection = StreamConnection(identity, address_of(websocket.scope), reader)
        namespace.enter(connection)
    except Refusal as refusal:
        await websocket.send_denial_response(error_response(refusal))
        return
    reason = "connection lost"
    try:
        await websocket.accept()
        serve = _push if context.options.variant == "tuned" else _pull
        reason = await serve(context.options.stream_batch_events, RequestLoop(namespace, websocket, connection))
    finally:
        namespace.leave(connection, reason)


async def _upgrade_required(request: Request) -> Response:
    path = path_of("websocket", "")
    refusal = Refusal("upgrade_required", f"{path} speaks WebSocket: send an Upgrade request (RFC 6455, section 4.1)")
    return error_response(refusal)


async def _pull(batch_events: int, loop: "RequestLoop") -> str:
    """Send what is published until either side ends it. One task sends, this one answers requests."""
    with loop.connection.reader:
        sender = asyncio.ensure_future(_send(loop.websocket, loop.connection, batch_events))
        loop.stop_events = sender.cancel
        try:
            return await loop.run()
        finally:
            sender.cancel()


async def _push(batch_events: int, loop: "RequestLoop") -> str:
    """The same without a sender: the publisher writes frames that were made once, and this task answers requests."""
    protocol = loop.websocket.scope["extensions"][PROTOCOL]()
    reader = loop.connection.reader
    push = Push(reader, protocol.transport, attrgetter("websocket_frame"), _frame, batch_events)
    protocol.push = push
    push.start(loop.connection.client)

    def stop() -> None:
        push.stop()
        protocol.push = None  # or room in the transport would make it go on

    loop.stop_events = stop
    try:
        return await loop.run()
    finally:
        stop()


def _frame(body: bytes, cursor: str) -> bytes:
    return encode_websocket_text(body)


async def _send(websocket: WebSocket, connection: StreamConnection, batch_events: int) -> None:
    reader = connection.reader
    try:
        await websocket.send_text(reader.welcome(connection.client).json.decode())
        while True:
            events, notice = await reader.next(batch_events)
            if notice is not None:
                await websocket.send_text(notice.json.decode())
            for event in events:
                await websocket.send(event.websocket_message)
    except HubClosedError:
        await websocket.close(SERVICE_RESTART, "server stops")
    except WebSocketDisconnect:
        return


class RequestLoop:
    """Takes the requests of one connection, and sends the replies."""

    __slots__ = ("_tasks", "connection", "namespace", "stop_events", "websocket")

    stop_events: Callable[[], object]
    """Stops what is published from being sent; set before the first request is taken."""

    def __init__(self, namespace: Namespace, websocket: WebSocket, connection: StreamConnection) -> None:
        self.namespace = namespace
        self.websocket = websocket
        self.connection = connection
        self._tasks: tuple[asyncio.Future[None], ...] = ()
        connection.on_end = self.end

    async def run(self) -> str:
        """Answer requests until the connection ends; the reason for it."""
        if self.connection.ended is not None:  # since the handshake, when no reason could be sent yet
            self.end(self.connection.ended)
        try:
            while True:
                message = await self.websocket.receive()
                if message["type"] != "websocket.receive":
                    return str(message.get("reason") or f"closed with code {message.get('code')}")
                reply = self._reply(message)
                if isinstance(reply, bytes):
                    await self._send(reply)
                else:
                    self._start(self._send_later(reply))
                    await self._until_some_are_sent()
        finally:
            for task in self._tasks:
                task.cancel()

    def end(self, refusal: Refusal) -> None:
        """Send the reason, and close. No event comes after the reason, however slowly the client takes it."""
        self.stop_events()
        self._start(self._send_and_close(refusal))

    def _reply(self, message: Message) -> Reply:
        requests, text = self.namespace.requests, message.get("text")
        if text is not None:
            return requests.handle(self.connection, text.encode())
        size = len(message["bytes"])
        try:
            return requests.handle(self.connection, with_payload(*split_packet(message["bytes"])), size)
        except msgspec.DecodeError as error:
            return requests.reject(self.connection, size, str(error))

    async def _send_and_close(self, refusal: Refusal) -> None:
        await self._send(refusal.body)
        with suppress(WebSocketDisconnect, RuntimeError):  # RuntimeError: it is being closed already
            await self.websocket.close(refusal.kind.close_code, refusal.code)

    async def _send_later(self, reply: asyncio.Task[bytes]) -> None:
        await self._send(await asyncio.shield(reply))  # a repeated request may wait for the same reply

    async def _until_some_are_sent(self) -> None:
        """A client that does not take its answers is asked for no more requests."""
        running = [task for task in self._tasks if not task.done()]
        if len(running) >= MAX_UNSENT:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _send(self, body: bytes) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            await self.websocket.send_text(body.decode())

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        running = [task for task in self._tasks if not task.done()]
        self._tasks = (*running, asyncio.ensure_future(coroutine))
