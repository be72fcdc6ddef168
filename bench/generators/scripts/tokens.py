"""Readers of answers that come token by token (``servers.services.tokens``): the first of each room asks for it."""

import asyncio
from typing import ClassVar, Final

import msgspec

from bench.generators.scripts.script import Script, Stage
from clients.core.errors import ClientError
from feed.envelope import Envelope
from feed.instruments.clock import NS_PER_S, now_ns

ANSWER: Final = "answer"
TOKEN: Final = "token"


class _Token(msgspec.Struct):
    n: int
    count: int


_DECODER: Final = msgspec.json.Decoder(_Token)


class Tokens(Script):
    """Options: ``readers`` of each answer, ``asked_within_s``, and those of the request ``start``.

    With a ``cut_share`` over 0 all connections are cut once, when so much of the answers is there.
    """

    FIELDS: ClassVar = {
        ANSWER: ("subscriber", "asked_ns", "start_ns"),
        TOKEN: ("subscriber", "n", "count", "receive_ns"),
    }

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._to_ask: set[int] = set()
        self._all_asked = asyncio.Event()

    async def enter(self, index: int) -> None:
        if index % self.option("readers") == 0:
            self._to_ask.add(index)
        await self.stage.clients[index].join(self._room(index))

    async def act(self, index: int, start_ns: int) -> None:
        if index % self.option("readers") == 0:
            await self._ask(index, start_ns)
            self._to_ask.discard(index)
            if not self._to_ask:
                self._all_asked.set()
        if self.option("cut_share") and index == min(self.stage.clients):
            await self.stage.timer.sleep_until(start_ns + round(self._cut_s() * NS_PER_S))
            await self._all_asked.wait()  # a question that is cut on its way is asked by nobody
            self.stage.cut()

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        if envelope.type == TOKEN:
            token = _DECODER.decode(envelope.data)
            self.rows[TOKEN].extend((index, token.n, token.count, receive_ns))

    async def _ask(self, index: int, start_ns: int) -> None:
        within_s = self.option("asked_within_s")
        await self.stage.timer.sleep_until(start_ns + round(self.draw(index).random() * within_s * NS_PER_S))
        asked_ns = now_ns()
        try:
            started = await self.stage.clients[index].request("call", service="tokens", data=self._start(index))
        except (ClientError, TimeoutError):
            return  # its tokens count as lost
        self.rows[ANSWER].extend((index, asked_ns, started["start_ns"]))

    def _cut_s(self) -> float:
        """Of the answers that are asked for half-way through the time in which they are."""
        answer_s = self.option("first_delay_s") + self.option("cut_share") * self.option("tokens") / self.option(
            "rate_hz"
        )
        return float(self.option("asked_within_s") / 2 + answer_s)

    def _room(self, index: int) -> str:
        return f"answer-{index // self.option('readers')}"

    def _start(self, index: int) -> dict[str, object]:
        names = ("tokens", "rate_hz", "first_delay_s", "batch_tokens", "batch_s")
        return {"op": "start", "room": self._room(index), **{name: self.option(name) for name in names}}
