"""Why a client stops, or tries again: its errors, and which failures are an end."""

from typing import Final

import aiohttp
import msgspec

from feed.cursor import CursorError
from feed.envelope import ErrorData
from feed.rooms import RoomNameError
from feed.wire import TooLargeError, WireError

RETRIED: Final = (aiohttp.ClientError, OSError, TimeoutError, EOFError, ValueError)
"""Failures after which another attempt may help, unless ``end_if_permanent`` knows better."""
SENSELESS: Final = (msgspec.DecodeError, UnicodeDecodeError, WireError, CursorError, RoomNameError)
"""Bytes that make no sense."""
PASSING: Final = frozenset(
    {"rate_limited", "too_many_connections", "unknown_session", "closed", "internal_error", "request_timeout"}
)
"""Reasons to end a connection after which another one may be had; so are those that say when to try again."""
NOT_PUSHMARK: Final = "not_pushmark"
"""Code of what was found where no server of this feed answers."""
TOO_LARGE: Final = "too_large"
"""Code of what was over a bound: it would come again."""


class ClientError(Exception):
    """A client that has stopped for good; the message says why."""


class RefusedError(ClientError):
    """The server refused the request itself, or is none of ours; asking again would not help.

    ``code`` is one of docs/protocol.md, or ``not_pushmark``, ``too_large``, ``handshake_refused``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"refused ({code}): {message}")
        self.code = code


class RequestError(ClientError):
    """The server did not do what was asked. ``code`` is one of docs/protocol.md; ``retry_after_s`` where it helps."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def is_passing(self) -> bool:
        """May asking again later help?"""
        return self.code in PASSING or self.retry_after_s is not None


class GaveUpError(ClientError):
    """No success within the allowed attempts."""


class PassingError(ConnectionError):
    """An answer after which another attempt may help, but not before ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s or 0.0


def failure(error: ErrorData) -> RefusedError | PassingError:
    """What an ``error`` message that ends a connection, or refuses one, is to its client."""
    if error.code in PASSING or error.retry_after_s is not None:
        return PassingError(f"{error.code}: {error.message}", error.retry_after_s)
    return RefusedError(error.code, error.message)


def asked_wait_s(error: Exception) -> float:
    """How long to wait at least after a failure, as far as the server has said."""
    asked_s = error.retry_after_s if isinstance(error, PassingError | RequestError) else None
    return asked_s or 0.0


def words(error: Exception) -> str:
    """A failure in a few words: aiohttp wraps the system's words in its own."""
    cause = getattr(error, "os_error", error)
    return f"{type(cause).__name__}: {cause}".removesuffix(": ")


def end_if_permanent(error: Exception, opened: bool) -> None:
    """Raise ``RefusedError`` if another attempt cannot help; ``opened``: after a good welcome.

    Without a welcome, bytes that make no sense are no feed at all; after one they may be an accident on the way, which
    another connection may not have.
    """
    if isinstance(error, TooLargeError):
        raise RefusedError(TOO_LARGE, str(error)) from error
    if isinstance(error, aiohttp.TooManyRedirects):
        text = f"{len(error.history)} redirects led to no answer; expected is a server of this feed"
        raise RefusedError(NOT_PUSHMARK, text) from error
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        raise RefusedError(NOT_PUSHMARK, f"got {words(error)}; expected is an HTTP/1.1 answer") from error
    if isinstance(error, SENSELESS) and not opened:
        text = f"got what is no message of this feed ({error}); expected is a 'welcome' first"
        raise RefusedError(NOT_PUSHMARK, text) from error
