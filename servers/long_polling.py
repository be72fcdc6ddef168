"""Long polling: ``GET /long-poll?since=CURSOR&hold_s=25`` is held until something newer exists (RFC 6202, 2).

All that is newer comes in one response; when the hold ends first, the response is empty. The request carries the
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
from servers.http.polls import Asked, asked, batch, respond, routes_beside
from servers.http.protocols import PROTOCOL
from servers.hub.reader import Reader
from servers.platform.context import Context, Listener
from servers.platform.names import prefix
from servers.platform.namespace import Platform
from servers.platform.options import MAX_HOLD_S

DEFAULT_HOLD_S = 25.0


def build(context: Context) -> Listener:
    """The listener of this transport."""
    routes: list[BaseRoute] = []
    bypass: dict[str, ASGIApp] = {}
    for platform in context.platforms:
        path = f"{prefix(platform.name)}/long-poll"
        if context.options.variant == "tuned":
            bypass[path] = direct(partial(_tuned, context, platform))
        else:
            routes.append(Route(path, partial(_long_poll, context, platform)))
        routes += routes_beside(context, platform)
    return HttpListener(context.serving, routes, bypass=bypass)


async def _long_poll(context: Context, platform: Platform, request: Request) -> Response:
    scope = request.scope
    params = parameters(scope["query_string"])
    hold_s = _hold_s(params)
    with asked(platform, params, scope) as poll, poll.reader as reader:
        if _must_wait(reader, scope):
            scope["headers"].clear()  # held for long, and of no use any more
            with _until_gone(request.receive, reader):
                await _wait(poll, hold_s)
        return respond(batch(poll))


async def _tuned(context: Context, platform: Platform, params: Mapping[str, str], scope: Scope) -> bytes:
    """The same without a task that waits for the client's leaving: the connection tells."""
    hold_s = _hold_s(params)
    with asked(platform, params, scope) as poll, poll.reader as reader:
        if _must_wait(reader, scope):
            scope["headers"].clear()
            with scope["extensions"][PROTOCOL]().telling(reader.nudge):
                await _wait(poll, hold_s)
        return batch(poll)


def _hold_s(params: Mapping[str, str]) -> float:
    return number(params, "hold_s", DEFAULT_HOLD_S, 0, MAX_HOLD_S)


def _must_wait(reader: Reader, scope: Scope) -> bool:
    """A client without a cursor, or with one that has a gap behind it, is told where it is at once; so is HEAD."""
    return scope["method"] != "HEAD" and reader.resume.verdict == "resumed" and not reader.pending


async def _wait(poll: Asked, hold_s: float) -> None:
    """Until there is something, and no longer than the token is good: what comes after that is not for its holder."""
    left_s = max(0.0, poll.expires_at_s - time.time())
    timer = asyncio.get_running_loop().call_later(min(hold_s, left_s), poll.reader.nudge)
    try:
        await poll.reader.wait()
    finally:
        timer.cancel()


@contextmanager
def _until_gone(receive: Receive, reader: Reader) -> Iterator[None]:
    """Starlette does not cancel a handler whose client has gone, so somebody has to wait for that message."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        reader.nudge()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watcher.cancel()
