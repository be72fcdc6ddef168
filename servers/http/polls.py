"""What polling and long polling share: who asks, what they read, and the body of an answer.

Without a session a poll is stateless. A client that wants to send, or to join rooms, opens one (``POST /sessions``)
and names it with every poll; the cursors of all its rooms stay with the client.
"""

import asyncio
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from feed.cursor import Cursor, CursorError, parse_cursor
from feed.envelope import Welcome, encode_envelope
from feed.wire import Event, HasJson, encode_batch
from servers.gate.admission import address_of
from servers.gate.auth import Identity
from servers.gate.errors import Refusal
from servers.gate.query import header, parameters
from servers.http.requests import SESSION_HEADER, request_routes
from servers.hub.reader import Reader
from servers.hub.ring import Resume
from servers.hub.room import Room
from servers.platform.connections import Peer
from servers.platform.context import Context
from servers.platform.names import prefix
from servers.platform.namespace import Platform

ANSWER_BYTES: Final = 8 << 20
"""An answer that has so many bytes of events gets no more of them: they come with the next poll."""
TAKEN_AT_ONCE: Final = 64
"""Events of one room, before it is looked how large the answer is: at most 4 MiB more than the bound."""
HEADERS = {"cache-control": "no-store", "content-type": "application/json"}


class Place(NamedTuple):
    """Where a room was joined: for as long as the client has not named a cursor of its own there."""

    since: Cursor
    resume: Resume


