"""Requests, their answers, and reading several rooms at once: the pure parts."""

import asyncio
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.reliability.failures import peak_within
from feed.cursor import Cursor
from feed.requests import Publish, RequestError, decode_request, encode_request
from feed.strict import MAX_DEPTH, nesting
from feed.wire import Audience
from servers.gate.admission import Admission
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.gate.limits import LimitOptions, Limits
from servers.gate.origins import Origins
from servers.hub.hub import Hub
from servers.hub.reader import Delivery
from servers.hub.room import Room
from servers.platform.connections import Connection
from servers.platform.namespace import Namespace
from servers.platform.options import ServerOptions
from servers.platform.replies import Reply, ReplyCache
from servers.platform.requests import MAX_WAITING_PER_CONNECTION
from tests.conftest import run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    """How deep a value is nested, the slow way."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (1 if isinstance(value, (dict, list)) else 0) + max(map(depth, inner), default=0)


@given(JSON)
def test_nesting_is_counted_without_parsing(value: Any) -> None:
    assert nesting(json.dumps(value).encode()) == depth(value)
    assert nesting(json.dumps(value, ensure_ascii=False).encode()) == depth(value)


@given(st.binary(max_size=300))
def test_whatever_bytes_come_the_error_is_a_request_error(body: bytes) -> None:
    try:
        decode_request(body)
    except RequestError as error:
        assert str(error)


@given(st.text(string.ascii_letters, min_size=1, max_size=20), JSON)
def test_what_a_client_encodes_a_server_reads(room: str, data: Any) -> None:
    request = decode_request(encode_request("publish", "r1", room=room, data=data if data is not None else 0))
    assert isinstance(request, Publish) and request.room == room and request.id == "r1"
    assert json.loads(bytes(request.data)) == (data if data is not None else 0)


@pytest.mark.parametrize(
    ("body", "named", "id_"),
    [
        ('{"type":"publish","id":"a","data":1}', "exactly one of", "a"),
        ('{"type":"publish","id":"a","data":1,"room":"x","everyone":true}', "exactly one of", "a"),
        ('{"type":"publish","id":"a","data":1,"room":"x","ack_timeout_s":1}', "ack_timeout_s", "a"),
        ('{"type":"publish","id":"a","data":1,"user":"x","ack_timeout_s":31}', "$.ack_timeout_s", "a"),
        ('{"type":"join","id":"a","room":""}', "$.room", "a"),
        ('{"type":"join","id":"a","room":"x","colour":1}', "colour", "a"),
        ('{"type":"join","room":"x"}', "id", ""),
        ('{"type":"join","id":"","room":"x"}', "$.id", ""),
        ('{"type":"dance","id":"a"}', "$.type", "a"),
        ('{"id":"a"}', "type", "a"),
        ("[]", "array", ""),
        ("", "truncated", ""),
        ('{"type":"publish","id":"a","room":"x","data":' + "[" * 40 + "]" * 40 + "}", f"allowed are {MAX_DEPTH}", "a"),
    ],
)
def test_an_error_names_what_was_wrong(body: str, named: str, id_: str) -> None:
    with pytest.raises(RequestError) as error:
        decode_request(body.encode())
    assert named in str(error.value) and error.value.id == id_


def test_replies_are_forgotten_by_age_and_by_number() -> None:
    now = 0.0
    replies = ReplyCache(lambda: now, max_replies=3, max_age_s=10.0)
    for n in range(5):
        replies.keep(("ann", str(n)), b"asked", b"%d" % n)
    assert [replies.find(("ann", str(n)), b"asked") for n in range(5)] == [None, None, b"2", b"3", b"4"]
    assert replies.find(("bob", "4"), b"asked") is None
    with pytest.raises(Refusal, match="another request"):
        replies.find(("ann", "4"), b"asked for something else")
    now = 11.0
    assert replies.find(("ann", "4"), b"asked") is None
    replies.keep(("ann", "5"), b"asked", b"5")
    replies.forget(("ann", "5"))
    assert replies.find(("ann", "5"), b"asked") is None


def test_a_user_without_room_for_an_inbox_is_refused_and_not_kept() -> None:
    async def enter() -> None:
        limits = Limits(LimitOptions())
        hub = Hub(1, 10, max_rooms=1)
        namespace = Namespace("", ServerOptions(transport="sse"), hub, Admission(None, Origins(), limits))
        namespace.enter(Connection(Identity("ann"), "::1"))
        kept = limits.kept
        with pytest.raises(Refusal) as refusal:
            namespace.enter(Connection(Identity("bob"), "::1"))
        assert refusal.value.code == "too_many_rooms"
        connections = namespace.connections
        assert (len(connections.by_client), len(connections.of_user("bob")), limits.kept) == (1, 0, kept)

    asyncio.run(enter())


class Deaf(Connection):
    """Is connected, and receives nothing."""

    def attach(self, room: Room, since: Cursor | None) -> None: ...


def test_waiting_for_many_acknowledgements_leaves_room_for_others() -> None:
    async def ask() -> None:
        limits = Limits(LimitOptions(message_burst=1000, user_message_burst=1000))
        namespace = Namespace("", ServerOptions(transport="sse"), Hub(1, 10), Admission(None, Origins(), limits))
        ann, bob = (Deaf(Identity(user), "::1", user) for user in ("ann", "bob"))
        for connection in (ann, bob):
            namespace.enter(connection)

        def publish(connection: Connection, id_: int) -> Reply:
            asked = {"type": "publish", "id": str(id_), "user": "bob", "data": 1, "ack_timeout_s": 30}
            return namespace.requests.handle(connection, json.dumps(asked).encode())

        waiting = [publish(ann, n) for n in range(MAX_WAITING_PER_CONNECTION)]  # in one turn of the loop
        refused = publish(ann, 1000)
        assert isinstance(refused, bytes) and b"too_many_requests" in refused
        waiting.append(publish(bob, 1))
        assert all(isinstance(one, asyncio.Task) and not one.done() for one in waiting)

    asyncio.run(ask())


@given(st.lists(st.floats(0, 100)), st.floats(0.1, 10))
def test_the_peak_within_a_window(times: list[float], width: float) -> None:
    times.sort()
    slow = max((sum(start <= time <= start + width for time in times) for start in times), default=0)
    assert abs(peak_within(times, width) - slow) <= 1  # a time that lies on the window's edge, rounded
    assert peak_within(times, 1e9) == len(times)


class Everything:
    """Reads all rooms, is nobody."""

    def __init__(self, *skipped: str) -> None:
        self._skipped = skipped

    def receives(self, room: str, audience: Audience) -> bool:
        return room not in self._skipped


@given(st.lists(st.sampled_from(["feed", "a", "b"]), max_size=40), st.integers(1, 5))
def test_a_reader_of_several_rooms_gets_all_of_each_in_order(published: list[str], limit: int) -> None:
    async def body() -> None:
        hub = Hub(rooms=1, history=100)
        reader = hub.subscribe("feed", None)
        with reader:
            for name in ("a", "b"):
                reader.add(hub.ensure(name), None)
            for name in published:
                hub.publish(name, b"{}")
            got: dict[str, list[int]] = {"feed": [], "a": [], "b": []}
            notices: list[tuple[str, str]] = []
            while sum(map(len, got.values())) < len(published) or len(notices) < 2:
                delivery: Delivery = await asyncio.wait_for(reader.next(limit), 60)
                assert len(delivery.events) <= limit
                if delivery.notice is not None:
                    notices.append((delivery.notice.type, delivery.notice.room))
                    assert not got[delivery.notice.room], "a welcome comes before the events"
                for event in delivery.events:
                    got[event.room].append(event.seq)
        assert sorted(notices) == [("welcome", "a"), ("welcome", "b")]
        for name, seqs in got.items():
            assert seqs == list(range(1, published.count(name) + 1))
        assert all(not room.listeners for room in hub.rooms.values())

    run(body())


def test_what_is_not_for_a_reader_is_skipped_without_a_hole() -> None:
    hub = Hub(rooms=1, history=10)
    reader = hub.subscribe("feed", None)
    reader.selects = Everything("feed")
    hub.publish("feed", b"{}", audience=Audience("me", ()))
    assert [event.type for event in reader.take().events] == ["skip"]
    hub.publish("feed", b"{}")
    hub.publish("feed", b"{}", audience=Audience("me", ()))
    assert [(event.type, event.seq) for event in reader.take().events] == [("event", 2), ("skip", 3)]


def test_a_room_that_was_dropped_comes_back_with_another_epoch() -> None:
    hub = Hub(rooms=1, history=10, max_rooms=1)
    first = hub.ensure("tea")
    hub.publish("tea", b"{}")
    cursor = first.ring.tail
    hub.drop("tea")
    hub.drop("feed")
    assert "tea" not in hub.rooms and "feed" in hub.rooms
    again = hub.ensure("tea")
    assert again.ring.resume(cursor).verdict == "gap"


def test_replies_are_bounded_in_bytes_those_of_tasks_once_they_have_come() -> None:
    async def body() -> None:
        replies = ReplyCache(lambda: 0.0, max_bytes=100)

        def kept() -> list[int]:
            return [n for n in range(6) if replies.find(("c", str(n)), b"request") is not None]

        for n in range(4):
            replies.keep(("c", str(n)), b"request", b"x" * 40)
        assert kept() == [2, 3]
        task = asyncio.ensure_future(asyncio.sleep(0, b"x" * 40))
        replies.keep(("c", "4"), b"request", task)
        assert kept() == [2, 3, 4], "nothing has come yet"
        replies.settle(("c", "4"), await task)
        assert kept() == [3, 4] and replies.find(("c", "4"), b"request") == b"x" * 40
        replies.forget(("c", "3"))
        replies.settle(("c", "unknown"), b"x" * 400)
        replies.keep(("c", "5"), b"request", b"x" * 60)
        assert kept() == [4, 5]
        replies.keep(("c", "1"), b"request", b"x" * 101)
        assert kept() == [], "larger than all may be"

    asyncio.run(body())
