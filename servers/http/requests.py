"""Requests over HTTP: ``POST /requests`` with the session of the receiving side, for transports without a socket.

``DELETE /sessions`` ends that session.
"""

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
from servers.platform.connections import Connection
from servers.platform.names import prefix
from servers.platform.namespace import Namespace

SESSION_HEADER: Final = b"pushmark-session"


def request_routes(namespace: Namespace) -> list[BaseRoute]:
    """The routes of one namespace."""
    before = prefix(namespace.name)
    return [
        Route(f"{before}/requests", partial(_handle, namespace), methods=["POST"]),
        Route(f"{before}/sessions", partial(_close, namespace), methods=["DELETE"]),
    ]


async def _handle(namespace: Namespace, request: Request) -> Response:
    reply = namespace.requests.handle(_connection(namespace, request), await request.body())
    return _respond(reply if isinstance(reply, bytes) else await asyncio.shield(reply))


def _respond(body: bytes) -> Response:
    """The same body as on a socket, and the status that goes with it."""
    envelope = decode_envelope(body)
    headers = {"cache-control": "no-store"}
    if envelope.type == "ack":
        return Response(body, HTTPStatus.OK, headers, "application/json")
    error = decode_error(envelope.data)
    refusal = Refusal(error.code, error.message, error.retry_after_s, envelope.id)
    return error_response(refusal, headers)


async def _close(namespace: Namespace, request: Request) -> Response:
    """The client leaves of its own accord; a stream ends, and a session of polls is forgotten."""
    _connection(namespace, request).end(Refusal("closed", "the client has left"))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _connection(namespace: Namespace, request: Request) -> Connection:
    """The receiving side that a request belongs to. Raises ``Refusal``."""
    return namespace.connections.by_session(header(request.scope, SESSION_HEADER))
