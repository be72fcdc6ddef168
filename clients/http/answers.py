"""HTTP answers: which of them end a client, which allow another attempt, and how long to wait for it.

Another attempt follows 408, 425, 429 and every 5xx but 501 and 505 (RFC 9110, section 15; RFC 8470, section 5.2). Any
other answer that is no 200 of the expected type would come again, and ends the client, as WHATWG HTML 9.2.3 says of an
EventSource; so does a whole answer that cannot be read. An answer that was cut is known by its framing, and another
attempt follows. Without framing (no length, no chunks; RFC 9112, section 6.3) a cut looks like an end, so an unreadable
answer counts as cut. Redirects are followed as aiohttp does: to http and https only, ten in a row.
"""

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from clients.core.errors import NOT_PUSHMARK, SENSELESS, PassingError, RefusedError
from feed.envelope import Envelope, decode_envelope, decode_error, decode_welcome
from feed.wire import TooLargeError

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"
MAX_ANSWER_BYTES: Final = 16 << 20
"""Largest body of an answer that is no stream, decompressed. One answer may bring a whole history."""
MAX_ERROR_BYTES: Final = 65_536
"""Largest body that is searched for an error."""
BODY_WITHIN_S: Final = 10.0
"""How long an answer's body may take, in addition to the time of its bytes at ``SLOWEST_BYTES_PER_S``."""
SLOWEST_BYTES_PER_S: Final = 16_384
"""Rate of a very slow mobile network."""
_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}


def is_passing(status: int) -> bool:
    """May the same request get another answer later?"""
    return status in _PASSING


def retry_after_s(value: str, now_s: float) -> float:
    """Seconds that a ``Retry-After`` asks to wait (RFC 9110, section 10.2.3): delta-seconds, or an HTTP-date.

    ``now_s`` is UNIX time. 0.0 if the header is empty, in the past, or unreadable.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


async def check_answer(response: aiohttp.ClientResponse, content_type: str) -> None:
    """Raise ``RefusedError`` or ``PassingError`` unless it is a 200 of that content type; parameters are allowed."""
    if response.status != HTTPStatus.OK:
        raise failure_of(response, await read_error(response), content_type)
    if response.content_type != content_type:
        raise _unexpected(response, content_type)


def failure_of(
    response: aiohttp.ClientResponse, error: Envelope | None, content_type: str
) -> RefusedError | PassingError:
    """The exception for an answer that is no 200; ``error`` is its body, if that is an error envelope."""
    said = None if error is None else decode_error(error.data)
    if is_passing(response.status):
        asked_s = max(retry_after_header_s(response.headers), (said.retry_after_s if said else None) or 0.0)
        text = f"status {response.status}" if said is None else f"{said.code}: {said.message}"
        return PassingError(text, asked_s)
    if said is None:
        return _unexpected(response, content_type)
    return RefusedError(said.code, said.message)


def handshake_failure(error: aiohttp.WSServerHandshakeError) -> RefusedError | PassingError:
    """The exception for a refused WebSocket handshake, whose body aiohttp does not give."""
    if is_passing(error.status):
        return PassingError(f"handshake refused with status {error.status}", retry_after_header_s(error.headers))
    text = f"status {error.status} for {error.request_info.real_url}; expected is 101"
    return RefusedError("handshake_refused", text)


def retry_after_header_s(headers: Mapping[str, str] | None) -> float:
    """Seconds from now that an answer's ``Retry-After`` asks to wait; 0 without one."""
    return retry_after_s((headers or {}).get("Retry-After", ""), time.time())


async def read_error(response: aiohttp.ClientResponse) -> Envelope | None:
    """The error envelope in an answer's body, or ``None``."""
    try:
        envelope = decode_envelope(await read_body(response, MAX_ERROR_BYTES))
        decode_error(envelope.data)
    except SENSELESS:
        return None
    return envelope if envelope.type == "error" else None


async def read_body(response: aiohttp.ClientResponse, at_most_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    """The whole body. Raises ``TooLargeError`` after at most one piece too many, and ``PassingError`` if it drips.

    It is read in pieces, as aiohttp would otherwise decompress all of it at once.
    """
    body = bytearray()
    began_s = time.monotonic()
    while piece := await response.content.readany():
        body += piece
        if time.monotonic() - began_s > BODY_WITHIN_S + len(body) / SLOWEST_BYTES_PER_S:
            response.close()
            raise PassingError(f"an answer drips: {len(body)} bytes within {time.monotonic() - began_s:.0f} s")
        if len(body) > at_most_bytes:
            response.close()
            raise TooLargeError(f"an answer is over the bound of {at_most_bytes} bytes")
    return bytes(body)


async def read_envelope(response: aiohttp.ClientResponse, *types: str) -> Envelope:
    """The envelope in the body of a 200. Raises as the module says, also if its type is none of ``types``."""
    body = await read_body(response)
    expected = f"an envelope of type {' or '.join(types)}"
    try:
        envelope = decode_envelope(body)
        if envelope.type == "welcome":
            decode_welcome(envelope.data)
        if envelope.type == "error":
            decode_error(envelope.data)
    except SENSELESS as error:
        if not ("content-length" in response.headers or "transfer-encoding" in response.headers):
            raise PassingError(f"the answer was cut: {error}") from error
        raise RefusedError(NOT_PUSHMARK, f"got a body that is no envelope ({error}); expected is {expected}") from error
    if envelope.type not in types:
        raise RefusedError(NOT_PUSHMARK, f"got an envelope of type {envelope.type!r:.40}; expected is {expected}")
    return envelope


def _unexpected(response: aiohttp.ClientResponse, content_type: str) -> RefusedError:
    got = f"status {response.status} with {response.headers.get('Content-Type', 'no content type')!r:.80}"
    return RefusedError(NOT_PUSHMARK, f"got {got} from {response.url}; expected is status 200 with {content_type}")
