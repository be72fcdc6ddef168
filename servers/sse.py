"""Server-Sent Events: ``GET /sse`` is one response that never ends (WHATWG HTML, section 9.2).

Each event is an ``id:`` line with the cursor and a ``data:`` line with the envelope, so a browser's EventSource
resumes by itself with ``Last-Event-ID``. The row of the table is sse-starlette as its users deploy it, fed with
bytes encoded once; ``--variant plain`` is Starlette's StreamingResponse and shows what the library costs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from feed.cursor import Cursor
from feed.envelope import Welcome, encode_envelope
from feed.wire import encode_sse
from servers.context import Context, Listener
from servers.errors import Refusal, error_response
from servers.http import HttpListener
from servers.hub import HubClosedError, Subscription
from servers.query import header, parameters, require_get
from servers.subscribing import subscribe

PLAIN_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
HEARTBEAT = b": ping\n\n"
RETRY_MS = 1000
"""Reconnection time told to the browser; our own client jitters on top of it."""


def build(context: Context) -> Listener:
    """The listener of this transport."""
    options = context.options

    async def sse(request: Request) -> Response:
        subscription = _asked(context, request.scope)
        return _Subscribed(
            subscription,
            None,
            EventSourceResponse(
                _stream(context, subscription),
                ping=options.heartbeat_s,
                ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
                sep="\n",
            ),
        )

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        """The same without sse-starlette, and without Starlette's layers between it and uvicorn."""
        try:
            require_get(scope)
            subscription = _asked(context, scope)
        except Refusal as refusal:
            await error_response(refusal)(scope, receive, send)
            return
        response = StreamingResponse(_stream(context, subscription), headers=PLAIN_HEADERS)
        await _Subscribed(subscription, options.heartbeat_s, response)(scope, receive, send)

    bypass = {"/sse": plain} if options.variant == "plain" else {}
    return HttpListener(context.options, context.guard, [Route("/sse", sse)], bypass=bypass)


def _asked(context: Context, scope: Scope) -> Subscription:
    params = parameters(scope["query_string"])
    since = header(scope, b"last-event-id") or params.get("last_event_id") or params.get("since")
    return subscribe(context.hub, params.get("room"), since)


class _Subscribed(Response):
    """Runs a response while its subscription listens; ends both whatever way the connection ends.

    ``heartbeat_s``: let the stream send a heartbeat that often, if the response does not do so itself.
    """

    def __init__(self, subscription: Subscription, heartbeat_s: float | None, response: Response) -> None:
        self._subscription = subscription
        self._heartbeat_s = heartbeat_s
        self._response = response
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"].clear()  # a stream lives for hours: what its request looked like does not have to
        with self._subscription, _every(self._heartbeat_s, self._subscription.nudge):
            await self._response(scope, receive, send)


async def _stream(context: Context, subscription: Subscription) -> AsyncIterator[bytes]:
    stats, resume, limit = context.stats, subscription.resume, context.options.stream_batch_events
    stats.requests += 1
    stats.gaps += resume.verdict == "gap"
    welcome = _notice(subscription, "welcome", subscription.cursor, Welcome(resume.verdict, resume.missed))
    yield b"retry: %d\n" % RETRY_MS + welcome
    with suppress(HubClosedError):
        while True:
            events, missed = await subscription.next(limit)
            if missed:
                stats.gaps += 1
                yield _notice(subscription, "gap", subscription.before(events[0]), Welcome("gap", missed))
            stats.deliveries += len(events)
            yield b"".join([event.sse for event in events]) or HEARTBEAT


def _notice(subscription: Subscription, type_: str, cursor: Cursor, data: Welcome) -> bytes:
    return encode_sse(encode_envelope(type_, str(cursor), subscription.room.name, data), str(cursor))


@contextmanager
def _every(interval_s: float | None, call: Callable[[], None]) -> Iterator[None]:
    """Call again and again while inside; one timer is cheaper than a time-out on every wait."""
    if interval_s is None:
        yield
        return
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def beat() -> None:
        timers[:] = [loop.call_later(interval_s, beat)]
        call()

    timers.append(loop.call_later(interval_s, beat))
    try:
        yield
    finally:
        timers[0].cancel()
