"""Polling: ``GET /poll?since=CURSOR`` answers at once with whatever is newer, mostly nothing."""

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Scope

from servers.gate.query import parameters
from servers.http.direct import direct
from servers.http.listener import HttpListener
from servers.http.polls import asked, batch, respond, routes_beside
from servers.platform.context import Context, Listener
from servers.platform.names import prefix
from servers.platform.namespace import Platform


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for platform in context.platforms:
        path = f"{prefix(platform.name)}/poll"
        if context.options.variant == "tuned":
            bypass[path] = direct(partial(_answer, context, platform))
        else:
            routes.append(Route(path, partial(_poll, context, platform)))
        routes += routes_beside(context, platform)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _poll(context: Context, platform: Platform, request: Request) -> Response:
    return respond(await _answer(context, platform, parameters(request.scope["query_string"]), request.scope))


async def _answer(context: Context, platform: Platform, params: Mapping[str, str], scope: Scope) -> bytes:
    poll = asked(platform, params, scope)
    with poll:
        return batch(poll)
