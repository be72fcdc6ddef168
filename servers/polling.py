"""Polling: ``GET /poll?since=CURSOR`` answers at once with whatever is newer, mostly nothing."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from servers.context import Context, Listener
from servers.direct import direct
from servers.http import HttpListener
from servers.long_polling import batch, respond
from servers.query import parameters
from servers.subscribing import subscribe


def build(context: Context) -> Listener:
    """The listener of this transport."""

    async def poll(request: Request) -> Response:
        return respond(body(parameters(request.scope["query_string"])))

    async def tuned(params: Mapping[str, str], scope: Scope) -> bytes:
        return body(params)

    def body(params: Mapping[str, str]) -> bytes:
        return batch(context, subscribe(context.hub, params.get("room"), params.get("since")))

    bypass = {"/poll": direct(tuned)} if context.options.variant == "tuned" else {}
    return HttpListener(context.options, context.guard, [Route("/poll", poll)], bypass=bypass)
