"""A match: the rule for inputs against a model that has them all, and snapshots against the match that they show."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from feed.game import (
    EARLY_TICKS,
    MAX_PLAYERS,
    SIDE,
    SPEED_PER_S,
    STICK,
    TICKS_HZ,
    FullError,
    Input,
    Match,
    Shown,
    TooEarlyError,
    View,
)

sticks = st.integers(-STICK, STICK)


class Modelled:
    """A player by the words of the rule: every input that counts, with the tick from which on it does."""

    def __init__(self, entered: int) -> None:
        self.entered = entered
        self.inputs: list[tuple[int, Input]] = []

    def holding(self, tick: int) -> Input:
        """The newest of those that count by then; an older one never follows a newer one."""
        counting = [given for since, given in self.inputs if since <= tick]
        return max(counting, default=Input(0, 0, 0, 0))

    def shown(self, tick: int, tick_hz: int) -> Shown:
        x = y = SIDE // 2
        for one in range(self.entered + 1, tick + 1):
            held = self.holding(one)
            x = min(SIDE, max(0, x + round(held.dx * SPEED_PER_S / (STICK * tick_hz))))
            y = min(SIDE, max(0, y + round(held.dy * SPEED_PER_S / (STICK * tick_hz))))
        return Shown(x, y, self.holding(tick).n)


class Playing(RuleBasedStateMachine):
    """Players come, go and steer, early, late and repeatedly; readers see every snapshot, or some."""

    @initialize(tick_hz=st.sampled_from(TICKS_HZ))
    def begin(self, tick_hz: int) -> None:
        self.match = Match(tick_hz)
        self.models: dict[int, Modelled] = {}
        self.steady, self.gappy = View(), View()
        self.since_full = 0
        self.match.snapshot(full=True)

    @rule()
    def enter(self) -> None:
        if len(self.models) == MAX_PLAYERS:
            with pytest.raises(FullError, match=str(MAX_PLAYERS)):
                self.match.enter()
            return
        number = self.match.enter()
        assert number not in self.models and number not in self.steady.players, "a number that is still shown"
        self.models[number] = Modelled(self.match.tick)

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.models)))
        self.match.leave(number)
        del self.models[number]

    @precondition(lambda self: self.models)
    @rule(data=st.data(), ahead=st.integers(-3, EARLY_TICKS + 2), n=st.integers(1, 40), dx=sticks, dy=sticks)
    def steer(self, data: st.DataObject, ahead: int, n: int, dx: int, dy: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.models)))
        asked = Input(n, self.match.tick + ahead, dx, dy)
        model = self.models[number]
        if ahead > EARLY_TICKS:
            with pytest.raises(TooEarlyError, match=str(EARLY_TICKS)):
                self.match.give(number, asked)
            return
        newer = n > max((given.n for _, given in model.inputs), default=0)
        assert self.match.give(number, asked) == newer
        if newer:
            model.inputs.append((max(asked.tick, self.match.tick + 1), asked))

    @rule(full=st.booleans(), seen=st.booleans())
    def step(self, full: bool, seen: bool) -> None:
        self.match.step()
        payload = self.match.snapshot(full)
        if self.steady.tick == -1 and not full:
            assert not self.steady.apply(payload), "a delta to nothing"
            return
        assert self.steady.apply(payload)
        assert (self.steady.tick, self.steady.players) == (self.match.tick, self.match.players)
        if seen:
            behind = self.gappy.tick != self.match.tick - 1
            assert self.gappy.apply(payload) == (full or not behind)
            if full or not behind:
                assert self.gappy.players == self.match.players

    @invariant()
    def agrees_with_the_model(self) -> None:
        expected = {number: model.shown(self.match.tick, self.match.tick_hz) for number, model in self.models.items()}
        assert self.match.players == expected


Playing.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
test_playing: Any = Playing.TestCase


def test_a_player_crosses_the_field_in_ten_seconds_at_every_rate() -> None:
    for tick_hz in TICKS_HZ:
        match = Match(tick_hz)
        number = match.enter()
        match.give(number, Input(1, 1, STICK, 0))
        for _ in range(5 * tick_hz):
            match.step()
        assert match.players[number].x == pytest.approx(SIDE, rel=0.01)
        assert match.players[number].y == SIDE // 2


def test_a_snapshot_of_a_full_match_has_the_size_of_a_games() -> None:
    """Real ones have 100 to 400 bytes (docs/scenarios.md)."""
    match = Match(20)
    numbers = [match.enter() for _ in range(MAX_PLAYERS)]
    match.step()
    full = match.snapshot(full=True)
    for number in numbers:
        match.give(number, Input(1, 2, STICK, -STICK))
    match.step()
    delta = match.snapshot(full=False)
    match.step()
    assert 100 < len(delta) < len(full) < 400
    for number in numbers:
        match.give(number, Input(2, 0, 0, 0))
    match.step()
    match.snapshot(full=False)
    match.step()
    assert len(match.snapshot(full=False)) < 20, "nothing moves"


@given(st.binary(max_size=60))
def test_what_is_no_snapshot_is_refused_or_read(payload: bytes) -> None:
    view = View()
    try:
        view.apply(payload)
    except msgspec.DecodeError:
        assert view.tick == -1
