"""Why a client stops or tries again: its errors, and which failures are permanent."""

from typing import Final

import aiohttp
import msgspec

from feed.cursor import CursorError
from feed.envelope import ErrorData
from feed.rooms import RoomNameError
from feed.wire import TooLargeError, WireError

RETRIED: Final = (aiohttp.ClientError, OSError, TimeoutError, EOFError, ValueError)
"""Failures after which another attempt may help, unless ``end_if_permanent`` raises."""
SENSELESS: Final = (msgspec.DecodeError, UnicodeDecodeError, WireError, CursorError, RoomNameError)
"""Errors for bytes that cannot be read as a message of this feed."""
PASSING: Final = frozenset(
    {"rate_limited", "too_many_connections", "unknown_session", "closed", "internal_error", "request_timeout"}
)
"""Error codes after which another attempt may succeed; so may any error with ``retry_after_s``."""
NOT_PUSHMARK: Final = "not_pushmark"
"""Error code: the address is not that of a server of this feed."""
TOO_LARGE: Final = "too_large"
"""Error code: something was over a bound, and would be again."""


class ClientError(Exception):
    """The client has stopped for good; the message says why."""


class RefusedError(ClientError):
    """The server refused the subscription, or is none of ours; another attempt would not help.

    ``code`` is one of docs/protocol.md, or ``not_pushmark``, ``too_large``, ``handshake_refused``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"refused ({code}): {message}")
        self.code = code


class RequestError(ClientError):
    """The server refused a request. ``code`` is one of docs/protocol.md; ``retry_after_s`` if the server sent one."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def is_passing(self) -> bool:
        """May the same request succeed later?"""
        return self.code in PASSING or self.retry_after_s is not None


class GaveUpError(ClientError):
    """All allowed attempts have failed."""


class PassingError(ConnectionError):
    """An answer after which another attempt may succeed, at the earliest after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s or 0.0


def failure(error: ErrorData) -> RefusedError | PassingError:
    """The exception for an ``error`` message that refuses or ends a connection."""
    if error.code in PASSING or error.retry_after_s is not None:
        return PassingError(f"{error.code}: {error.message}", error.retry_after_s)
    return RefusedError(error.code, error.message)


def asked_wait_s(error: Exception) -> float:
    """Seconds that the server asks to wait after a failure; 0 if it asks for none."""
    asked_s = error.retry_after_s if isinstance(error, PassingError | RequestError) else None
    return asked_s or 0.0


def words(error: Exception) -> str:
    """A failure in a few words: the system's, where aiohttp wraps them in its own."""
    cause = getattr(error, "os_error", error)
    return f"{type(cause).__name__}: {cause}".removesuffix(": ")


def end_if_permanent(error: Exception, opened: bool) -> None:
    """Raise ``RefusedError`` if another attempt cannot help. ``opened``: the connection had a good welcome.

    Before a welcome, unreadable bytes mean that the server is none of ours. After one they may have been damaged on
    the way, and another connection may bring them whole.
    """
    if isinstance(error, TooLargeError):
        raise RefusedError(TOO_LARGE, str(error)) from error
    if isinstance(error, aiohttp.TooManyRedirects):
        text = f"{len(error.history)} redirects led to no answer; expected is a server of this feed"
        raise RefusedError(NOT_PUSHMARK, text) from error
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        raise RefusedError(NOT_PUSHMARK, f"got {words(error)}; expected is an HTTP/1.1 answer") from error
    if isinstance(error, SENSELESS) and not opened:
        text = f"got no message of this feed ({error}); expected is a 'welcome' first"
        raise RefusedError(NOT_PUSHMARK, text) from error
