"""Rooms that conflate: whatever a reader reads and when, it ends with the newest of each key and never goes back."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clients.core.session import Session
from feed.cursor import Cursor, CursorError
from feed.envelope import Welcome, decode_envelope, encode_envelope
from feed.wire import Event
from servers.hub.conflation import ConflatingRing
from servers.hub.hub import Hub
from servers.hub.reader import Reader

KEYS = st.sampled_from(["a", "b", "c", ""])


class Conflation(RuleBasedStateMachine):
    """A publisher, and a reader with a client's session behind it that is cut and resumes."""

    @initialize()
    def begin(self) -> None:
        self.hub = Hub(1, 4)
        self.hub.conflating.add("ticker")
        self.room = self.hub.ensure("ticker")
        self.newest: dict[str, int] = {}
        self.shown: dict[str, int] = {}
        self.session = Session()
        self.reader = self._connect()

    def _connect(self) -> Reader:
        reader = Reader(self.room, self.session.cursor, self.hub.counters)
        welcome = reader.welcome()
        assert isinstance(welcome.data, Welcome) and welcome.data.conflated
        assert welcome.data.resume == ("new" if self.session.cursor is None else "resumed")
        self.session.observe(decode_envelope(welcome.json))
        return reader

    @rule(key=KEYS, count=st.integers(1, 6))
    def publish(self, key: str, count: int) -> None:
        for _ in range(count):
            self.newest[key] = self.hub.publish("ticker", b"1", "quote", key=key).seq

    @rule(limit=st.integers(1, 3))
    def read(self, limit: int) -> None:
        delivery = self.reader.take(limit)
        assert delivery.notice is None and len(delivery.events) <= limit
        for event in delivery.events:
            self._show(event)

    @rule()
    def read_to_the_end(self) -> None:
        while events := self.reader.take(2).events:
            for event in events:
                self._show(event)
        assert self.shown == self.newest
        assert self.session.cursor == self.room.ring.tail or not self.newest

    @rule()
    def cut(self) -> None:
        self.reader = self._connect()

    def _show(self, event: Event) -> None:
        assert event.seq > self.shown.get(event.key, 0), "a reader never goes back"
        self.shown[event.key] = event.seq
        self.session.observe(decode_envelope(event.json))

    @invariant()
    def nothing_seems_lost(self) -> None:
        if hasattr(self, "session"):
            session = self.session
            assert (session.silently_lost, session.duplicates, session.gaps, session.missed) == (0, 0, 0, 0)


TestConflation: Any = Conflation.TestCase


def test_a_cursor_of_another_history_is_a_gap_and_everything_held_follows() -> None:
    ring = filled(["a", "b", "a"])
    assert ring.resume(Cursor("deadbeef", 7)) == ("gap", None, 0)
    assert [event.seq for event in ring.after(0)] == [2, 3]
    with pytest.raises(CursorError, match="ahead of the newest event"):
        ring.resume(Cursor("0badcafe", 4))
    with pytest.raises(ValueError, match="no holes"):
        ring.append(Event("quote", Cursor("0badcafe", 5), "r", b"1"))


def test_beyond_its_capacity_the_key_that_is_unchanged_for_longest_is_forgotten() -> None:
    ring = filled(["a", "b", "c", "a", "d"], capacity=3)
    assert [(event.key, event.seq) for event in ring.after(0)] == [("c", 3), ("a", 4), ("d", 5)]
    assert ring.oldest_seq == 3


def test_other_rooms_still_notice_a_hole() -> None:
    session = Session()
    session.observe(decode_envelope(encode_envelope("welcome", "0badcafe-0", "r", Welcome("new", 0))))
    session.observe(decode_envelope(encode_envelope("event", "0badcafe-3", "r", 1)))
    assert session.silently_lost == 2


def filled(keys: list[str], capacity: int = 10) -> ConflatingRing[Event]:
    ring: ConflatingRing[Event] = ConflatingRing("0badcafe", capacity)
    for seq, key in enumerate(keys, 1):
        ring.append(Event("quote", Cursor("0badcafe", seq), "r", b"1", key=key))
    return ring
