"""Long polling: ``GET /long-poll?since=CURSOR&hold_s=25`` is held until something newer exists (RFC 6202, 2).

All that is newer comes in one response; when the hold ends first, the response is empty. The request carries the
cursor, so nothing that is published between two requests is missed and nothing is handed out twice.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive

from feed.wire import encode_batch
from servers.context import Context, Listener
from servers.http import HttpListener, number
from servers.hub import Subscription
from servers.options import MAX_HOLD_S
from servers.subscribing import subscribe

DEFAULT_HOLD_S = 25.0


def build(context: Context) -> Listener:
    """The listener of this transport."""

    async def long_poll(request: Request) -> Response:
        params = request.query_params
        hold_s = number(params, "hold_s", DEFAULT_HOLD_S, 0, MAX_HOLD_S)
        with subscribe(context.hub, params.get("room"), params.get("since")) as subscription:
            # A client without a cursor, or with one that has a gap behind it, is told where it is at once.
            if subscription.resume.verdict == "resumed" and not subscription.pending:
                await _hold(subscription, request.receive, hold_s)
            return answer(context, subscription)

    return HttpListener(context.options, context.guard, [Route("/long-poll", long_poll)])


async def _hold(subscription: Subscription, receive: Receive, hold_s: float) -> None:
    """Wait for an event, the end of the hold, the end of the server, or the client's leaving.

    Starlette does not cancel a handler whose client has gone, so the wait races the disconnect message.
    """
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((subscription.wakeup(), gone), timeout=hold_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def answer(context: Context, subscription: Subscription) -> Response:
    """All that is newer than the cursor, in one response."""
    resume = subscription.resume
    events = subscription.take().events
    context.stats.requests += 1
    context.stats.deliveries += len(events)
    context.stats.gaps += resume.verdict == "gap"
    body = encode_batch(subscription.cursor, subscription.room.name, resume.verdict, resume.missed, events)
    return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")
