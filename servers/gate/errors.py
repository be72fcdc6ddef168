"""Refusals: one form on every transport, and the status or close code of each error code (docs/protocol.md)."""

import math
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

from starlette.responses import Response

from feed.envelope import encode_error


class Kind(NamedTuple):
    """What an error code becomes on HTTP (status) and on a WebSocket (close code)."""

    status: int
    close_code: int


KINDS: Final = {
    "bad_request": Kind(400, 1008),
    "bad_cursor": Kind(400, 1008),
    "bad_number": Kind(400, 1008),
    "bad_room": Kind(400, 1008),
    "unknown_room": Kind(404, 1008),
    "not_found": Kind(404, 1008),
    "unknown_session": Kind(404, 1008),
    "unknown_service": Kind(404, 1008),
    "unknown_message": Kind(404, 1008),
    "closed": Kind(410, 1000),
    "not_connected": Kind(404, 1008),
    "timed_out": Kind(504, 1008),
    "not_joined": Kind(409, 1008),
    "id_reused": Kind(409, 1008),
    "token_missing": Kind(401, 1008),
    "token_invalid": Kind(401, 1008),
    "token_expired": Kind(401, 1008),
    "token_too_long_lived": Kind(401, 1008),
    "not_allowed": Kind(403, 1008),
    "origin_not_allowed": Kind(403, 1008),
    "too_many_connections": Kind(429, 1013),
    "too_many_rooms": Kind(429, 1008),
    "too_many_requests": Kind(429, 1008),
    "rate_limited": Kind(429, 1008),
    "message_too_large": Kind(413, 1009),
    "method_not_allowed": Kind(405, 1008),
    "request_timeout": Kind(408, 1008),
    "body_too_large": Kind(413, 1009),
    "url_too_long": Kind(414, 1008),
    "upgrade_required": Kind(426, 1008),
    "headers_too_large": Kind(431, 1008),
    "unexpected_message": Kind(400, 1008),
    "frame_too_large": Kind(413, 1009),
    "no_store": Kind(501, 1008),
    "store_busy": Kind(503, 1013),
    "store_failed": Kind(507, 1011),
    "internal_error": Kind(500, 1011),
}


class Refusal(Exception):  # noqa: N818 - an answer to the peer, not a failure of the server
    """A request is refused with an error code and a sentence for the peer.

    ``retry_after_s``: how long the peer should wait before it asks again. ``id_``: that of the request, if it had one.
    """

    def __init__(self, code: str, message: str, retry_after_s: float | None = None, id_: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.id = id_

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    @property
    def body(self) -> bytes:
        return encode_error(self.code, self.message, self.id, self.retry_after_s)


def error_response(refusal: Refusal, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """The refusal as an HTTP response."""
    return Response(refusal.body, refusal.kind.status, {**_headers(refusal), **headers}, "application/json")


def raw_error_response(refusal: Refusal, **headers: str) -> bytes:
    """The refusal as the bytes of an HTTP/1.1 response that ends the connection, for where no application runs.

    ``headers``: further ones, with ``_`` instead of ``-`` in their names.
    """
    fields = {
        "date": formatdate(usegmt=True),
        "content-type": "application/json",
        "content-length": str(len(refusal.body)),
        **_headers(refusal),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    fields["connection"] = ", ".join(filter(None, (fields.get("connection"), "close")))
    lines = [f"HTTP/1.1 {refusal.kind.status} {HTTPStatus(refusal.kind.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + refusal.body


def _headers(refusal: Refusal) -> dict[str, str]:
    """The headers that the status requires."""
    headers: dict[str, str] = {}
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(math.ceil(refusal.retry_after_s))  # whole seconds (RFC 9110, section 10.2.3)
    if refusal.kind.status == HTTPStatus.UNAUTHORIZED:  # RFC 9110, section 15.5.2, and RFC 6750, section 3
        invalid = "" if refusal.code == "token_missing" else ', error="invalid_token"'
        headers["www-authenticate"] = f'Bearer realm="pushmark"{invalid}'
    if refusal.kind.status == HTTPStatus.UPGRADE_REQUIRED:  # RFC 9110, section 15.5.22, and RFC 6455, section 4.4
        headers |= {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
    return headers
