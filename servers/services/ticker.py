"""Ticker: quotes that change at their own rates, for readers that want what holds now (``feed.ticker``).

``open`` (docs/protocol.md, call) names the room to join: ``ticker`` has every change, ``ticker-1hz`` and the like at
most so many changes a second of each instrument. All of these rooms conflate (``servers.hub.conflation``): whoever
falls behind, or comes back after a cut, gets the newest quote of each instrument and none of the older ones.
"""

import asyncio
from typing import Annotated, Any, Final

import msgspec

from feed.instruments.clock import NS_PER_S, now_ns
from feed.ticker import Quote, TickerOptions, quotes, rates_hz, symbol
from servers.platform.connections import Connection
from servers.platform.service import Service, ServiceContext, decoded

ROOM: Final = "ticker"
RATES_HZ: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Changes per second and instrument, of the rooms that have a limit."""


class Open(msgspec.Struct, frozen=True, tag_field="op", tag="open", forbid_unknown_fields=True):
    """Ask which room has at most ``max_hz`` changes a second of each instrument; without it, the one with all."""

    max_hz: Annotated[float, msgspec.Meta(ge=RATES_HZ[0])] | None = None


_DECODER: Final = msgspec.json.Decoder(Open)


def room_of(rate_hz: float) -> str:
    """The room with at most so many changes a second of each instrument."""
    return f"{ROOM}-{rate_hz:g}hz"


class Ticker(Service):
    """The quotes begin when somebody first joins one of the rooms, and go on until the server stops."""

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self._options: TickerOptions = context.shared.options.get("ticker", TickerOptions())
        self._rooms = {room_of(rate_hz): rate_hz for rate_hz in RATES_HZ}
        self._start_ns = 0
        self._held: dict[int, bytes] = {}
        """Instrument -> its newest quote as JSON."""
        self._filled: dict[str, str] = {}
        """Room -> the epoch of its history that all quotes were put into."""
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: dict[str, dict[int, bytes]] = {room: {} for room in self._rooms}
        """Room with a limit -> what has changed since its last turn."""
        context.hub.conflating.update((ROOM, *self._rooms))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        ask = decoded(data, _DECODER)
        room = ROOM
        if ask.max_hz is not None:
            room = room_of(max(rate_hz for rate_hz in RATES_HZ if rate_hz <= ask.max_hz))
        names = [symbol(instrument) for instrument in range(self._options.instruments)]
        rates = dict(zip(names, rates_hz(self._options), strict=True))
        return {"room": room, "rates_hz": rates, "start_ns": self._start_ns or None}

    def joined(self, connection: Connection, room: str) -> None:
        if room != ROOM and room not in self._rooms:
            return
        if not self._tasks:
            self._start_ns = now_ns()
            self._tasks.append(asyncio.ensure_future(self._publish_all()))
            self._tasks += [asyncio.ensure_future(self._take_turns(*of)) for of in self._rooms.items()]
        epoch = self.context.hub.rooms[room].ring.epoch
        if self._filled.get(room) != epoch:
            self._filled[room] = epoch
            if room in self._changed:
                self._changed[room].clear()
            for instrument, data in self._held.items():
                self._show(room, instrument, data)

    async def _publish_all(self) -> None:
        for quote in quotes(self._options):
            due_ns = self._start_ns + quote.offset_ns
            await self.timer.sleep_until(due_ns)
            data = self._held[quote.instrument] = _shown(quote, due_ns)
            for changed in self._changed.values():
                changed[quote.instrument] = data
            self._show(ROOM, quote.instrument, data)

    async def _take_turns(self, room: str, rate_hz: float) -> None:
        """A turn that comes late puts off those after it, so that two are never closer than the limit allows."""
        changed = self._changed[room]
        while True:
            await self.timer.sleep_until(now_ns() + round(NS_PER_S / rate_hz))
            for instrument, data in changed.items():
                self._show(room, instrument, data)
            changed.clear()

    def _show(self, room: str, instrument: int, data: bytes) -> None:
        """Also while nobody is in the room, as long as it is kept: what comes back must not be old."""
        if room in self.context.hub.rooms and not self.context.hub.closing:
            self.context.hub.publish(room, data, "quote", key=symbol(instrument))


def _shown(quote: Quote, due_ns: int) -> bytes:
    """A quote as clients get it, with the instant since which it holds."""
    return msgspec.json.encode(
        {
            "symbol": symbol(quote.instrument),
            "n": quote.n,
            "bid": quote.bid / 100,
            "ask": quote.ask / 100,
            "size": quote.size,
            "due_ns": due_ns,
        }
    )
