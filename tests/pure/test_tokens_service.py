"""How an answer's tokens are spread over time and batches, and the service's bounds."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.envelope import decode_envelope
from feed.instruments.clock import NS_PER_S, Timer
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.hub.hub import Hub
from servers.platform.connections import Connection, Connections
from servers.platform.service import ServiceContext, Shared
from servers.services import tokens
from servers.services.tokens import Start, batches, text_of, token_due_ns
from tests.conftest import until

starts = st.builds(
    Start,
    room=st.just("tea"),
    tokens=st.integers(1, 300),
    rate_hz=st.floats(0.1, 1000.0),
    first_delay_s=st.floats(0.0, 300.0),
    batch_tokens=st.integers(1, 50),
    batch_s=st.floats(0.0, 60.0) | st.just(0.0),
    seed=st.integers(0, 2**32),
)


@given(starts)
def test_every_token_is_published_once_and_none_before_it_is_there(ask: Start) -> None:
    made = list(batches(ask))
    assert [n for batch in made for n in range(batch.first, batch.first + batch.size)] == list(range(ask.tokens))
    assert all(1 <= batch.size <= ask.batch_tokens for batch in made)
    assert all(batch.due_ns >= token_due_ns(ask, batch.first + batch.size - 1) for batch in made)
    assert all(a.due_ns <= b.due_ns for a, b in pairwise(made))
    if ask.batch_s:
        longest_ns = ask.batch_s * NS_PER_S + 1
        assert all(batch.due_ns - token_due_ns(ask, batch.first) <= longest_ns for batch in made)


@given(starts)
def test_the_same_seed_is_the_same_text_of_4_to_8_bytes_a_token(ask: Start) -> None:
    text = text_of(ask)
    assert text == text_of(ask) and len(text) == ask.tokens
    assert all(4 <= len(token.encode()) <= 8 for token in text)


def test_batches_close_when_full_or_when_their_time_is_over() -> None:
    one = Start("tea", tokens=7, rate_hz=100.0, first_delay_s=1.0)
    at_ms = [[batch.size, batch.due_ns // 10**6] for batch in batches(one)]
    assert at_ms == [[1, 1000], [1, 1010], [1, 1020], [1, 1030], [1, 1040], [1, 1050], [1, 1060]]
    by_three = msgspec.structs.replace(one, batch_tokens=3)
    assert [[batch.size, batch.due_ns // 10**6] for batch in batches(by_three)] == [[3, 1020], [3, 1050], [1, 1060]]
    by_time = msgspec.structs.replace(one, batch_tokens=100, batch_s=0.025)
    assert [[batch.size, batch.due_ns // 10**6] for batch in batches(by_time)] == [[3, 1025], [3, 1055], [1, 1060]]


class Asker:
    """A member of some rooms, and the service in whose hub they are."""

    def __init__(self, timer: Timer, *rooms: str) -> None:
        self.hub = Hub(1, 8192)
        self.connection = Connection(Identity("ann"), "127.0.0.1")
        self.connection.rooms = rooms
        for room in rooms:
            self.hub.ensure(room)
        self.service = tokens.Tokens(ServiceContext(self.hub, Connections(), {}, "", Shared(None, timer)))

    def ask(self, op: str, room: str, **data: Any) -> dict[str, Any]:
        text = json.dumps({"op": op, "room": room, **data})
        return self.service.call(self.connection, msgspec.Raw(text.encode()))

    def said(self, room: str) -> list[tuple[str, dict[str, Any]]]:
        return [(event.type, decode_envelope(event.json).value()) for event in self.hub.rooms[room].ring.after(0, None)]


def with_asker(body: Any, *rooms: str) -> None:
    async def run() -> None:
        timer = Timer(asyncio.get_running_loop())
        asker = Asker(timer, *rooms)
        try:
            await body(asker)
        finally:
            await asker.service.stop()
            timer.close()

    asyncio.run(run())


def test_only_so_many_answers_run_and_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_RUNNING", 2)
    monkeypatch.setattr(tokens, "MAX_KEPT", 3)

    async def body(asker: Asker) -> None:
        asker.ask("start", "a", first_delay_s=300.0)
        asker.ask("start", "b", first_delay_s=300.0)
        with pytest.raises(Refusal, match="2 answers run already"):
            asker.ask("start", "c")
        with pytest.raises(Refusal, match="cancel it first"):
            asker.ask("start", "a")
        for room in "cde":
            asker.ask("cancel", "b") if room == "c" else None
            asker.ask("start", room, tokens=1, first_delay_s=0.0)
            await until(lambda room=room: asker.ask("open", room)["state"] == "done", "the answer")  # type: ignore[misc]
        with pytest.raises(Refusal, match="has no answer"):
            asker.ask("open", "b")
        assert [asker.ask("open", room)["state"] for room in "ade"] == ["running", "done", "done"]
        asker.ask("start", "b", first_delay_s=300.0)

    with_asker(body, *"abcde")


def test_a_cancelled_answer_says_so_once_and_nothing_follows() -> None:
    async def body(asker: Asker) -> None:
        asker.ask("start", "a", tokens=4096, rate_hz=1000.0, first_delay_s=0.0)
        await until(lambda: asker.ask("open", "a")["tokens"] > 3, "some tokens")
        ended = asker.ask("cancel", "a")
        assert ended["state"] == "cancelled" and asker.ask("cancel", "a") == ended
        asker.ask("start", "b", tokens=20, rate_hz=1000.0, first_delay_s=0.0)
        await until(lambda: asker.ask("open", "b")["state"] == "done", "what would have come before")
        said = asker.said("a")
        assert [type_ for type_, _ in said] == ["token"] * ended["tokens"] + ["answer"]
        assert said[-1][1] == ended
        assert asker.ask("open", "a")["text"] == "".join(data["text"] for type_, data in said if type_ == "token")

    with_asker(body, "a", "b")


def test_an_answer_ends_with_its_room() -> None:
    async def body(asker: Asker) -> None:
        asker.ask("start", "a", tokens=4096, rate_hz=1000.0, first_delay_s=0.0)
        asker.hub.drop("a")
        await until(lambda: asker.ask("open", "a")["state"] == "cancelled", "its end")
        assert asker.ask("start", "a", tokens=1)["state"] == "running"

    with_asker(body, "a")


@pytest.mark.parametrize(
    "data",
    [
        {"op": "start", "room": "a", "tokens": 0},
        {"op": "start", "room": "a", "tokens": 4097},
        {"op": "start", "room": "a", "rate_hz": 0.0},
        {"op": "start", "room": "a", "rate_hz": 1001},
        {"op": "start", "room": "a", "first_delay_s": 301},
        {"op": "start", "room": "a", "batch_tokens": 0},
        {"op": "start", "room": "a", "batch_s": 61},
        {"op": "start", "room": "a", "seed": -1},
        {"op": "open"},
        {"op": "stop", "room": "a"},
        {"op": "open", "room": "a", "more": 1},
    ],
)
def test_what_is_out_of_bounds_is_refused(data: dict[str, Any]) -> None:
    async def body(asker: Asker) -> None:
        with pytest.raises(Refusal) as caught:
            asker.service.call(asker.connection, msgspec.Raw(json.dumps(data).encode()))
        assert caught.value.code == "bad_request"

    with_asker(body, "a")