class PollPeer(Peer):
    """A polling client that has opened a session. It ends when no poll has come for ``timeout_s``."""

    __slots__ = ("_held", "_platform", "_timeout_s", "_timer", "places", "session")

    def __init__(self, identity: Identity, address: str, platform: Platform, timeout_s: float) -> None:
        super().__init__(identity, address)
        self.session = secrets.token_hex(16)
        self.places: dict[str, Place] = {}
        self._platform = platform
        self._timeout_s = timeout_s
        self._held: set[Reader] = set()
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, room: Room, since: Cursor | None) -> None:
        resume = room.ring.resume(since)
        self.places[room.name] = Place(Cursor(room.ring.epoch, resume.seq), resume)
        self._answer_held()

    def detach(self, room: str) -> None:
        self.places.pop(room, None)

    def start_of(self, room: str) -> int | None:
        place = self.places.get(room)
        return None if place is None else place.since.seq

    def reads(self, room: str) -> bool:
        """Also by a poll that is held: its room is that poll's own, and not a place of the session."""
        return super().reads(room) or any(reader.room.name == room for reader in self._held)

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self._answer_held()
        self._platform.leave(self, refusal.code, self.session, refusal)
        self._expect_poll(None)

    def hold(self, reader: Reader) -> None:
        """A poll has come, and may be held."""
        self._held.add(reader)
        self._expect_poll(None)

    def release(self, reader: Reader | None = None) -> None:
        """The poll is answered: the next one is expected."""
        if reader is not None:
            self._held.discard(reader)
        if self.ended is None and not self._held:
            self._expect_poll(self._timeout_s)

    def _expect_poll(self, within_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if within_s is not None:
            gone = Refusal("unknown_session", f"the session has ended: no poll came for {within_s:g} s")
            self._timer = asyncio.get_running_loop().call_later(within_s, self.end, gone)

    def _answer_held(self) -> None:
        """What is held was asked for without the new room: the client asks again at once."""
        for reader in self._held:
            reader.nudge()


class Asked(NamedTuple):
    """A poll: what it reads, and whose it is, if it has a session, which lives at least as long as its poll."""

    reader: Reader
    peer: PollPeer | None
    expires_at_s: float = math.inf
    """UNIX time until which it may be held; one that has a session ends with that."""

    def __enter__(self) -> "Asked":
        if self.peer is not None:
            self.peer.hold(self.reader)
        return self

    def __exit__(self, *_: object) -> None:
        if self.peer is not None:
            self.reader.__exit__()  # the other rooms, to which it listens from the start
            self.peer.release(self.reader)


def asked(platform: Platform, params: Mapping[str, str], scope: Scope) -> Asked:
    """What a poll asks for. Raises ``Refusal``."""
    room, since = params.get("room"), params.get("since")
    session = header(scope, SESSION_HEADER)
    if not session:
        identity = platform.gate.identify(scope)
        return Asked(platform.subscribe(identity, room, since), None, identity.expires_at_s)
    peer = platform.by_session(session)
    if not isinstance(peer, PollPeer):
        raise Refusal("unknown_session", "this session belongs to a stream")
    known = _cursors(params.get("also", ""))
    reader = platform.subscribe(peer.identity, room, since)
    reader.selects = peer
    try:
        for name, place in peer.places.items():
            if name != reader.room.name:
                _add(platform, reader, name, place, known.get(name))
    except Refusal:
        reader.__exit__()
        raise
    return Asked(reader, peer)


def _add(platform: Platform, reader: Reader, name: str, place: Place, cursor: Cursor | None) -> None:
    room = platform.hub.room(name)
    try:
        other = reader.add(room, cursor or place.since, announce=cursor is None)
    except CursorError as error:
        raise Refusal("bad_cursor", f"{name}: {error}") from error
    if cursor is None:
        other.resume = place.resume
    elif other.resume.verdict != "resumed":
        reader.add(room, cursor, announce=True)


def _cursors(text: str) -> dict[str, Cursor]:
    """``room=cursor,room=cursor``. Raises ``Refusal``."""
    try:
        pairs = [pair.partition("=") for pair in text.split(",") if pair]
        return {name: parse_cursor(cursor) for name, _, cursor in pairs}
    except CursorError as error:
        raise Refusal("bad_cursor", f"also: {error}") from error


def batch(asked_: Asked) -> bytes:
    """The body of an answer: what is newer than the cursors, all of it unless that is over ``ANSWER_BYTES``."""
    reader, peer, _ = asked_
    if peer is not None and peer.ended is not None:
        raise peer.ended
    resume = reader.begin()
    events = _take(reader)
    entries: Sequence[HasJson] = events if peer is None else [*events, *_of_others(reader, events)]
    return encode_batch(reader.cursor, reader.room.name, resume.verdict, resume.missed, entries)


def _take(reader: Reader) -> list[Event]:
    """What is newer in the first room; the rest of a long past stays for the next poll."""
    events = reader.take(TAKEN_AT_ONCE).events
    if len(events) < TAKEN_AT_ONCE:
        return events
    size = _size(events)
    while size < ANSWER_BYTES and (more := reader.take(TAKEN_AT_ONCE).events):
        events = [*events, *more]
        size += _size(more)
    return events


def _of_others(reader: Reader, events: list[Event]) -> Iterator[HasJson]:
    """What the rooms have that the session joined, beside the events of the first one."""
    size = _size(events)
    while size < ANSWER_BYTES and (delivery := reader.take_other(TAKEN_AT_ONCE)) is not None:
        if delivery.notice is not None:
            yield delivery.notice
        yield from delivery.events
        size += _size(delivery.events)


def _size(events: Iterable[Event]) -> int:
    return sum(len(event.json) for event in events)


def respond(body: bytes) -> Response:
    """A response with such a body, which no cache may keep."""
    return Response(body, headers=HEADERS)


def routes_beside(context: Context, platform: Platform) -> list[BaseRoute]:
    """What the polls have beside the poll itself: sessions, and requests."""
    path = f"{prefix(platform.name)}/sessions"
    return [Route(path, partial(_open, context, platform), methods=["POST"]), *request_routes(platform)]


async def _open(context: Context, platform: Platform, request: Request) -> Response:
    """Open a session: answers with a welcome that has its secret."""
    identity = platform.gate.identify(request.scope)
    peer = PollPeer(identity, address_of(request.scope), platform, context.options.session_timeout_s)
    room = platform.subscribe(identity, parameters(request.scope["query_string"]).get("room"), None)
    platform.enter(peer, peer.session)
    peer.release()
    welcome = Welcome("new", 0, peer.client, peer.session)
    return respond(encode_envelope("welcome", str(room.cursor), room.room.name, welcome))
