"""A fresh token before the one in use expires, so that a connection outlives every one of its tokens."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from clients.core.backoff import asked_at_most_s
from clients.core.client import Client
from clients.core.errors import ClientError, asked_wait_s

RENEWED_AFTER: Final = 0.8
"""Share of a token's remaining lifetime after which it is renewed."""
RETRY_S: Final = 1.0
"""Shortest wait after a token source that failed, or a server that did not answer."""

TokenSource = Callable[[], Awaitable[str]]
"""Fetches a fresh token from its issuer."""


class _Claims(msgspec.Struct, frozen=True):
    exp: float


class TokenError(ValueError):
    """The text is no JSON Web Token with an expiry time."""


def expires_at_s(token: str) -> float:
    """When a token expires, UNIX time in seconds. Its signature is not checked. Raises ``TokenError``."""
    try:
        payload = token.split(".")[1]
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims).exp
    except (IndexError, ValueError) as error:
        raise TokenError("the token is no JSON Web Token with the claim 'exp' (RFC 7519, section 4.1.4)") from error


async def keep_renewed(client: Client, source: TokenSource) -> None:
    """Renew the client's token again and again, until cancelled. Run it next to ``client.run()``.

    After a source that fails, or a server that does not renew, the next attempt comes after ``RETRY_S`` or the time
    that the server asks for, and up to ``RETRY_S`` more. If the token expires meanwhile, the server says so and the
    client ends. Raises ``TokenError`` for what cannot be a token.
    """
    while True:
        await asyncio.sleep(max(0.0, expires_at_s(client.token) - time.time()) * RENEWED_AFTER)
        while not await _renewed(client, source):
            pass


async def _renewed(client: Client, source: TokenSource) -> bool:
    """Try once; after a failure, wait until the next attempt may come."""
    try:
        await client.renew(await source())
        return True
    except (ClientError, OSError, TimeoutError) as error:
        await asyncio.sleep(max(RETRY_S, asked_at_most_s(asked_wait_s(error))) + client.draw.uniform(0, RETRY_S))
        return False
