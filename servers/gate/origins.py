"""Origins whose pages may connect: the server's own, and those on one list for every transport.

A browser sends cookies to any server that a page names, and opens a WebSocket without asking: without this check every
site could use a visitor's login here (RFC 6455, section 10.2). Other programs send no ``Origin``, and could send any;
so the check protects visitors, and authenticates nobody.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from servers.gate.errors import Refusal

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = r"(\[[0-9A-F:.]+\]|[A-Z0-9._-]+)(?::([0-9]{1,5}))?"
_FLAGS: Final = re.ASCII | re.IGNORECASE
_HOST_FORM: Final = re.compile(_HOST, _FLAGS)
_ORIGIN_FORM: Final = re.compile(f"(https?)://{_HOST}", _FLAGS)
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, last-event-id, pushmark-session"),
    (b"access-control-max-age", b"600"),
)


class OriginError(ValueError):
    """The text is not an origin that can be allowed; the message shows the form."""


class Origins:
    """The origins that may connect next to the server's own. Raises ``OriginError`` for text that is no origin."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(map(_check, allowed))

    def check(self, scope: Scope) -> str | None:
        """The origin that the answer must name for the browser's sake; ``None``: the server's own, or no browser.

        Raises ``Refusal`` with ``origin_not_allowed`` for every other origin.
        """
        values = [value for name, value in scope["headers"] if name == b"origin"]
        if not values:
            return None
        if len(values) > 1:
            raise Refusal("origin_not_allowed", "there is more than one Origin header")
        text = values[0].decode("latin-1")
        parsed = _parse(text)
        if parsed is not None:
            if _is_own(scope, *parsed):
                return None
            origin = _serialize(*parsed)
            if origin in self._allowed:
                return origin
        raise Refusal("origin_not_allowed", f"pages of the origin {text[:100]!r} may not connect here")

    def response_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """CORS headers with which the browser lets a page of that origin read an answer."""
        return [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]

    def preflight_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """CORS headers with which the browser lets a page of that origin send a request."""
        return [*self.response_headers(origin), *_PREFLIGHT]


def check_local(scope: Scope) -> None:
    """Refuse requests of pages, and requests whose Host is not a loopback name or address. Raises ``Refusal``.

    Any site can point its own name at 127.0.0.1 (DNS rebinding), and its page then reaches this machine under an origin
    that the browser takes for the page's own. Only the name in ``Host`` reveals it.
    """
    names = [name for name, _ in scope["headers"]]
    if b"origin" in names:
        raise Refusal("origin_not_allowed", "this address is for programs of this machine, and no page may use it")
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if not all(map(_is_loopback, hosts)):
        raise Refusal("not_allowed", f"the host {hosts[0][:100]!r}: this address answers 127.0.0.1 and localhost only")


def _is_loopback(host: str) -> bool:
    match = _HOST_FORM.fullmatch(host)
    if match is None:
        return False
    name = match[1].lower()
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _check(text: str) -> str:
    if text == "*":
        raise OriginError("'*' cannot be allowed, as pages send their visitors' logins: name each origin")
    parsed = _parse(text)
    if parsed is None:
        form = "https://app.example.org or http://localhost:8080"
        raise OriginError(f"{text[:100]!r} is no origin: one looks like {form}")
    return _serialize(*parsed)


def _parse(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin as RFC 6454, section 6.2 writes it; ``None`` for anything else."""
    match = _ORIGIN_FORM.fullmatch(text)
    if match is None:
        return None
    scheme, host, port = match.groups()
    scheme = scheme.lower()
    number = int(port) if port else _DEFAULT_PORTS[scheme]
    return (scheme, host.lower(), number) if number < 2**16 else None


def _serialize(scheme: str, host: str, port: int) -> str:
    """Write an origin as browsers do, since they compare it as text."""
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def _is_own(scope: Scope, scheme: str, host: str, port: int) -> bool:
    """True if the page is from the host and port that the request was sent to.

    The scheme is compared only if TLS ends here: behind a proxy that ends it, this server sees plain HTTP.
    """
    if scope.get("scheme") in ("https", "wss") and scheme != "https":
        return False
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    match = _HOST_FORM.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
    if match is None:
        return False
    own_host, own_port = match.groups()
    return (own_host.lower(), int(own_port or _DEFAULT_PORTS[scheme])) == (host, port)
