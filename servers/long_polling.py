"""Long polling: ``GET /long-poll?since=CURSOR&hold_s=25`` is held until something newer exists (RFC 6202, 2).

All that is newer comes in one response; when the hold ends first, the response is empty. The request carries the
cursor, so nothing that is published between two requests is missed and nothing is handed out twice.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope

from feed.wire import encode_batch
from servers.context import Context, Listener
from servers.direct import direct
from servers.http import PROTOCOL, HttpListener
from servers.hub import Subscription
from servers.options import MAX_HOLD_S
from servers.query import number, parameters
from servers.subscribing import subscribe

DEFAULT_HOLD_S = 25.0
HEADERS = {"cache-control": "no-store", "content-type": "application/json"}


def build(context: Context) -> Listener:
    """The listener of this transport."""

    async def long_poll(request: Request) -> Response:
        hold_s, subscription = _asked(context, parameters(request.scope["query_string"]))
        with subscription:
            if _must_wait(subscription):
                request.scope["headers"].clear()  # held for long, and of no use any more
                with _until_gone(request.receive, subscription), _at_most(hold_s, subscription):
                    await subscription.wait()
            return respond(batch(context, subscription))

    async def tuned(params: Mapping[str, str], scope: Scope) -> bytes:
        """The same without a task that waits for the client's leaving: the connection tells."""
        hold_s, subscription = _asked(context, params)
        with subscription:
            if _must_wait(subscription):
                scope["headers"].clear()
                with scope["extensions"][PROTOCOL]().telling(subscription.nudge), _at_most(hold_s, subscription):
                    await subscription.wait()
            return batch(context, subscription)

    bypass = {"/long-poll": direct(tuned)} if context.options.variant == "tuned" else {}
    return HttpListener(context.options, context.guard, [Route("/long-poll", long_poll)], bypass=bypass)


def _asked(context: Context, params: Mapping[str, str]) -> tuple[float, Subscription]:
    hold_s = number(params, "hold_s", DEFAULT_HOLD_S, 0, MAX_HOLD_S)
    return hold_s, subscribe(context.hub, params.get("room"), params.get("since"))


def _must_wait(subscription: Subscription) -> bool:
    """A client without a cursor, or with one that has a gap behind it, is told where it is at once."""
    return subscription.resume.verdict == "resumed" and not subscription.pending


@contextmanager
def _at_most(hold_s: float, subscription: Subscription) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(hold_s, subscription.nudge)
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _until_gone(receive: Receive, subscription: Subscription) -> Iterator[None]:
    """Starlette does not cancel a handler whose client has gone, so somebody has to wait for that message."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        subscription.nudge()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watcher.cancel()


def batch(context: Context, subscription: Subscription) -> bytes:
    """The body of an answer: all that is newer than the cursor."""
    resume = subscription.resume
    events = subscription.take().events
    context.stats.requests += 1
    context.stats.deliveries += len(events)
    context.stats.gaps += resume.verdict == "gap"
    return encode_batch(subscription.cursor, subscription.room.name, resume.verdict, resume.missed, events)


def respond(body: bytes) -> Response:
    """A response with such a body, which no cache may keep."""
    return Response(body, headers=HEADERS)
