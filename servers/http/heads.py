"""What the head of a request must be, whatever its path: the rules of RFC 9110, 9112 and 6455. Pure.

The parser below (llhttp) knows the grammar; what is here is what the grammar allows and the protocols do not.
docs/protocol.md has the table of rules and their tests.
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
"""What the WebSocket library needs of a handshake; beginnings of names."""
UPGRADE_FIELDS: Final = [(b"upgrade", b"websocket"), (b"connection", b"Upgrade")]
"""What a handshake asks for, without the other protocols that the client would take as well."""
_VERSIONS: Final = ("1.0", "1.1")
_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")
_KEY_BYTES: Final = 16


def tokens(headers: Headers, name: bytes) -> list[bytes]:
    """The members of a list-based field, in lower case, over all its lines (RFC 9110, section 5.6.1)."""
    lines = [value for found, value in headers if found == name]
    return [token.strip().lower() for line in lines for token in line.split(b",")]


def check_version(version: str) -> None:
    """HTTP/1.0 and 1.1 are spoken here. Raises ``Refusal``."""
    if version not in _VERSIONS:
        raise Refusal("bad_request", f"HTTP/{version}: spoken here are HTTP/1.1 and 1.0")


def check_head(version: str, headers: Headers) -> None:
    """Exactly one Host, which HTTP/1.0 may leave out, and no framing but a length or chunks. Raises ``Refusal``.

    RFC 9112, sections 3.2 and 6.1: HTTP/1.0 has no ``Transfer-Encoding``, and no other coding is undone here.
    """
    hosts, codings = [], []
    for name, value in headers:  # once over all of them: every request passes here
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
    """A request target as a path with its query, and the host that it names, if any (RFC 9112, section 3.2).

    The absolute form has a host, which counts in the place of the Host header; ``OPTIONS *`` asks about the server as
    ``OPTIONS /`` does. Raises ``Refusal`` for what only a proxy could answer.
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
    """Does this ask for WebSocket? HTTP/1.0 cannot, and other protocols are ignored (RFC 9110, section 7.8)."""
    if version != "1.1" or b"upgrade" not in tokens(headers, b"connection"):
        return False
    return b"websocket" in tokens(headers, b"upgrade")


def check_handshake(method: str, headers: Headers) -> None:
    """What RFC 6455, section 4.2.1 demands of a handshake. Raises ``Refusal`` naming what is wrong with it."""
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
    """All headers but those of one name."""
    return [(found, value) for found, value in headers if found != name]


def encode_head(method: str, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A request's head as bytes, for another parser."""
    lines = [b"%s %s HTTP/%s" % (method.encode(), target, version.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
