"""Game: matches that the server simulates at a fixed tick, and shows to all members of a room, tick by tick.

A member of a room asks (docs/protocol.md, call): ``enter`` to play, ``input`` for where its stick is, ``open`` for the
match as it is. After each tick the room gets a ``snapshot``, whose payload is MessagePack (``feed.game``).
"""

import asyncio
import logging
from typing import Annotated, Any, ClassVar, Final, Literal, assert_never

import msgspec

from feed.game import STICK, FullError, Input, Match, TooEarlyError
from feed.instruments.clock import NS_PER_S, now_ns
from feed.requests import Name
from servers.gate.errors import Refusal
from servers.platform.connections import Connection
from servers.platform.membership import require_member
from servers.platform.service import Service, ServiceContext, decoded

MAX_MATCHES: Final = 200
"""Matches of a namespace at once."""
BUSY_RETRY_S: Final = 1.0
FULL_EVERY_S: Final = 1.0
"""How often a snapshot is a full one where the others are differences."""
MAX_BEHIND_S: Final = 1.0
"""A match that is further behind its ticks does not hurry through them: its ticks are that much later from then on."""
MAX_COUNT: Final = 2**31 - 1

_log: Final = logging.getLogger("pushmark")

Axis = Annotated[int, msgspec.Meta(ge=-STICK, le=STICK)]


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower, forbid_unknown_fields=True):
    """What all requests have in common: the room of the match, which the caller has joined."""

    room: Name


class Enter(Ask, frozen=True):
    """Play. Whoever enters first decides how the match goes; for the others it is as it is."""

    tick_hz: Literal[20, 30, 60] = 20
    snapshots: Literal["full", "delta"] = "delta"


class Steer(Ask, frozen=True, tag="input"):
    """Where the caller's stick is from a tick on. ``n`` counts its inputs, from 1."""

    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    tick: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
    dx: Axis
    dy: Axis


class Open(Ask, frozen=True):
    """The match as it is."""


_DECODER: Final = msgspec.json.Decoder(Enter | Steer | Open)


class Running:
    """A match that runs, and who plays in it."""

    def __init__(self, ask: Enter, start_ns: int) -> None:
        self.room = ask.room
        self.snapshots = ask.snapshots
        self.match = Match(ask.tick_hz)
        self.start_ns = start_ns
        """The instant of tick 0."""
        self.numbers: dict[str, int] = {}
        """Client -> its player's number."""
        self.task: asyncio.Task[None] | None = None

    def due_ns(self, tick: int) -> int:
        """When a tick is due."""
        return self.start_ns + tick * NS_PER_S // self.match.tick_hz

    def shown(self) -> dict[str, Any]:
        """The match for those who have not followed it."""
        players = [[number, *shown] for number, shown in self.match.players.items()]
        return {
            "tick": self.match.tick,
            "tick_hz": self.match.tick_hz,
            "snapshots": self.snapshots,
            "start_ns": self.start_ns,
            "players": players,
        }


class Game(Service):
    """One match in each room, for as long as somebody plays."""

    messages_hz: ClassVar = 60.0

    def __init__(self, context: ServiceContext) -> None:
        super().__init__(context)
        self._matches: dict[str, Running] = {}

    async def stop(self) -> None:
        tasks = [running.task for running in self._matches.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def left(self, connection: Connection, room: str, reason: str) -> None:
        """A player that is gone is in no snapshot from the next tick on."""
        running = self._matches.get(room)
        if running is not None and connection.client in running.numbers:
            running.match.leave(running.numbers[connection.client])
            self._release(running, connection.client)

    def _release(self, running: Running, client: str) -> None:
        """The client does not play there any more; who plays nowhere needs no more requests than others."""
        del running.numbers[client]
        connection = self.context.connections.by_client.get(client)
        if connection is not None and not any(client in of.numbers for of in self._matches.values()):
            connection.more_messages_hz = 0.0

    def call(self, connection: Connection, data: msgspec.Raw) -> dict[str, Any]:
        ask = decoded(data, _DECODER)
        require_member(connection, ask.room)
        match ask:
            case Enter():
                return self._enter(connection, ask)
            case Steer():
                return self._steer(connection, ask)
            case Open():
                return self._found(ask.room).shown()
            case _:
                assert_never(ask)

    def _enter(self, connection: Connection, ask: Enter) -> dict[str, Any]:
        running = self._matches.get(ask.room) or self._begin(ask)
        number = running.numbers.get(connection.client)
        if number is None:
            try:
                number = running.match.enter()
            except FullError as error:
                raise Refusal("too_many_requests", f"room {ask.room!r}: {error}", BUSY_RETRY_S) from error
            running.numbers[connection.client] = number
            connection.more_messages_hz = self.messages_hz
        return {"player": number, **running.shown()}

    def _begin(self, ask: Enter) -> Running:
        if len(self._matches) >= MAX_MATCHES:
            raise Refusal("too_many_requests", f"{MAX_MATCHES} matches run already", BUSY_RETRY_S)
        running = self._matches[ask.room] = Running(ask, now_ns())
        running.task = asyncio.ensure_future(self._run(running))
        return running

    def _steer(self, connection: Connection, ask: Steer) -> dict[str, Any]:
        running = self._found(ask.room)
        number = running.numbers.get(connection.client)
        if number is None:
            raise Refusal("not_joined", f"enter the match of room {ask.room!r} first")
        try:
            counts = running.match.give(number, Input(ask.n, ask.tick, ask.dx, ask.dy))
        except TooEarlyError as error:
            raise Refusal("bad_request", str(error)) from error
        return {"tick": running.match.tick, "counts": counts}

    def _found(self, room: str) -> Running:
        running = self._matches.get(room)
        if running is None:
            raise Refusal("not_found", f"room {room!r} has no match")
        return running

    async def _run(self, running: Running) -> None:
        """Simulate and show each tick when it is due, until nobody plays."""
        match = running.match
        full_every = round(FULL_EVERY_S * match.tick_hz)
        try:
            while running.numbers:
                await self.timer.sleep_until(running.due_ns(match.tick + 1))
                behind_ns = now_ns() - running.due_ns(match.tick + 1)
                if behind_ns > MAX_BEHIND_S * NS_PER_S:
                    running.start_ns += behind_ns
                match.step()
                full = running.snapshots == "full" or match.tick % full_every == 1
                self._show(running, match.snapshot(full))
        except Exception:
            _log.exception("match failed", extra={"room": running.room})
        finally:
            del self._matches[running.room]
            for client in tuple(running.numbers):
                self._release(running, client)

    def _show(self, running: Running, payload: bytes) -> None:
        if running.room in self.context.members and not self.context.hub.closing:
            due_ns = running.due_ns(running.match.tick)
            self.context.hub.publish(running.room, msgspec.json.encode({"due_ns": due_ns}), "snapshot", payload=payload)
