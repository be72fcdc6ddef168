"""Rules for the head of every request, from RFC 9110, 9112 and 6455. Pure.

llhttp, the parser, checks the grammar; here is what the grammar allows and the protocols forbid. docs/protocol.md has
the table of rules, each with its test.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from servers.gate.errors import Refusal

Headers = list[tuple[bytes, bytes]]
"""Names in lower case."""

WEBSOCKET_VERSION: Final = b"13"
HANDSHAKE_FIELDS: Final = (b"host", b"upgrade", b"connection", b"origin", b"sec-websocket-")
"""Fields of a handshake that the WebSocket library needs: how their names begin."""
UPGRADE_FIELDS: Final = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
"""The upgrade that a handshake asks for, without other protocols that the client also offers."""
_VERSIONS: Final = ("1.0", "1.1")
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")
_KEY_BYTES: Final = 16


def tokens(headers: Headers, name: bytes) -> list[bytes]:
    """The members of a list-based field, in lower case, over all its lines (RFC 9110, section 5.6.1)."""
    lines = [value for found, value in headers if found == name]
    return [token.strip().lower() for line in lines for token in line.split(b",")]


def check_version(version: str) -> None:
    """Raise ``Refusal`` unless the version is HTTP/1.0 or 1.1."""
    if version not in _VERSIONS:
        raise Refusal("bad_request", f"HTTP/{version}: spoken here are HTTP/1.1 and 1.0")


def check_head(version: str, headers: Headers) -> None:
    """Raise ``Refusal`` unless there is exactly one Host, and the body is framed by a length or by chunks.

    HTTP/1.0 may leave Host out, and has no ``Transfer-Encoding``; chunks are the only coding that is undone (RFC 9112,
    sections 3.2 and 6.1).
    """
    hosts, codings = [], []
    for name, value in headers:  # one pass, since every request comes here
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    if len(hosts) > 1 or (not hosts and version != "1.0"):
        raise Refusal("bad_request", f"{len(hosts)} Host headers: a request has exactly one (RFC 9112, section 3.2)")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise Refusal("bad_request", "the Host header is no host, or host:port (RFC 9112, section 3.2)")
    if codings and (codings != [b"chunked"] or version == "1.0"):
        raise Refusal("bad_request", "Transfer-Encoding: taken is 'chunked', in HTTP/1.1 (RFC 9112, section 6.1)")


def origin_form(method: str, url: bytes) -> tuple[bytes, bytes | None]:
    """The path and query of a request target, and the host that it names, if any (RFC 9112, section 3.2).

    A target in absolute form names a host, which replaces the Host header. ``OPTIONS *`` is answered as ``OPTIONS /``.
    Raises ``Refusal`` for a target that only a proxy could answer.
    """
    if url.startswith(b"/"):
        return url, None
    if url == b"*" and method == "OPTIONS":
        return b"/", None
    if url[:8].lower().startswith((b"http://", b"https://")):
        try:
            parts = urlsplit(url)
            host = parts.netloc.rpartition(b"@")[2]
        except ValueError:
            host = b""
        if host:
            return (parts.path or b"/") + (b"?" + parts.query if parts.query else b""), host
    raise Refusal("bad_request", "the request's target is no path, and this is no proxy (RFC 9112, section 3.2)")


def wants_websocket(version: str, headers: Headers) -> bool:
    """True if the request asks for WebSocket. HTTP/1.0 cannot; other protocols are ignored (RFC 9110, section 7.8)."""
    if version != "1.1" or b"upgrade" not in tokens(headers, b"connection"):
        return False
    return b"websocket" in tokens(headers, b"upgrade")


def check_handshake(method: str, headers: Headers) -> None:
    """Check a handshake by RFC 6455, section 4.2.1. Raises ``Refusal`` naming what is wrong."""
    versions = [value for name, value in headers if name == b"sec-websocket-version"]
    if versions and versions != [WEBSOCKET_VERSION]:
        said = b", ".join(versions)[:40].decode("latin-1")
        raise Refusal("upgrade_required", f"WebSocket version {said!r}: spoken here is 13 (RFC 6455, section 4.4)")
    keys = [value for name, value in headers if name == b"sec-websocket-key"]
    for holds, wanted in (
        (method == "GET", "the method GET"),
        (not any(name == b"transfer-encoding" for name, _ in headers), "no body"),
        (all(value == b"0" for name, value in headers if name == b"content-length"), "no body"),
        (bool(versions), "Sec-WebSocket-Version: 13"),
        (len(keys) == 1 and _is_key(keys[0]), "one Sec-WebSocket-Key of 16 bytes in base64"),
    ):
        if not holds:
            raise Refusal("bad_request", f"a WebSocket handshake has {wanted} (RFC 6455, section 4.2.1)")


def without(headers: Headers, name: bytes) -> Headers:
    """All headers except those of one name."""
    return [(found, value) for found, value in headers if found != name]


def encode_head(method: str, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a request as bytes, for another parser."""
    lines = [b"%s %s HTTP/%s" % (method.encode(), target, version.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
