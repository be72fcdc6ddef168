"""What polling and long polling share: sessions, what a poll reads, and the body of its answer.

Without a session a poll is stateless. A client that wants to send, or to join rooms, opens one (``POST /sessions``)
and names it with every poll; the cursors of all its rooms stay with the client.
"""

import asyncio
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Self

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
from servers.platform.connections import Connection
from servers.platform.context import Context
from servers.platform.names import prefix
from servers.platform.namespace import Namespace

BATCH_BYTES: Final = 8 << 20
"""A batch with so many bytes of events gets no more of them: the rest comes with the next poll."""
TAKE_EVENTS: Final = 64
"""Events taken from a room between two looks at the batch's size: at most 4 MiB more than the bound."""
HEADERS = {"cache-control": "no-store", "content-type": "application/json"}


class JoinedAt(NamedTuple):
    """Where a room was joined: its start for polls that name no cursor of their own there."""

    since: Cursor
    resume: Resume


class PollSession(Connection):
    """A polling client that has opened a session. It ends when no poll has come for ``timeout_s``."""

    __slots__ = ("_held", "_namespace", "_timeout_s", "_timer", "joined", "session")

    def __init__(self, identity: Identity, address: str, namespace: Namespace, timeout_s: float) -> None:
        super().__init__(identity, address)
        self.session = secrets.token_hex(16)
        self.joined: dict[str, JoinedAt] = {}
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._held: set[Reader] = set()
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, room: Room, since: Cursor | None) -> None:
        resume = room.ring.resume(since)
        self.joined[room.name] = JoinedAt(Cursor(room.ring.epoch, resume.seq), resume)
        self._answer_held()

    def detach(self, room: str) -> None:
        self.joined.pop(room, None)

    def start_of(self, room: str) -> int | None:
        joined = self.joined.get(room)
        return None if joined is None else joined.since.seq

    def reads(self, room: str) -> bool:
        """Also by a poll that is held: the poll's own room need not be one that the session has joined."""
        return super().reads(room) or any(reader.room.name == room for reader in self._held)

    def end(self, refusal: Refusal) -> None:
        super().end(refusal)
        self._answer_held()
        self._namespace.leave(self, refusal.code, self.session, refusal)
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
        """Answer the polls that are held, which know nothing of the new room: the client polls again at once."""
        for reader in self._held:
            reader.nudge()


class PollRead(NamedTuple):
    """What one poll reads, and its session, if it has one. A context manager: the session lives as long as its poll."""

    reader: Reader
    session: PollSession | None
    expires_at_s: float = math.inf
    """UNIX time until which it may be held; a poll with a session ends with that."""

    def __enter__(self) -> Self:
        if self.session is not None:
            self.session.hold(self.reader)
        return self

    def __exit__(self, *_: object) -> None:
        if self.session is not None:
            self.reader.__exit__()  # it has listened to the session's other rooms since ``open_poll``
            self.session.release(self.reader)


def open_poll(namespace: Namespace, params: Mapping[str, str], scope: Scope) -> PollRead:
    """What a poll's query and headers ask to read. Raises ``Refusal``."""
    room, since = params.get("room"), params.get("since")
    secret = header(scope, SESSION_HEADER)
    if not secret:
        identity = namespace.admission.identify(scope)
        return PollRead(namespace.subscribe(identity, room, since), None, identity.expires_at_s)
    session = namespace.connections.by_session(secret)
    if not isinstance(session, PollSession):
        raise Refusal("unknown_session", "this session belongs to a stream")
    known = _cursors(params.get("also", ""))
    reader = namespace.subscribe(session.identity, room, since)
    reader.selects = session
    try:
        for name, joined in session.joined.items():
            if name != reader.room.name:
                _add(reader, namespace.hub.room(name), joined, known.get(name))
    except Refusal:
        reader.__exit__()
        raise
    return PollRead(reader, session)


def _add(reader: Reader, room: Room, joined: JoinedAt, cursor: Cursor | None) -> None:
    try:
        other = reader.add(room, cursor or joined.since, announce=cursor is None)
    except CursorError as error:
        raise Refusal("bad_cursor", f"{room.name}: {error}") from error
    if cursor is None:
        other.resume = joined.resume
    elif other.resume.verdict != "resumed":
        reader.add(room, cursor, announce=True)


def _cursors(text: str) -> dict[str, Cursor]:
    """``room=cursor,room=cursor``. Raises ``Refusal``."""
    try:
        pairs = [pair.partition("=") for pair in text.split(",") if pair]
        return {name: parse_cursor(cursor) for name, _, cursor in pairs}
    except CursorError as error:
        raise Refusal("bad_cursor", f"also: {error}") from error


def is_unchanged(poll: PollRead) -> bool:
    """Is there nothing to tell, in the poll's room and in those that its session has joined? Raises ``Refusal``."""
    _refuse_if_ended(poll)
    reader = poll.reader
    unchanged = reader.resume.verdict == "resumed" and not reader.pending and not reader.has_others
    if unchanged:
        reader.begin()
    return unchanged


def batch(poll: PollRead) -> bytes:
    """The body of an answer: everything newer than the cursors, up to ``BATCH_BYTES``. Raises ``Refusal``."""
    _refuse_if_ended(poll)
    reader, session, _ = poll
    resume = reader.begin()
    events = _take(reader)
    entries: Sequence[HasJson] = events if session is None else [*events, *_of_other_rooms(reader, events)]
    room = reader.room
    return encode_batch(reader.cursor, room.name, resume.verdict, resume.missed, entries, room.ring.conflated)


def _refuse_if_ended(poll: PollRead) -> None:
    if poll.session is not None and poll.session.ended is not None:
        raise poll.session.ended


def _take(reader: Reader) -> list[Event]:
    """The newer events of the first room; the rest of a long past stays for the next poll."""
    events = reader.take(TAKE_EVENTS).events
    if len(events) < TAKE_EVENTS:
        return events
    size = _size(events)
    while size < BATCH_BYTES and (more := reader.take(TAKE_EVENTS).events):
        events = [*events, *more]
        size += _size(more)
    return events


def _of_other_rooms(reader: Reader, events: list[Event]) -> Iterator[HasJson]:
    """The notices and events of the rooms that the session has joined, after ``events`` of the first room."""
    size = _size(events)
    while size < BATCH_BYTES and (delivery := reader.take_other(TAKE_EVENTS)) is not None:
        if delivery.notice is not None:
            yield delivery.notice
        yield from delivery.events
        size += _size(delivery.events)


def _size(events: Iterable[Event]) -> int:
    return sum(len(event.json) for event in events)


def respond(body: bytes) -> Response:
    """A response with such a body, which no cache may keep."""
    return Response(body, headers=HEADERS)


def session_routes(context: Context, namespace: Namespace) -> list[BaseRoute]:
    """The routes next to the poll itself: opening and closing a session, and its requests."""
    path = f"{prefix(namespace.name)}/sessions"
    timeout_s = context.options.session_timeout_s
    return [Route(path, partial(_open, namespace, timeout_s), methods=["POST"]), *request_routes(namespace)]


async def _open(namespace: Namespace, timeout_s: float, request: Request) -> Response:
    """Open a session: the answer is a welcome that has its secret."""
    identity = namespace.admission.identify(request.scope)
    session = PollSession(identity, address_of(request.scope), namespace, timeout_s)
    reader = namespace.subscribe(identity, parameters(request.scope["query_string"]).get("room"), None)
    namespace.enter(session, session.session)
    session.release()
    welcome = Welcome("new", 0, session.client, session.session)
    return respond(encode_envelope("welcome", str(reader.cursor), reader.room.name, welcome))
