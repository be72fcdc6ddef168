"""The tuned variants of the polls: an ASGI application without Starlette between it and uvicorn.

It gives the same answers as the row of the table; what it saves is the router, the middleware, and the request and
response objects.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from servers.errors import Refusal, error_response
from servers.query import parameters

Answer = Callable[[dict[str, str], Scope], Awaitable[bytes]]
"""From the query's parameters and the scope to the JSON body. Raises ``Refusal``."""

HEADERS: Final = [(b"cache-control", b"no-store"), (b"content-type", b"application/json")]


def direct(answer: Answer) -> ASGIApp:
    """An application that answers GET with what ``answer`` returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise Refusal("method_not_allowed", f"{scope['method'][:20]} is not allowed here")
            body = await answer(parameters(scope["query_string"]), scope)
        except Refusal as refusal:
            await error_response(refusal)(scope, receive, send)
            return
        headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
