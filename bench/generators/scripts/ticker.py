"""Readers of a ticker (``servers.services.ticker``)."""

from typing import Any, ClassVar, Final

import msgspec

from bench.generators.scripts.script import Script
from feed.envelope import Envelope

BEGAN: Final = "began"
QUOTE: Final = "quote"


class _Quote(msgspec.Struct):
    symbol: str
    n: int


_DECODER: Final = msgspec.json.Decoder(_Quote)


class Ticker(Script):
    """Options: ``max_hz`` of the room to read, 0 for the one with every change."""

    FIELDS: ClassVar = {BEGAN: ("subscriber", "start_ns"), QUOTE: ("subscriber", "instrument", "n", "receive_ns")}

    async def enter(self, index: int) -> None:
        client, max_hz = self.stage.clients[index], self.option("max_hz")
        opened = await self._open(index, {"max_hz": max_hz} if max_hz else {})
        await client.join(opened["room"])
        started = await self._open(index, {})
        self.rows[BEGAN].extend((index, started["start_ns"]))

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        if envelope.type == QUOTE:
            quote = _DECODER.decode(envelope.data)
            self.rows[QUOTE].extend((index, int(quote.symbol.removeprefix("SYM")) - 1, quote.n, receive_ns))

    async def _open(self, index: int, data: dict[str, float]) -> dict[str, Any]:
        client = self.stage.clients[index]
        found: dict[str, Any] = await client.request("call", service="ticker", data={"op": "open", **data})
        return found
