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
from servers.http.polls import batch, open_poll, respond, session_routes
from servers.platform.context import Context, Listener
from servers.platform.names import path_of
from servers.platform.namespace import Namespace


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for namespace in context.namespaces:
        path = path_of("polling", namespace.name)
        if context.options.variant == "tuned":
            bypass[path] = direct(partial(_body, namespace))
        else:
            routes.append(Route(path, partial(_poll, namespace)))
        routes += session_routes(context, namespace)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _poll(namespace: Namespace, request: Request) -> Response:
    return respond(await _body(namespace, parameters(request.scope["query_string"]), request.scope))


async def _body(namespace: Namespace, params: Mapping[str, str], scope: Scope) -> bytes:
    with open_poll(namespace, params, scope) as poll:
        return batch(poll)
