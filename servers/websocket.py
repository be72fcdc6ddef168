"""WebSocket: ``/ws?since=CURSOR`` (RFC 6455). A ``welcome`` message, then one text message per event.

Anything wrong with the request is refused before the handshake is accepted, with the same error body as on HTTP.
``--variant tuned`` shows what the layers between publisher and socket cost: it leaves them out.
"""

import asyncio
import secrets
from contextlib import suppress
from operator import attrgetter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from feed.cursor import Cursor
from feed.envelope import Welcome, encode_envelope
from feed.wire import encode_websocket_text
from servers.context import Context, Listener
from servers.errors import Refusal, error_response
from servers.http import PROTOCOL, HttpListener
from servers.hub import HubClosedError, Subscription
from servers.push import Push
from servers.subscribing import subscribe

SERVICE_RESTART = 1012


def build(context: Context) -> Listener:
    """The listener of this transport."""
    converse = _push if context.options.variant == "tuned" else _converse

    async def feed(websocket: WebSocket) -> None:
        params = websocket.query_params
        try:
            subscription = subscribe(context.hub, params.get("room"), params.get("since"))
        except Refusal as refusal:
            await websocket.send_denial_response(error_response(refusal))
            return
        await websocket.accept()
        await converse(context, websocket, subscription)

    async def upgrade_required(request: Request) -> Response:
        refusal = Refusal("upgrade_required", "/ws speaks WebSocket: send an Upgrade request (RFC 6455, section 4.1)")
        return error_response(refusal, {"upgrade": "websocket", "connection": "upgrade"})

    async def nothing_here(websocket: WebSocket) -> None:
        path = websocket.url.path[:200]
        await websocket.send_denial_response(error_response(Refusal("not_found", f"there is nothing at {path!r}")))

    routes = [
        WebSocketRoute("/ws", feed),
        Route("/ws", upgrade_required),
        WebSocketRoute("/{path:path}", nothing_here),
    ]
    return HttpListener(context.options, context.guard, routes, websocket=True)


async def _converse(context: Context, websocket: WebSocket, subscription: Subscription) -> None:
    """Send what is published until either side ends it. One task sends, this one listens."""
    with subscription:
        sender = asyncio.ensure_future(_send(context, websocket, subscription))
        try:
            message = await websocket.receive()
        finally:
            sender.cancel()
    await _answer(websocket, message)


async def _push(context: Context, websocket: WebSocket, subscription: Subscription) -> None:
    """The same without a sender: the publisher writes frames that were made once, and this task listens."""
    protocol = websocket.scope["extensions"][PROTOCOL]()
    push = Push(context, subscription, protocol.transport, attrgetter("websocket_frame"), _frame)
    protocol.push = push
    push.start(secrets.token_hex(8))
    try:
        message = await websocket.receive()
    finally:
        push.stop()
        protocol.push = None  # or room in the transport would make it go on
    await _answer(websocket, message)


def _frame(body: bytes, cursor: str) -> bytes:
    return encode_websocket_text(body)


async def _answer(websocket: WebSocket, message: Message) -> None:
    """Say that this feed takes no messages, unless the peer has gone."""
    if message["type"] != "websocket.receive":
        return
    size = len(message.get("text") or message.get("bytes") or "")
    refusal = Refusal("unexpected_message", f"this feed takes no messages, and {size} bytes came")
    with suppress(WebSocketDisconnect):
        await websocket.send_text(refusal.body.decode())
        await websocket.close(refusal.kind.close_code, refusal.code)


async def _send(context: Context, websocket: WebSocket, subscription: Subscription) -> None:
    stats, resume, limit = context.stats, subscription.resume, context.options.stream_batch_events
    stats.requests += 1
    stats.gaps += resume.verdict == "gap"
    try:
        welcome = Welcome(resume.verdict, resume.missed, secrets.token_hex(8))
        await websocket.send_text(_notice(subscription, "welcome", subscription.cursor, welcome))
        while True:
            events, missed = await subscription.next(limit)
            if missed:
                stats.gaps += 1
                start = subscription.before(events[0])
                await websocket.send_text(_notice(subscription, "gap", start, Welcome("gap", missed)))
            for event in events:
                await websocket.send_text(event.text)
            stats.deliveries += len(events)
    except HubClosedError:
        await websocket.close(SERVICE_RESTART, "server stops")
    except WebSocketDisconnect:
        return


def _notice(subscription: Subscription, type_: str, cursor: Cursor, data: Welcome) -> str:
    return encode_envelope(type_, str(cursor), subscription.room.name, data).decode()
