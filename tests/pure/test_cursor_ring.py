"""Cursors, room names and the ring of a room, against a plain list."""

import string
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.cursor import Cursor, CursorError, new_epoch, parse_cursor
from feed.rooms import DEFAULT_ROOM, MAX_ROOMS, RoomNameError, check_room, room_name
from servers.hub.ring import MAX_HISTORY, Resume, Ring

PURE = settings(deadline=None, derandomize=True, database=None)

EPOCHS = st.text("0123456789abcdef", min_size=8, max_size=8)
CURSORS = st.builds(Cursor, EPOCHS, st.integers(0, 10**18 - 1))
FIRST = string.ascii_letters + string.digits
NEAR_CURSORS = st.one_of(
    st.text(max_size=60),
    st.text("0123456789abcdefABCDEF-+ _\n.٣", max_size=30),
    st.tuples(CURSORS, st.integers(0, 28), st.sampled_from(["", " ", "\n", "-", "0", "x", "٣", "\0"])).map(
        lambda parts: str(parts[0])[: parts[1]] + parts[2] + str(parts[0])[parts[1] :]
    ),
)


class Numbered(NamedTuple):
    """All that a ring asks of an event."""

    seq: int


def is_cursor(text: str) -> bool:
    """The documented form, said without a regular expression."""
    epoch, dash, seq = text.partition("-")
    hexadecimal = len(epoch) == 8 and set(epoch) <= set("0123456789abcdef")
    decimal = 1 <= len(seq) <= 18 and set(seq) <= set(string.digits) and (seq == "0" or seq[0] != "0")
    return hexadecimal and dash == "-" and decimal


@PURE
@given(CURSORS)
def test_a_cursor_survives_its_text(cursor: Cursor) -> None:
    assert parse_cursor(str(cursor)) == cursor


@PURE
@given(NEAR_CURSORS)
def test_any_other_text_is_refused_with_the_form(text: str) -> None:
    if is_cursor(text):
        assert str(parse_cursor(text)) == text
        return
    with pytest.raises(CursorError, match="8 hexadecimal digits") as refusal:
        parse_cursor(text)
    assert len(str(refusal.value)) < 400


def test_a_new_epoch_makes_a_cursor_and_another_one_each_time() -> None:
    epochs = {new_epoch() for _ in range(100)}
    assert len(epochs) == 100
    assert all(parse_cursor(f"{epoch}-0") == (epoch, 0) for epoch in epochs)


@PURE
@given(st.text(FIRST, min_size=1, max_size=1), st.text(FIRST + "_.:-", max_size=63))
def test_a_room_name_is_returned_as_it_is(first: str, rest: str) -> None:
    assert check_room(first + rest) == first + rest


@PURE
@given(st.one_of(st.text(max_size=70), st.text(FIRST + "_.:-/ \né", max_size=70)))
def test_any_other_room_name_is_refused(name: str) -> None:
    allowed = 1 <= len(name) <= 64 and set(name) <= set(FIRST + "_.:-") and name[0] in FIRST
    if allowed:
        assert check_room(name) == name
    else:
        with pytest.raises(RoomNameError, match="is not a room name"):
            check_room(name)


def test_the_rooms_of_a_feed_have_distinct_allowed_names() -> None:
    names = [check_room(room_name(index)) for index in range(MAX_ROOMS)]
    assert names[:3] == [DEFAULT_ROOM, "feed-1", "feed-2"]
    assert len(set(names)) == MAX_ROOMS


@PURE
@given(st.integers(1, 12), st.integers(0, 40), st.data())
def test_a_ring_answers_like_a_plain_list(capacity: int, appended: int, data: st.DataObject) -> None:
    ring: Ring[Numbered] = Ring("0badcafe", capacity)
    everything: list[Numbered] = []
    for _ in range(appended):
        everything.append(Numbered(len(everything) + 1))
        ring.append(everything[-1])
        _compare(ring, everything, capacity, data.draw(st.integers(0, len(everything))))
    for since in range(appended + 1):
        _compare(ring, everything, capacity, since)


def _compare(ring: Ring[Numbered], everything: list[Numbered], capacity: int, since: int) -> None:
    held = everything[-capacity:]
    newer = [event for event in held if event.seq > since]
    gone = sum(event.seq > since for event in everything) - len(newer)
    assert ring.tail == Cursor("0badcafe", len(everything))
    assert ring.oldest_seq == (held[0].seq if held else 1)
    assert ring.missed(since) == gone
    assert ring.after(since) == newer
    assert len(ring.after(0)) <= capacity
    resume = ring.resume(Cursor("0badcafe", since))
    assert resume == (Resume("gap", gone, held[0].seq - 1) if gone else Resume("resumed", 0, since))
    assert ring.after(resume.seq) == newer, "what a resumed subscriber reads on"
    assert ring.resume(None) == Resume("new", 0, len(everything))


@PURE
@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 40), st.integers(0, 15))
def test_a_limit_takes_the_oldest_and_reading_on_takes_the_rest(
    capacity: int, appended: int, since: int, limit: int
) -> None:
    ring = _filled(capacity, appended)
    whole = ring.after(since)
    assert ring.after(since, limit) == whole[:limit]
    if not limit:
        return
    pieces: list[Numbered] = []
    at = since
    while piece := ring.after(at, limit):
        pieces += piece
        at = piece[-1].seq
    assert pieces == whole


@PURE
@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 10**18 - 1), EPOCHS)
def test_a_foreign_epoch_is_a_gap_of_unknown_size_and_all_that_is_held(
    capacity: int, appended: int, seq: int, epoch: str
) -> None:
    ring = _filled(capacity, appended)
    if epoch == ring.epoch:
        return
    resume = ring.resume(Cursor(epoch, seq))
    assert (resume.verdict, resume.missed) == ("gap", None)
    assert [event.seq for event in ring.after(resume.seq)] == list(range(max(1, appended - capacity + 1), appended + 1))


@PURE
@given(st.integers(1, 12), st.integers(0, 40), st.integers(1, 10**17))
def test_a_cursor_from_the_future_is_refused(capacity: int, appended: int, ahead: int) -> None:
    ring = _filled(capacity, appended)
    with pytest.raises(CursorError, match="ahead of the newest event"):
        ring.resume(Cursor(ring.epoch, appended + ahead))


@PURE
@given(st.integers(1, 12), st.integers(0, 40), st.integers(-5, 60))
def test_only_the_next_number_is_taken(capacity: int, appended: int, seq: int) -> None:
    ring = _filled(capacity, appended)
    if seq == appended + 1:
        return
    with pytest.raises(ValueError, match="no holes"):
        ring.append(Numbered(seq))
    assert ring.tail.seq == appended
    assert [event.seq for event in ring.after(0)] == list(range(max(1, appended - capacity + 1), appended + 1))


@pytest.mark.parametrize("capacity", [-1, 0, MAX_HISTORY + 1])
def test_a_history_out_of_bounds_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and {MAX_HISTORY}"):
        Ring("0badcafe", capacity)


def _filled(capacity: int, appended: int) -> Ring[Numbered]:
    ring: Ring[Numbered] = Ring("0badcafe", capacity)
    for seq in range(1, appended + 1):
        ring.append(Numbered(seq))
    return ring
