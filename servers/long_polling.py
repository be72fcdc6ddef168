"""Long polling: ``GET /long-poll?since=CURSOR&hold_s=25`` is held until something newer exists (RFC 6202, 2).

Everything newer comes in one response; when the hold ends first, the response is empty. The request carries the
cursor, so nothing that is published between two requests is missed and nothing is handed out twice.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope

from servers.gate.query import number, parameters
from servers.http.direct import direct
from servers.http.listener import HttpListener
from servers.http.polls import PollRead, batch, open_poll, respond, session_routes
from servers.http.protocols import PROTOCOL
from servers.hub.reader import Reader
from servers.platform.context import Context, Listener
from servers.platform.names import path_of
from servers.platform.namespace import Namespace
from servers.platform.options import MAX_HOLD_S

DEFAULT_HOLD_S = 25.0


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for namespace in context.namespaces:
        path = path_of("long_polling", namespace.name)
        if context.options.variant == "tuned":
            bypass[path] = direct(partial(_tuned, namespace))
        else:
            routes.append(Route(path, partial(_long_poll, namespace)))
        routes += session_routes(context, namespace)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _long_poll(namespace: Namespace, request: Request) -> Response:
    scope = request.scope
    params = parameters(scope["query_string"])
    hold_s = _hold_s(params)
    with open_poll(namespace, params, scope) as poll, poll.reader as reader:
        if _must_wait(reader, scope):
            scope["headers"].clear()  # the poll may be held for long, and its headers have been read
            with _until_gone(request.receive, reader):
                await _wait(poll, hold_s)
        return respond(batch(poll))


async def _tuned(namespace: Namespace, params: Mapping[str, str], scope: Scope) -> bytes:
    """The same without a task that waits for the client to leave: the connection tells."""
    hold_s = _hold_s(params)
    with open_poll(namespace, params, scope) as poll, poll.reader as reader:
        if _must_wait(reader, scope):
            scope["headers"].clear()
            with scope["extensions"][PROTOCOL]().telling(reader.nudge):
                await _wait(poll, hold_s)
        return batch(poll)


def _hold_s(params: Mapping[str, str]) -> float:
    return number(params, "hold_s", DEFAULT_HOLD_S, 0, MAX_HOLD_S)


def _must_wait(reader: Reader, scope: Scope) -> bool:
    """Is the poll held? One without a cursor, or with a gap behind its cursor, is answered at once; so is HEAD."""
    return scope["method"] != "HEAD" and reader.resume.verdict == "resumed" and not reader.pending


async def _wait(poll: PollRead, hold_s: float) -> None:
    """Wait for an event, at most until the token expires: later events are not for its holder."""
    left_s = max(0.0, poll.expires_at_s - time.time())
    timer = asyncio.get_running_loop().call_later(min(hold_s, left_s), poll.reader.nudge)
    try:
        await poll.reader.wait()
    finally:
        timer.cancel()


@contextmanager
def _until_gone(receive: Receive, reader: Reader) -> Iterator[None]:
    """Stop waiting when the client disconnects. Starlette does not cancel the handler, so a task waits for that."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        reader.nudge()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watcher.cancel()
