"""Requests over HTTP: ``POST /requests`` with the session of the receiving side, for what has no socket of its own."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from feed.envelope import decode_envelope, decode_error
from servers.gate.errors import Refusal, error_response
from servers.gate.query import header
from servers.platform.names import prefix
from servers.platform.namespace import Platform

SESSION_HEADER: Final = b"pushmark-session"


def request_routes(platform: Platform) -> list[BaseRoute]:
    """The routes of one namespace."""
    before = prefix(platform.name)
    return [
        Route(f"{before}/requests", partial(_handle, platform), methods=["POST"]),
        Route(f"{before}/sessions", partial(_close, platform), methods=["DELETE"]),
    ]


async def _handle(platform: Platform, request: Request) -> Response:
    peer = platform.by_session(header(request.scope, SESSION_HEADER))
    answer = platform.handle(peer, await request.body())
    body = answer if isinstance(answer, bytes) else await asyncio.shield(answer)
    return _respond(body)


def _respond(body: bytes) -> Response:
    """The same body as on a socket, and the status that goes with it."""
    envelope = decode_envelope(body)
    headers = {"cache-control": "no-store"}
    if envelope.type == "ack":
        return Response(body, HTTPStatus.OK, headers, "application/json")
    error = decode_error(envelope.data)
    refusal = Refusal(error.code, error.message, error.retry_after_s, envelope.id)
    return error_response(refusal, headers)


async def _close(platform: Platform, request: Request) -> Response:
    """The client leaves of its own accord; a stream ends, and a session of polls is forgotten."""
    peer = platform.by_session(header(request.scope, SESSION_HEADER))
    peer.end(Refusal("closed", "the client has left"))
    return Response(status_code=HTTPStatus.NO_CONTENT)
