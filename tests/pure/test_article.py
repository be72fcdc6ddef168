"""The article's vocabulary of Socket.IO: whatever is emitted becomes requests that are valid, or an error by name."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.cursor import Cursor
from feed.envelope import decode_envelope
from feed.requests import RequestError, decode_request
from feed.wire import BinaryEvent, Event
from servers.http.socketio_article import DOCUMENT, EVENTS, ArticleError, answer_of, requests_of, told_of
from servers.services.documents import Naive
from tests.pure.test_requests import JSON

ACCEPTED = {
    "room:join": ['"tea"', '{"roomId": "tea", "at": 1}'],
    "room:leave": ['"tea"'],
    "chat:send": [
        '{"roomId": "tea", "content": "x"}',
        '{"roomId": "tea", "text": "x"}',
        '{"roomId": "tea", "message": "x"}',
    ],
    "typing:start": ['"tea"'],
    "typing:stop": ['"tea"'],
    "doc:join": ["null", '"whatever"'],
    "doc:operation": [
        '{"type": "insert", "position": 0, "text": "x"}',
        '{"type": "delete", "position": 0, "length": 1}',
    ],
    "doc:cursor": ["7", '{"position": 7}'],
}
REFUSED = {
    "room:join": ["null", "1", "{}", '{"roomId": 1}', '["tea"]', '"tea'],
    "chat:send": ['"hello"', '{"content": "x"}', '{"roomId": "tea", "content": 1}'],
    "typing:start": ["null"],
    "doc:operation": ['{"type": "replace", "position": 0}', '{"type": "insert"}', '{"type": "insert", "position": -1}'],
    "doc:cursor": ["1e400", "[" * 40 + "]" * 40, "\xff"],
}


def event(type_: str, data: object, payload: bytes = b"", room: str = DOCUMENT) -> Event:
    cursor, body = Cursor(1, 1), msgspec.json.encode(data)
    return BinaryEvent(type_, cursor, room, body, None, "", payload) if payload else Event(type_, cursor, room, body)


@pytest.mark.parametrize(("name", "argument"), [(name, one) for name, all_ in ACCEPTED.items() for one in all_])
def test_every_event_is_one_request_or_more(name: str, argument: str) -> None:
    requests = [decode_request(one) for one in requests_of(name, argument.encode())]
    assert requests and len({one.id for one in requests}) == len(requests)
    assert list(ACCEPTED) == list(EVENTS)


@pytest.mark.parametrize(("name", "argument"), [(name, one) for name, all_ in REFUSED.items() for one in all_])
def test_what_an_event_must_not_carry_is_said_by_name(name: str, argument: str) -> None:
    with pytest.raises(ArticleError, match=name):
        requests_of(name, argument.encode("latin-1"))


@given(name=st.sampled_from(list(EVENTS)), argument=JSON.map(msgspec.json.encode) | st.binary(max_size=40))
def test_whatever_is_emitted_is_taken_or_refused(name: str, argument: bytes) -> None:
    try:
        requests = requests_of(name, argument)
    except ArticleError as error:
        assert name in str(error)
        return
    for request in requests:
        try:
            decode_request(request)
        except RequestError as error:
            assert "room" in str(error)  # of a form that no room has


def test_an_operation_is_an_edit_of_the_naive_engine() -> None:
    document = Naive()
    for argument in (b'{"type":"insert","position":0,"text":"brave"}', b'{"type":"delete","position":0,"length":2}'):
        (request,) = requests_of("doc:operation", argument)
        call = msgspec.json.decode(request)
        document.apply(msgspec.convert(call["payload"], bytes))
    assert document.text == "ave"


def test_an_edit_that_deletes_and_inserts_is_two_operations() -> None:
    edit = event("update", {"from": "c1", "update": 1}, msgspec.msgpack.encode((3, 2, "xy")))
    told = list(told_of(edit, lambda client: f"user of {client}"))
    assert [one.argument for one in told] == [
        {"userId": "user of c1", "type": "delete", "position": 3, "length": 2},
        {"userId": "user of c1", "type": "insert", "position": 3, "text": "xy"},
    ]


@pytest.mark.parametrize(
    "unnamed",
    [
        event("event", {"n": 1, "due_ns": 1}),
        event("read", {"user": "ann", "seq": 1}),
        event("message", {"message": "7f", "from": "c1", "user": "ann", "data": {"text": "published past the chat"}}),
        event("awareness", {"from": "c1"}, b"\x01\x02"),
        event("update", {"from": "c1", "update": 1}, b"of another room", room="tea"),
    ],
)
def test_what_the_article_has_no_name_for_is_not_told(unnamed: Event) -> None:
    assert not list(told_of(unnamed, str))


def test_an_acknowledgement_says_success_or_why_not() -> None:
    def said(reply: str) -> object:
        return msgspec.json.decode(answer_of(reply.encode()))

    ack = '{"type": "ack", "id": "1", "room": "", "data": {"message": "chat:tea:1", "seq": 1}}'
    assert decode_envelope(ack.encode()).type == "ack"
    assert said(ack) == {"success": True, "messageId": "chat:tea:1"}
    assert said('{"type": "ack", "id": "1", "room": "tea", "data": {"members": 1}}') == {"success": True}
    error = '{"type": "error", "id": "1", "room": "", "data": {"code": "not_joined", "message": "join it first"}}'
    assert said(error) == {"success": False, "error": "join it first"}
