"""Authentication: JSON Web Tokens signed with HS256 (RFC 7519), where requests carry them, and the key."""

import math
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import jwt
from jwt.types import Options
from starlette.requests import cookie_parser
from starlette.types import Scope

from feed.rooms import FORM, RoomNameError, check_room
from servers.gate.errors import Refusal
from servers.gate.query import header, parameters

ALGORITHM: Final = "HS256"
KEY_VARIABLE: Final = "PUSHMARK_JWT_KEY"
COOKIE: Final = "pushmark_token"
PARAMETER: Final = "token"
MAX_TOKEN_CHARACTERS: Final = 4096
MIN_KEY_BYTES: Final = 32
"""As long as the hash (RFC 7518, section 3.2)."""
DEV_KEY: Final = b"pushmark-dev-key-that-everybody-knows"
"""Published here, so that tokens for tests and demonstrations need no secret."""

REGISTERED_CLAIMS: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})
"""Claims whose meaning is fixed (RFC 7519, section 4.1)."""

_LAST_INSTANT_S: Final = 2**53
_NO_CLAIMS: Final[Mapping[str, Any]] = MappingProxyType({})

# Exactly one spelling per token: decoders of base64 ignore foreign characters, and the two bits by which 43 characters
# are longer than a hash of 32 bytes, so that without this rule an altered signature could still be valid.
_TOKEN: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)

_FAULTS: Final[Mapping[type[Exception], str]] = {
    jwt.exceptions.InvalidSignatureError: "the signature of the token is wrong",
    jwt.exceptions.InvalidAlgorithmError: f"the token is not signed with {ALGORITHM}",
    jwt.exceptions.MissingRequiredClaimError: "the token must have the claims 'exp' and 'sub'",
    jwt.exceptions.InvalidSubjectError: "the claim 'sub' of the token is no text",
    jwt.exceptions.InvalidAudienceError: "the token is meant for another audience",
}


class AuthKeyError(ValueError):
    """The key to check tokens with is missing or unusable; the message says why."""


class Identity(NamedTuple):
    """The user of a connection, by a token that was verified."""

    user: str = ""
    """Empty: anonymous."""
    claims: Mapping[str, Any] = _NO_CLAIMS
    expires_at_s: float = math.inf
    """UNIX time in seconds."""


ANONYMOUS: Final = Identity()


class Authenticator:
    """Verifies tokens with one key; without a key every user is anonymous.

    ``query_token_max_s``: longest lifetime of a token that came in a URL. ``now_s`` returns UNIX time in seconds.
    """

    def __init__(
        self, key: bytes | None, query_token_max_s: float = 60.0, now_s: Callable[[], float] = time.time
    ) -> None:
        self._key = key
        self._query_token_max_s = query_token_max_s
        self._now_s = now_s

    def identify(self, token: str, in_query: bool = False) -> Identity:
        """The user of a token; empty: no token was given. ``in_query``: it came in a URL.

        Raises ``Refusal`` with ``token_missing``, ``token_invalid``, ``token_expired`` or ``token_too_long_lived``.
        """
        if self._key is None:
            return ANONYMOUS
        if not token:
            text = f"a token is required: as Authorization: Bearer, as cookie {COOKIE}, or as ?{PARAMETER}="
            raise Refusal("token_missing", text)
        claims = _verify(token, self._key)
        now_s = self._now_s()
        expires_at_s = _instant_s(claims, "exp")
        issued_at_s = _instant_s(claims, "iat")
        if expires_at_s <= now_s:
            raise Refusal("token_expired", "the token has expired")
        if max(issued_at_s, _instant_s(claims, "nbf")) > now_s:
            raise _invalid("the token is not valid yet")
        # URLs end up in logs. Rounded, since a fraction of a UNIX time is only exact to a quarter of a microsecond.
        if in_query and round(expires_at_s - issued_at_s, 3) > self._query_token_max_s:
            text = f"a token in a URL may live {self._query_token_max_s:g} s, counted from its claim 'iat'"
            raise Refusal("token_too_long_lived", text)
        return Identity(_user(claims), MappingProxyType(claims), expires_at_s)


