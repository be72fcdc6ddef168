"""Polling: ``GET /poll?since=CURSOR`` answers at once with whatever is newer, mostly nothing.

The variant ``conditional`` names the client's position in an ``ETag``. A poll that names it too (``If-None-Match``) is
answered with 304 as long as nothing is newer (RFC 9110, 13.1.2), and every answer may hint at an interval.
"""

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Scope

from feed.transports import CONDITIONAL, POLL_INTERVAL
from servers.gate.query import header, parameters
from servers.http.direct import direct
from servers.http.listener import HttpListener
from servers.http.polls import HEADERS, PollRead, batch, is_unchanged, open_poll, respond, session_routes
from servers.platform.context import Context, Listener
from servers.platform.names import path_of
from servers.platform.namespace import Namespace


def build(context: Context) -> Listener:
    """The listener of this transport."""
    options = context.options
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for namespace in context.namespaces:
        path = path_of("polling", namespace.name)
        if options.variant == "tuned":
            bypass[path] = direct(partial(_body, namespace))
        elif options.variant == CONDITIONAL:
            routes.append(Route(path, partial(_conditional, namespace, options.poll_interval_hint_s)))
        else:
            routes.append(Route(path, partial(_poll, namespace)))
        routes += session_routes(context, namespace)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _poll(namespace: Namespace, request: Request) -> Response:
    return respond(await _body(namespace, parameters(request.scope["query_string"]), request.scope))


async def _body(namespace: Namespace, params: Mapping[str, str], scope: Scope) -> bytes:
    with open_poll(namespace, params, scope) as poll:
        return batch(poll)


async def _conditional(namespace: Namespace, hint_s: float, request: Request) -> Response:
    scope = request.scope
    hint = {POLL_INTERVAL: f"{hint_s:g}"} if hint_s else {}
    with open_poll(namespace, parameters(scope["query_string"]), scope) as poll:
        if _names(header(scope, b"if-none-match"), _etag(poll)) and is_unchanged(poll):
            return Response(status_code=304, headers={"cache-control": "no-store", "etag": _etag(poll), **hint})
        body = batch(poll)
        return Response(body, headers={**HEADERS, "etag": _etag(poll), **hint})


def _etag(poll: PollRead) -> str:
    return f'"{poll.reader.cursor}"'


def _names(condition: str, etag: str) -> bool:
    """Does ``If-None-Match`` name this entity tag? Weak tags compare as strong ones do (RFC 9110, 13.1.2)."""
    return condition.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in condition.split(","))
