"""Answers that were given, so that a request which is sent again is not applied again."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from servers.gate.errors import Refusal

KEPT_ANSWERS: Final = 10_000
KEPT_S: Final = 120.0
"""How long after its answer a request may be repeated; clients give up long before."""

Answer = bytes | asyncio.Task[bytes]
"""An envelope, or who is still waiting to give it."""
Key = tuple[str, ...]
"""Who asks, and the request's id."""


class Kept(NamedTuple):
    """An answer, when it was given, and what was asked."""

    since_s: float
    digest: bytes
    answer: Answer


class Answers:
    """The newest answers by request. Bounded in number and in time; ``now_s`` is any clock that does not go back."""

    def __init__(self, now_s: Callable[[], float], kept: int = KEPT_ANSWERS, kept_s: float = KEPT_S) -> None:
        self._now_s = now_s
        self._kept = kept
        self._kept_s = kept_s
        self._answers: OrderedDict[Key, Kept] = OrderedDict()

    def find(self, key: Key, request: bytes) -> Answer | None:
        """The answer that this request got before. Raises ``Refusal`` if another request had that id."""
        found = self._answers.get(key)
        if found is None or self._expired(found.since_s):
            return None
        if found.digest != _digest(request):
            raise Refusal("id_reused", "another request had this id: a repeated request must be the same")
        return found.answer

    def keep(self, key: Key, request: bytes, answer: Answer) -> None:
        """Remember an answer; the oldest is forgotten where there are too many."""
        self._answers[key] = Kept(self._now_s(), _digest(request), answer)
        self._answers.move_to_end(key)
        while len(self._answers) > self._kept or self._expired(next(iter(self._answers.values())).since_s):
            self._answers.popitem(last=False)

    def _expired(self, since_s: float) -> bool:
        return self._now_s() - since_s > self._kept_s

    def forget(self, key: Key) -> None:
        """A request that failed may be tried again."""
        self._answers.pop(key, None)


def _digest(request: bytes) -> bytes:
    """Stands for a request, which may have 64 KiB."""
    return hashlib.blake2b(request, digest_size=16).digest()
