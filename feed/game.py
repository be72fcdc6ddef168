"""A match as a server simulates it and players see it: positions that follow sticks, tick by tick. Pure.

Everything is whole numbers, so whoever knows the inputs and the ticks at which they were applied knows the match.
Snapshots are MessagePack (https://msgpack.org), since games send binary ones.
"""

from typing import Final, NamedTuple

import msgspec

TICKS_HZ: Final = (20, 30, 60)
MAX_PLAYERS: Final = 16
SIDE: Final = 10_000
"""The field is a square; positions go from 0 to this, in hundredths of a unit."""
SPEED_PER_S: Final = 1_000
"""At full stick."""
STICK: Final = 127
"""The stick's full deflection on an axis, either way."""
EARLY_TICKS: Final = 10
"""How many ticks ahead an input may be."""


class Input(NamedTuple):
    """Where a player's stick is from a tick on. ``n`` counts the player's inputs, from 1."""

    n: int
    tick: int
    dx: int
    dy: int


class Shown(NamedTuple):
    """What a snapshot says of a player: where it is, and its newest input that has been applied (0: none)."""

    x: int
    y: int
    n: int


NOWHERE: Final = Shown(0, 0, 0)


class Snapshot(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A match after a tick: all players, or, after tick ``base``, those who changed and those who are gone.

    ``players``: number, x, y, n; differences if there is a ``base``, and then of a player that is new from zero.
    """

    tick: int
    base: int | None
    players: list[tuple[int, int, int, int]]
    gone: list[int] = []


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Snapshot)


class TooEarlyError(ValueError):
    """The input is for a tick that is too far ahead."""


class FullError(Exception):
    """The match has as many players as it may have."""


class _Player:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y, self.n = x, y, 0
        self.stick = (0, 0)
        self.given = 0
        """The newest input that it has given, applied or not."""
        self.waiting: list[Input] = []

    @property
    def shown(self) -> Shown:
        return Shown(self.x, self.y, self.n)

    def move(self, tick: int, tick_hz: int) -> None:
        """Apply the newest input that is not for later, and move. Older ones than that are never applied."""
        ready = [one for one in self.waiting if one.tick <= tick]
        if ready:
            newest = max(ready)
            self.n, self.stick = newest.n, (newest.dx, newest.dy)
            self.waiting = [one for one in self.waiting if one.tick > tick and one.n > newest.n]
        self.x, self.y = (
            min(SIDE, max(0, at + round(by * SPEED_PER_S / (STICK * tick_hz))))
            for at, by in zip((self.x, self.y), self.stick, strict=True)
        )


class Match:
    """One match. ``tick`` is the newest that was simulated, 0 before the first.

    The rule for inputs: one counts from its tick on, until the player's next. One that comes after its tick counts
    from the next tick on. One that is more than ``EARLY_TICKS`` ahead is refused, and one that is no newer than the
    player's last is left out.
    """

    def __init__(self, tick_hz: int) -> None:
        self.tick_hz = tick_hz
        self.tick = 0
        self._players: dict[int, _Player] = {}
        self._before: dict[int, Shown] = {}
        """As the newest snapshot has them."""

    @property
    def players(self) -> dict[int, Shown]:
        """All players by number, as they are after ``tick``."""
        return {number: player.shown for number, player in self._players.items()}

    def enter(self) -> int:
        """A new player, in the middle of the field: its number. Raises ``FullError``.

        A number is free again once a snapshot has told that its player is gone.
        """
        if len(self._players) == MAX_PLAYERS:
            raise FullError(f"the match has {MAX_PLAYERS} players, as many as it may have")
        taken = {*self._players, *self._before}
        number = next(one for one in range(len(taken) + 1) if one not in taken)
        self._players[number] = _Player(SIDE // 2, SIDE // 2)
        return number

    def leave(self, number: int) -> None:
        """The player is gone, and not in the next snapshot. Raises ``KeyError``."""
        del self._players[number]

    def give(self, number: int, given: Input) -> bool:
        """A player's input; does it count? Raises ``TooEarlyError``, and ``KeyError`` for no player."""
        player = self._players[number]
        if given.tick > self.tick + EARLY_TICKS:
            raise TooEarlyError(f"tick {given.tick}: the match is at {self.tick}, and takes {EARLY_TICKS} ahead")
        if given.n <= player.given:
            return False
        player.given = given.n
        # Of those for one tick only the newest will count, so no more wait than there are ticks.
        at = max(given.tick, self.tick + 1)
        player.waiting = [*(one for one in player.waiting if one.tick != at), given._replace(tick=at)]
        return True

    def step(self) -> None:
        """Simulate the next tick."""
        self.tick += 1
        for player in self._players.values():
            player.move(self.tick, self.tick_hz)

    def snapshot(self, full: bool) -> bytes:
        """The match as it is now, in full or as what changed since the snapshot before. One for each tick, in order."""
        now, before = self.players, {} if full else self._before
        changed = [
            (number, shown.x - was.x, shown.y - was.y, shown.n - was.n)
            for number, shown in now.items()
            if number not in before or shown != before[number]
            for was in (before.get(number, NOWHERE),)
        ]
        gone = [number for number in before if number not in now]
        self._before = now
        return _ENCODER.encode(Snapshot(self.tick, None if full else self.tick - 1, changed, gone))


class View:
    """What a player sees of a match, from its snapshots."""

    def __init__(self) -> None:
        self.tick = -1
        self.players: dict[int, Shown] = {}

    def apply(self, payload: bytes) -> bool:
        """Take the next snapshot; ``False`` if it rests on one that is missing, so that a full one must come first.

        Raises ``msgspec.DecodeError`` for what is no snapshot.
        """
        snapshot = _DECODER.decode(payload)
        if snapshot.base is None:
            self.players = {}
        elif snapshot.base != self.tick:
            return False
        for number, x, y, n in snapshot.players:
            was = self.players.get(number, NOWHERE)
            self.players[number] = Shown(was.x + x, was.y + y, was.n + n)
        for number in snapshot.gone:
            self.players.pop(number, None)
        self.tick = snapshot.tick
        return True
