"""Polling: ``GET /poll?since=CURSOR`` answers at once with whatever is newer, mostly nothing."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from servers.context import Context, Listener
from servers.http import HttpListener
from servers.long_polling import answer
from servers.subscribing import subscribe


def build(context: Context) -> Listener:
    """The listener of this transport."""

    async def poll(request: Request) -> Response:
        params = request.query_params
        return answer(context, subscribe(context.hub, params.get("room"), params.get("since")))

    return HttpListener(context.options, context.guard, [Route("/poll", poll)])
