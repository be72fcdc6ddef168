"""Replies that were given, so that a request which is sent again is not carried out again."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from servers.gate.errors import Refusal

MAX_REPLIES: Final = 10_000
MAX_BYTES: Final = 64 << 20
"""Of all replies; answers with a whole document are the largest."""
MAX_AGE_S: Final = 120.0
"""How long after its reply a request may be repeated; clients give up long before."""

Reply = bytes | asyncio.Task[bytes]
"""An envelope, or the task that will have it."""
Key = tuple[str, ...]
"""The requesting side, and the request's id."""


class CachedReply(NamedTuple):
    """A reply, when it was given (monotonic, s), and the digest of its request."""

    since_s: float
    digest: bytes
    reply: Reply


class ReplyCache:
    """The newest replies by request, bounded in number, bytes and time; ``now_s``: any clock that does not go back."""

    def __init__(
        self,
        now_s: Callable[[], float],
        max_replies: int = MAX_REPLIES,
        max_age_s: float = MAX_AGE_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._now_s = now_s
        self._max_replies = max_replies
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._bytes = 0
        self._cached: OrderedDict[Key, CachedReply] = OrderedDict()

    def find(self, key: Key, request: bytes) -> Reply | None:
        """The reply that this request got before. Raises ``Refusal`` if another request had that id."""
        found = self._cached.get(key)
        if found is None or self._expired(found.since_s):
            return None
        if found.digest != _digest(request):
            raise Refusal("id_reused", "another request had this id: a repeated request must be the same")
        return found.reply

    def keep(self, key: Key, request: bytes, reply: Reply) -> None:
        """Remember a reply; the oldest is forgotten where there is too much."""
        self.forget(key)
        self._cached[key] = CachedReply(self._now_s(), _digest(request), reply)
        self._bytes += _size(reply)
        self._forget_some()

    def settle(self, key: Key, reply: bytes) -> None:
        """The reply that a task was to have has come."""
        cached = self._cached.get(key)
        if cached is not None:
            self._cached[key] = cached._replace(reply=reply)
            self._bytes += len(reply)
            self._forget_some()

    def forget(self, key: Key) -> None:
        """Let a request that failed be tried again."""
        cached = self._cached.pop(key, None)
        if cached is not None:
            self._bytes -= _size(cached.reply)

    def _forget_some(self) -> None:
        while self._cached and (
            len(self._cached) > self._max_replies
            or self._bytes > self._max_bytes
            or self._expired(next(iter(self._cached.values())).since_s)
        ):
            self.forget(next(iter(self._cached)))

    def _expired(self, since_s: float) -> bool:
        return self._now_s() - since_s > self._max_age_s


def _size(reply: Reply) -> int:
    return len(reply) if isinstance(reply, bytes) else 0


def _digest(request: bytes) -> bytes:
    """Stands for a request, which may have 64 KiB."""
    return hashlib.blake2b(request, digest_size=16).digest()