def may_enter(identity: Identity, claim: str) -> bool:
    """True if the user holds a claim of that name that is not false, zero or empty."""
    return bool(identity.claims.get(claim))


def check_user(name: str) -> str:
    """Return ``name`` if it is a user name, which has the form of a room's. Raises ``ValueError``."""
    try:
        return check_room(name)
    except RoomNameError as error:
        raise ValueError(f"{name[:40]!r} is not a user name: allowed are {FORM}") from error


def mint(key: bytes, user: str, ttl_s: float, now_s: float, claims: Mapping[str, Any] = _NO_CLAIMS) -> str:
    """A token for a user that is valid for ``ttl_s`` seconds from ``now_s``, a UNIX time in seconds."""
    payload = {**claims, "sub": user, "iat": now_s, "exp": now_s + ttl_s}
    return jwt.encode(payload, key, ALGORITHM)


def find_token(scope: Scope) -> tuple[str, bool]:
    """The token of a request (from the header, else the cookie, else the query), and whether it came in the query."""
    scheme, _, bearer = header(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip(), False
    cookie = cookie_parser(header(scope, b"cookie")).get(COOKIE)
    if cookie:
        return cookie, False
    token = parameters(scope["query_string"]).get(PARAMETER, "")
    return token, bool(token)


def load_key(environ: Mapping[str, str], key_file: Path | None) -> bytes:
    """The key from a file or the environment, without line ends after it. Raises ``AuthKeyError``."""
    from_variable = os.fsencode(environ.get(KEY_VARIABLE, ""))
    if key_file is None and not from_variable:
        raise AuthKeyError(f"checking tokens needs a key: give a key file or {KEY_VARIABLE}")
    if key_file is not None and from_variable:
        raise AuthKeyError(f"there are two keys, a key file and {KEY_VARIABLE}: give one of them")
    key = (from_variable if key_file is None else _read(key_file)).rstrip(b"\r\n")
    if len(key) < MIN_KEY_BYTES:
        raise AuthKeyError(f"the key has {len(key)} bytes: {ALGORITHM} needs {MIN_KEY_BYTES} (RFC 7518, section 3.2)")
    try:
        jwt.get_algorithm_by_name(ALGORITHM).prepare_key(key)
    except jwt.exceptions.InvalidKeyError as error:
        raise AuthKeyError(f"a certificate or the key of another algorithm is no secret for {ALGORITHM}") from error
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuthKeyError(f"cannot read the key file {path}: {error.strerror}") from error


def _verify(token: str, key: bytes) -> dict[str, Any]:
    """Verify the signature and return the claims; their times are not checked. Raises ``Refusal``."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _invalid(f"the token has over {MAX_TOKEN_CHARACTERS} characters")
    if _TOKEN.fullmatch(token) is None:
        raise _invalid(f"this is no JSON Web Token signed with {ALGORITHM}")
    # The caller checks the times, on a clock that tests can set.
    options: Options = {"require": ["exp", "sub"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        return jwt.decode(token, key, algorithms=[ALGORITHM], options=options)
    except (jwt.PyJWTError, RecursionError) as error:  # too deep for the parser of JSON: a header that is all brackets
        raise _invalid(_FAULTS.get(type(error), "the token is malformed")) from error


def _instant_s(claims: Mapping[str, Any], name: str) -> float:
    """A claim that is a UNIX time in seconds; minus infinity if it is missing. Raises ``Refusal``."""
    if name not in claims:
        return -math.inf
    value = claims[name]
    if type(value) not in (int, float) or not 0 <= value <= _LAST_INSTANT_S:  # not true, NaN or infinite
        raise _invalid(f"the claim {name!r} of the token is no UNIX time in seconds")
    return float(value)


def _user(claims: Mapping[str, Any]) -> str:
    try:
        return check_room(claims["sub"])
    except RoomNameError as error:
        raise _invalid(f"the claim 'sub' of the token is no user name: allowed are {FORM}") from error


def _invalid(message: str) -> Refusal:
    return Refusal("token_invalid", message)
