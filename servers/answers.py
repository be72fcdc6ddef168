"""Answers that were given, so that a request which is sent again is not applied again."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

KEPT_ANSWERS: Final = 10_000
KEPT_S: Final = 120.0
"""How long after its answer a request may be repeated; clients give up long before."""

Answer = bytes | asyncio.Task[bytes]
"""An envelope, or who is still waiting to give it."""
Key = tuple[str, str]
"""Who asks, across connections, and the request's id."""


class Answers:
    """The newest answers by request. Bounded in number and in time; ``now_s`` is any clock that does not go back."""

    def __init__(self, now_s: Callable[[], float], kept: int = KEPT_ANSWERS, kept_s: float = KEPT_S) -> None:
        self._now_s = now_s
        self._kept = kept
        self._kept_s = kept_s
        self._answers: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()

    def find(self, key: Key) -> Answer | None:
        """The answer that this request got before."""
        found = self._answers.get(key)
        if found is None or self._expired(found[0]):
            return None
        return found[1]

    def keep(self, key: Key, answer: Answer) -> None:
        """Remember an answer; the oldest is forgotten where there are too many."""
        self._answers[key] = (self._now_s(), answer)
        self._answers.move_to_end(key)
        while len(self._answers) > self._kept or self._expired(next(iter(self._answers.values()))[0]):
            self._answers.popitem(last=False)

    def _expired(self, since_s: float) -> bool:
        return self._now_s() - since_s > self._kept_s

    def forget(self, key: Key) -> None:
        """A request that failed may be tried again."""
        self._answers.pop(key, None)
