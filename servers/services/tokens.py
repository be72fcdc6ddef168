"""Tokens: an answer of a language model, as far as a transport is concerned: text that comes a few bytes at a time.

A member of a room asks (docs/protocol.md, call): ``start`` for an answer, ``open`` for what there is of it, ``cancel``
to end it. Its text is published in the room, so every member reads it, and whoever was cut goes on by cursor, as in any
room. The answer does not depend on who listens: it goes on while its asker is away.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple, assert_never

import msgspec

from feed.instruments.clock import NS_PER_S, now_ns
from feed.requests import Name
from servers.gate.errors import Refusal
from servers.platform.connections import Connection
from servers.platform.membership import require_member
from servers.platform.service import Service, ServiceContext, decoded

MAX_TOKENS: Final = 4096
MAX_RUNNING: Final = 1000
"""Answers of a namespace that may run at once."""
MAX_KEPT: Final = 2000
"""Answers that ``open`` still finds, the running ones included."""
BUSY_RETRY_S: Final = 1.0
VOCABULARY: Final = tuple(
    " " + "".join(random.Random(f"token-{n}").choices("abcdefghijklmnopqrstuvwxyz", k=3 + n % 5)) for n in range(512)
)
"""Tokens of 4 to 8 bytes."""

Rate = Annotated[float, msgspec.Meta(ge=0.1, le=1000.0)]
Delay = Annotated[float, msgspec.Meta(ge=0.0, le=300.0)]


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower, forbid_unknown_fields=True):
    """What all requests have in common: the room of the answer, which the caller has joined."""

    room: Name


class Start(Ask, frozen=True):
    """An answer of ``tokens`` at ``rate_hz``, after ``first_delay_s``; the same ``seed`` gives the same text.

    What is published at once: a token, or, to save messages, ``batch_tokens`` of them, or all that came within
    ``batch_s`` of the first (0: however long it takes), whichever is first.
    """

    tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)] = 200
    rate_hz: Rate = 30.0
    first_delay_s: Delay = 0.5
    batch_tokens: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)] = 1
    batch_s: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 0.0
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32)] = 1


class Open(Ask, frozen=True):
    """What there is of the room's newest answer."""


class Cancel(Ask, frozen=True):
    """End the room's answer where it is."""


_DECODER: Final = msgspec.json.Decoder(Start | Open | Cancel)


class Batch(NamedTuple):
    """Tokens that are published together: the first one's number, how many, and when, in ns from the start."""

    first: int
    size: int
    due_ns: int


def token_due_ns(ask: Start, n: int) -> int:
    """When token ``n``, counted from 0, is there, in ns from the start."""
    return round((ask.first_delay_s + n / ask.rate_hz) * NS_PER_S)


def batches(ask: Start) -> Iterator[Batch]:
    """All tokens of an answer in the batches in which they are published. Pure."""
    first = 0
    while first < ask.tokens:
        closes_ns = token_due_ns(ask, first) + round(ask.batch_s * NS_PER_S) if ask.batch_s else None
        end = first + 1
        while (
            end < ask.tokens
            and end - first < ask.batch_tokens
            and (closes_ns is None or token_due_ns(ask, end) <= closes_ns)
        ):
            end += 1
        full = end == ask.tokens or end - first == ask.batch_tokens
        yield Batch(first, end - first, token_due_ns(ask, end - 1) if full or closes_ns is None else closes_ns)
        first = end


def text_of(ask: Start) -> list[str]:
    """The answer's tokens. Pure."""
    return random.Random(f"answer-{ask.seed}").choices(VOCABULARY, k=ask.tokens)


class Answer:
    """One answer: how far it is, and the task that publishes it."""

    def __init__(self, id_: str, ask: Start, start_ns: int) -> None:
        self.id = id_
        self.ask = ask
        self.start_ns = start_ns
        self.text = text_of(ask)
        self.published = 0
        """Tokens that have been published."""
        self.state = "running"
        self.task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Is more of it to come?"""
        return self.state == "running"

    def shown(self) -> dict[str, Any]:
        """Where it stands, without its text."""
        return {"answer": self.id, "tokens": self.published, "of": self.ask.tokens, "state": self.state}


class Tokens(Service):
    """One answer at a time in each room. Nothing is kept across a restart."""

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self._answers: dict[str, Answer] = {}
        """Room -> its newest answer, the room that asked first at the front."""
        self._running = 0
        self._started = 0

    async def stop(self) -> None:
        tasks = [answer.task for answer in self._answers.values() if answer.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        ask = decoded(data, _DECODER)
        require_member(connection, ask.room)
        match ask:
            case Start():
                return self._start(ask)
            case Open():
                return self._open(ask)
            case Cancel():
                return self._cancel(ask)
            case _:
                assert_never(ask)

    def _start(self, ask: Start) -> dict[str, Any]:
        earlier = self._answers.get(ask.room)
        if earlier is not None and earlier.running:
            raise Refusal("too_many_requests", f"room {ask.room!r} has an answer that runs: cancel it first")
        if self._running >= MAX_RUNNING:
            raise Refusal("too_many_requests", f"{MAX_RUNNING} answers run already", BUSY_RETRY_S)
        self._started += 1
        answer = Answer(f"{ask.room}:{self._started}", ask, now_ns())
        self._answers.pop(ask.room, None)
        self._answers[ask.room] = answer
        self._forget_some()
        self._running += 1
        answer.task = asyncio.ensure_future(self._publish_all(answer))
        return {**answer.shown(), "start_ns": answer.start_ns}

    def _open(self, ask: Open) -> dict[str, Any]:
        answer = self._found(ask.room)
        return {**answer.shown(), "text": "".join(answer.text[: answer.published])}

    def _cancel(self, ask: Cancel) -> dict[str, Any]:
        answer = self._found(ask.room)
        if answer.running and answer.task is not None:
            answer.task.cancel()
            self._end(answer, "cancelled")
        return answer.shown()

    def _found(self, room: str) -> Answer:
        answer = self._answers.get(room)
        if answer is None:
            raise Refusal("not_found", f"room {room!r} has no answer")
        return answer

    async def _publish_all(self, answer: Answer) -> None:
        for first, size, due_ns in batches(answer.ask):
            await self.timer.sleep_until(answer.start_ns + due_ns)
            answer.published = first + size
            text = "".join(answer.text[first : first + size])
            if not self._say(answer, "token", {"answer": answer.id, "n": first, "count": size, "text": text}):
                self._end(answer, "cancelled")
                return
        self._end(answer, "done")

    def _end(self, answer: Answer, state: str) -> None:
        answer.state = state
        self._running -= 1
        self._say(answer, "answer", answer.shown())

    def _say(self, answer: Answer, type_: str, data: dict[str, Any]) -> bool:
        """Publish in the answer's room, also while nobody is in it. Is there still a room?"""
        hub, room = self.context.hub, answer.ask.room
        if room not in hub.rooms or hub.closing:
            return False
        hub.publish(room, msgspec.json.encode(data), type_)
        return True

    def _forget_some(self) -> None:
        """Forget the oldest answers beyond ``MAX_KEPT``; running ones stay, and are fewer."""
        while len(self._answers) > MAX_KEPT:
            del self._answers[next(room for room, answer in self._answers.items() if not answer.running)]
