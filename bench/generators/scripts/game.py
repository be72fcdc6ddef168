"""Players of matches (``servers.services.game``) who steer once a tick, and read every snapshot."""

import asyncio
from typing import Any, ClassVar, Final

import msgspec

from bench.generators.scripts.script import Script, Stage
from clients.core.errors import ClientError
from feed.envelope import Envelope
from feed.game import MAX_PLAYERS, NOWHERE, STICK, View
from feed.instruments.clock import NS_PER_S

INPUT: Final = "input"
SNAPSHOT: Final = "snapshot"


class _Shown(msgspec.Struct):
    due_ns: int


_DECODER: Final = msgspec.json.Decoder(_Shown)


class Game(Script):
    """Options: ``tick_hz`` and ``snapshots`` of the matches, and ``plays_s``, after which nobody steers."""

    FIELDS: ClassVar = {
        INPUT: ("subscriber", "n", "due_ns", "answered"),
        SNAPSHOT: ("subscriber", "tick", "due_ns", "own_n", "receive_ns"),
    }

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self._numbers: dict[int, int] = {}
        """Subscriber -> its player's number."""
        self._views: dict[int, View] = {}
        self._seen: dict[int, asyncio.Event] = {}
        """Subscriber -> set once it has seen a full snapshot, on which all others rest."""

    async def enter(self, index: int) -> None:
        """Until the match can be shown, which takes up to a second."""
        self._views[index], self._seen[index] = View(), asyncio.Event()
        client, room = self.stage.clients[index], self._room(index)
        await client.join(room)
        asked = {"tick_hz": self.option("tick_hz"), "snapshots": self.option("snapshots")}
        data = {"op": "enter", "room": room, **asked}
        self._numbers[index] = (await client.request("call", service="game", data=data))["player"]
        await self._seen[index].wait()

    async def act(self, index: int, start_ns: int) -> None:
        """Open loop: one input within each tick, at any instant of it, so that no phase is that of the whole trial."""
        draw, period_ns = self.draw(index), NS_PER_S / self.option("tick_hz")
        async with asyncio.TaskGroup() as inputs:
            for n in range(round(self.option("plays_s") * self.option("tick_hz"))):
                due_ns = round(start_ns + (n + draw.random()) * period_ns)
                await self.stage.timer.sleep_until(due_ns)
                stick = {"dx": draw.randint(-STICK, STICK), "dy": draw.randint(-STICK, STICK)}
                inputs.create_task(self._steer(index, n + 1, due_ns, stick))

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        view = self._views[index]
        if envelope.type == SNAPSHOT and view.apply(envelope.payload):
            self._seen[index].set()
            due_ns = _DECODER.decode(envelope.data).due_ns
            own = view.players.get(self._numbers.get(index, -1), NOWHERE)
            self.rows[SNAPSHOT].extend((index, view.tick, due_ns, own.n, receive_ns))

    async def _steer(self, index: int, n: int, due_ns: int, stick: dict[str, Any]) -> None:
        """For the next tick, whichever it is when the input comes."""
        data = {"op": "input", "room": self._room(index), "n": n, "tick": 0, **stick}
        answered = 0
        try:
            await self.stage.clients[index].request("call", service="game", data=data)
            answered = 1
        except (ClientError, TimeoutError):
            pass  # is counted
        finally:
            self.rows[INPUT].extend((index, n, due_ns, answered))

    def _room(self, index: int) -> str:
        return f"match-{index // MAX_PLAYERS}"
