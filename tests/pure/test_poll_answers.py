"""What a poller makes of an answer: the notice of its own room, whatever stands before that room's events."""

from typing import Any

import msgspec
import pytest

from clients.http.polls import _unpack
from feed.envelope import decode_envelope, encode_envelope


def answer(resume: str, *entries: tuple[str, str, str]) -> Any:
    events = [{"type": type_, "id": id_, "room": room, "data": {}} for type_, id_, room in entries]
    return decode_envelope(
        encode_envelope("batch", "aaaa0000-9", "feed", {"resume": resume, "missed": None, "events": events})
    )


@pytest.mark.parametrize(
    ("entries", "start"),
    [
        ((), "aaaa0000-9"),
        ((("event", "aaaa0000-8", "feed"), ("event", "aaaa0000-9", "feed")), "aaaa0000-7"),
        ((("welcome", "bbbb0000-0", "tea"),), "aaaa0000-9"),
        ((("welcome", "bbbb0000-0", "tea"), ("event", "aaaa0000-9", "feed")), "aaaa0000-8"),
        ((("message", "bbbb0000-5", "tea"), ("event", "aaaa0000-4", "feed")), "aaaa0000-3"),
    ],
)
@pytest.mark.parametrize(("resume", "first", "type_"), [("new", True, "welcome"), ("gap", False, "gap")])
def test_the_notice_stands_before_the_first_event_of_its_own_room(
    entries: tuple[tuple[str, str, str], ...], start: str, resume: str, first: bool, type_: str
) -> None:
    notice, *events = _unpack(answer(resume, *entries), first)
    assert (notice.type, notice.room, notice.id) == (type_, "feed", start)
    assert [(event.type, event.id, event.room) for event in events] == list(entries)


def test_an_answer_that_goes_on_has_no_notice() -> None:
    (event,) = _unpack(answer("resumed", ("event", "aaaa0000-9", "feed")), False)
    assert event.id == "aaaa0000-9" and msgspec.json.decode(event.data) == {}
