"""What clients do with each other, in one namespace: requests, rooms with members, presence, typing, messages.

All of it stands beside the fan-out path: what clients bring about is published into rooms like everything else, so
each room orders it, and it is resumed by cursor like everything else (docs/protocol.md, Requests).
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, assert_never

import msgspec

from feed.cursor import Cursor, CursorError, parse_cursor
from feed.envelope import decode_envelope, encode_ack
from feed.requests import (
    Acknowledge,
    AnyRequest,
    Call,
    Join,
    Leave,
    Publish,
    Renew,
    RequestError,
    Typing,
    decode_request,
    id_of,
)
from feed.rooms import DEFAULT_ROOM, inbox_name
from servers.gate.admission import Gate
from servers.gate.auth import Identity, may_enter
from servers.gate.errors import Refusal
from servers.gate.logs import log_connected, log_disconnected
from servers.hub.hub import Hub, TooManyRoomsError
from servers.hub.reader import Reader
from servers.hub.room import Room
from servers.platform.connections import Peer
from servers.platform.replies import Answer, Answers, Key
from servers.platform.subscribing import subscribe
from servers.services.builtin import SERVICES

TYPING_TIMEOUT_S: Final = 5.0
"""Who started typing and does not say so again has stopped."""
EMPTY_ROOM_S: Final = 300.0
"""A room that members made is forgotten this long after the last of them left."""
MAX_WAITING: Final = 10_000
"""Messages that wait for an acknowledgement, in all."""
MAX_WAITING_PER_CONNECTION: Final = 100
"""Of them, those that one connection sent, so that it cannot use up what is there for all."""
MAX_ENDED: Final = 10_000
"""Sessions of which it is remembered why they ended."""
BINARY_REFUSED: Final = "binary messages are not taken here; send text"

OF_CONNECTION: Final = (Join, Leave, Typing, Renew, Call)
"""What another connection of the same client has to ask for itself."""

Done = bytes | Coroutine[Any, Any, bytes]


class Platform:
    """One namespace. Single-threaded: call from the event loop's thread."""

    def __init__(self, name: str, transport: str, hub: Hub, gate: Gate, room_claims: Mapping[str, str]) -> None:
        self.name = name
        """Empty: the default namespace."""
        self.transport = transport
        self.hub = hub
        self.gate = gate
        self.peers: dict[str, Peer] = {}
        self.sessions: dict[str, Peer] = {}
        """Secret -> receiving side, where requests come by another connection."""
        self.members: dict[str, dict[str, Peer]] = {}
        self.acknowledged = 0
        self.refused = 0
        self._room_claims = room_claims
        self._ended: OrderedDict[str, Refusal] = OrderedDict()
        self._users: dict[str, dict[str, Peer]] = {}
        self._answers = Answers(time.monotonic)
        self._drops: dict[str, asyncio.TimerHandle] = {}
        """What may be forgotten soon: rooms that nobody is a member of any more."""
        self._waiting: dict[str, tuple[str, asyncio.Future[msgspec.Raw]]] = {}

    def subscribe(self, identity: Identity, room: str | None, since: str | None) -> Reader:
        """A reader of a room that exists. Raises ``Refusal``, also where the room requires a claim.

        The claim comes first: whether a room exists, and how far it is, is told to nobody who lacks it.
        """
        self._check_claim(identity, room or DEFAULT_ROOM)
        return subscribe(self.hub, room, since)

    def enter(self, peer: Peer, session: str = "") -> None:
        """A client is about to be connected. Raises ``Refusal`` where there are too many; then nothing is kept."""
        user = peer.identity.user
        self.gate.admit(peer.address, user)
        if user:
            try:
                inbox = self._ensure(inbox_name(user))
            except Refusal:
                self.gate.limits.release(peer.address, user)
                raise
            self._users.setdefault(user, {})[peer.client] = peer
            # A moment later, so that the welcome of the first room comes first.
            asyncio.get_running_loop().call_soon(self._open_inbox, peer, inbox)
        self.peers[peer.client] = peer
        if session:
            self.sessions[session] = peer
        log_connected(peer.client, self.transport, peer.address, user)
        self._expire_later(peer)

    def leave(self, peer: Peer, reason: str, session: str = "", refusal: Refusal | None = None) -> None:
        """A client is gone; the members of its rooms are told why. May be called twice.

        ``refusal`` is what is said to requests that still come for its session.
        """
        if self.peers.pop(peer.client, None) is None:
            return
        log_disconnected(peer.client, reason, time.monotonic() - peer.entered_s)
        self.sessions.pop(session, None)
        if session and refusal is not None:
            self._ended[session] = refusal
            while len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        for room in peer.rooms:
            self._leave_room(peer, room, reason)
        if peer.expiry is not None:
            peer.expiry.cancel()
        user = peer.identity.user
        if user:
            self._users[user].pop(peer.client)
            if not self._users[user]:
                del self._users[user]
                self._drop_later(inbox_name(user))
        self.gate.limits.release(peer.address, user)
        self.gate.limits.forget(peer.client)

    def _open_inbox(self, peer: Peer, inbox: Room) -> None:
        if peer.client in self.peers:
            peer.attach(inbox, None)

    def connections_of(self, user: str) -> int:
        """How many connections a user has; nobody's are not counted."""
        return len(self._users.get(user, ()))

    def by_session(self, session: str) -> Peer:
        """The receiving side that a request belongs to. Raises ``Refusal``."""
        peer = self.sessions.get(session)
        if peer is not None and peer.ended is not None:
            raise peer.ended
        if peer is None:
            if (refusal := self._ended.get(session)) is not None:
                raise refusal
            raise Refusal("unknown_session", "there is no such session, or it has ended: open the receiving side first")
        return peer

    def handle(self, peer: Peer, body: bytes) -> Answer:
        """Carry out one request; the ack or error to send back, or a task that will have it. Never raises.

        A peer that goes on after as many refusals over a limit as are allowed is disconnected.
        """
        if (ended := peer.ended) is not None:
            return self._refuse(Refusal(ended.code, ended.message, ended.retry_after_s, id_of(body)))
        try:
            self.gate.limits.message(peer.client, peer.identity.user, len(body))
            request = decode_request(body)
        except Refusal as refusal:
            if refusal.code == "rate_limited":
                refusal.id = id_of(body)
            return self._strike(peer, refusal)
        except RequestError as error:
            return self._refuse(Refusal("bad_request", str(error), id_=error.id))
        peer.strikes = 0
        key, said = _key(peer, request), msgspec.json.encode(request)
        try:
            # Before an answer that is kept, too: who asks again may hold a token that lacks the claim.
            for room in _rooms_named(request):
                self._check_claim(peer.identity, room)
            known = self._answers.find(key, said)
            if known is not None:
                return self._as_far_as_allowed(peer, request, known)
            done = self._carry_out(peer, request)
        except Refusal as refusal:
            refusal.id = request.id
            return self._refuse(refusal)
        if isinstance(done, bytes):
            self.acknowledged += 1
            self._answers.keep(key, said, done)
            return done
        task = asyncio.ensure_future(self._wait_for(done, request.id, lambda: self._answers.forget(key)))
        self._answers.keep(key, said, task)
        return task

    def _as_far_as_allowed(self, peer: Peer, request: AnyRequest, known: Answer) -> Answer:
        """A kept answer without the rooms that who asks again may know nothing of: its token may be another."""
        if not isinstance(request, Publish) or not request.everyone or not isinstance(known, bytes):
            return known
        data = decode_envelope(known).value()
        cursors = {room: cursor for room, cursor in data["cursors"].items() if not self._lacks(peer.identity, room)}
        return encode_ack(request.id, "", {**data, "cursors": cursors})

    def reject(self, peer: Peer, size_bytes: int, message: str) -> bytes:
        """The error for a message that cannot be a request; it counts against the limits like one."""
        try:
            self.gate.limits.message(peer.client, peer.identity.user, size_bytes)
        except Refusal as refusal:
            return self._strike(peer, refusal)
        return self._refuse(Refusal("bad_request", message))

    def handle_binary(self, peer: Peer, size_bytes: int) -> bytes:
        """The answer to a binary message: a service that takes some would have to say so, and none does."""
        return self.reject(peer, size_bytes, BINARY_REFUSED)

    def counts(self) -> dict[str, int]:
        """What there is now, and what was answered, for metrics and services."""
        return {
            "peers": len(self.peers),
            "users": len(self._users),
            "rooms": len(self.hub.rooms),
            "sessions": len(self.sessions),
            "requests_acknowledged": self.acknowledged,
            "requests_refused": self.refused,
            "events": self.hub.published,
        }

    def _carry_out(self, peer: Peer, request: AnyRequest) -> Done:
        match request:
            case Publish():
                return self._publish(peer, request)
            case Join():
                return self._join(peer, request)
            case Leave():
                return self._leave(peer, request)
            case Typing():
                return self._typing(peer, request)
            case Acknowledge():
                return self._acknowledge(peer, request)
            case Renew():
                return self._renew(peer, request)
            case Call():
                return self._call(peer, request)
            case _:
                assert_never(request)

    def _publish(self, peer: Peer, request: Publish) -> Done:
        message = secrets.token_hex(8)
        wanted = request.ack_timeout_s > 0
        data = {"message": message, "from": peer.client, "user": peer.identity.user, "data": request.data}
        body = msgspec.json.encode({**data, "ack": True} if wanted else data)
        if request.user is not None:
            if request.user not in self._users:
                raise Refusal("not_connected", f"no connection of user {request.user!r}")
            names = [inbox_name(request.user)]
        else:
            names = self._targets(peer, request)
        if wanted:
            self._check_waiting(peer)
        events = self.hub.publish_to_all(names, body, "message", peer.client if request.except_me else "")
        cursors = {name: event.id for name, event in zip(names, events, strict=True)}
        if wanted and request.user is not None:
            return self._acknowledgement(peer, request, request.user, message)
        return encode_ack(request.id, request.room or "", {"message": message, "cursors": cursors})

    def _targets(self, peer: Peer, request: Publish) -> list[str]:
        if request.everyone:
            return [
                name for name in self.hub.rooms if not name.startswith("@") and not self._lacks(peer.identity, name)
            ]
        names = list(dict.fromkeys(request.rooms or [request.room or ""]))
        for name in names:
            if name not in self.hub.rooms:
                raise Refusal("unknown_room", f"there is no room {name!r}: rooms exist once somebody has joined them")
        return names

    def _check_waiting(self, peer: Peer) -> None:
        for waiting, most, whose in (
            (peer.waiting, MAX_WAITING_PER_CONNECTION, " of this connection"),
            (len(self._waiting), MAX_WAITING, ""),
        ):
            if waiting >= most:
                raise Refusal("too_many_requests", f"{most} messages{whose} wait for an acknowledgement", 1.0)

    async def _acknowledgement(self, peer: Peer, request: Publish, user: str, message: str) -> bytes:
        """Wait for the first of the user's connections that acknowledges."""
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[message] = (user, future)
        peer.waiting += 1
        try:
            async with asyncio.timeout(request.ack_timeout_s):
                data = await future
        except TimeoutError:
            raise Refusal(
                "timed_out", f"user {user!r} did not acknowledge within {request.ack_timeout_s:g} s"
            ) from None
        finally:
            del self._waiting[message]
            peer.waiting -= 1
        return encode_ack(request.id, "", {"message": message, "data": data})

    def _acknowledge(self, peer: Peer, request: Acknowledge) -> bytes:
        user, future = self._waiting.get(request.message, ("", None))
        if future is None or user != peer.identity.user:
            raise Refusal("unknown_message", "no message of yours with this id waits for an acknowledgement")
        first = not future.done()
        if first:
            future.set_result(request.data)
        return encode_ack(request.id, "", {"first": first})

    def _join(self, peer: Peer, request: Join) -> bytes:
        name = request.room
        since = _since(request.since)
        if name.startswith("@"):
            if name != inbox_name(peer.identity.user):
                raise Refusal("not_allowed", f"{name!r} is the inbox of somebody else")
            self._attach(peer, name, since)
            return encode_ack(request.id, name, {})
        if name in peer.rooms:
            return encode_ack(request.id, name, {"members": len(self.members[name])})
        most = self.gate.limits.options.rooms_per_connection
        if len(peer.rooms) >= most:
            raise Refusal("too_many_rooms", f"a connection may join {most} rooms")
        self._attach(peer, name, since)
        peer.rooms = (*peer.rooms, name)
        members = self.members.setdefault(name, {})
        members[peer.client] = peer
        self._tell(name, "joined", {"client": peer.client, "user": peer.identity.user})
        return encode_ack(request.id, name, {"members": len(members)})

    def _attach(self, peer: Peer, name: str, since: Cursor | None) -> None:
        try:
            peer.attach(self._ensure(name), since)
        except CursorError as error:
            raise Refusal("bad_cursor", str(error)) from error

    def _ensure(self, name: str) -> Room:
        try:
            return self.hub.ensure(name)
        except TooManyRoomsError as error:
            raise Refusal("too_many_rooms", str(error)) from error

    def _leave(self, peer: Peer, request: Leave) -> bytes:
        self._require_member(peer, request.room)
        peer.rooms = tuple(room for room in peer.rooms if room != request.room)
        self._leave_room(peer, request.room, "left")
        peer.detach(request.room)
        return encode_ack(request.id, request.room, {})

    def _leave_room(self, peer: Peer, room: str, reason: str) -> None:
        self._stop_typing(peer, room)
        members = self.members[room]
        del members[peer.client]
        self._tell(room, "left", {"client": peer.client, "user": peer.identity.user, "reason": reason})
        if not members:
            del self.members[room]
            self._drop_later(room)

    def _drop_later(self, room: str) -> None:
        def drop() -> None:
            del self._drops[room]
            if room not in self.members and room.removeprefix("@") not in self._users:
                self.hub.drop(room)

        if room in self._drops:
            self._drops[room].cancel()
        self._drops[room] = asyncio.get_running_loop().call_later(EMPTY_ROOM_S, drop)

    def _typing(self, peer: Peer, request: Typing) -> bytes:
        room = request.room
        self._require_member(peer, room)
        if not request.active:
            self._stop_typing(peer, room)
            return encode_ack(request.id, room, {})
        peer.typing = peer.typing or {}
        running = peer.typing.get(room)
        if running is None:
            self._tell(room, "typing", {"client": peer.client, "user": peer.identity.user, "active": True})
        else:
            running.cancel()
        stop = asyncio.get_running_loop().call_later(TYPING_TIMEOUT_S, self._stop_typing, peer, room)
        peer.typing[room] = stop
        return encode_ack(request.id, room, {"timeout_s": TYPING_TIMEOUT_S})

    def _stop_typing(self, peer: Peer, room: str) -> None:
        timer = (peer.typing or {}).pop(room, None)
        if timer is not None:
            timer.cancel()
            self._tell(room, "typing", {"client": peer.client, "user": peer.identity.user, "active": False})

    def _renew(self, peer: Peer, request: Renew) -> bytes:
        identity = self.gate.renewed(request.token)
        if identity.user != peer.identity.user:
            raise Refusal("not_allowed", "a token can only be renewed for the same user")
        for room in self._room_claims:
            if peer.reads(room):
                self._check_claim(identity, room)
        peer.identity = identity
        peer.renewals += 1
        self._expire_later(peer)
        return encode_ack(request.id, "", {"expires_at_s": identity.expires_at_s})

    def _call(self, peer: Peer, request: Call) -> bytes:
        service = SERVICES.get(request.service)
        if service is None:
            raise Refusal(
                "unknown_service", f"there is no service {request.service!r}: there are {', '.join(SERVICES)}"
            )
        return encode_ack(request.id, "", service(self, peer, request.data))

    def _expire_later(self, peer: Peer) -> None:
        if peer.expiry is not None:
            peer.expiry.cancel()
            peer.expiry = None
        expires_at_s = peer.identity.expires_at_s
        if expires_at_s != float("inf"):
            refusal = Refusal("token_expired", "the token has expired, and was not renewed")
            left_s = max(0.0, expires_at_s - time.time())
            peer.expiry = asyncio.get_running_loop().call_later(left_s, peer.end, refusal)

    def _require_member(self, peer: Peer, room: str) -> None:
        if room not in peer.rooms:
            raise Refusal("not_joined", f"join room {room!r} first")

    def _check_claim(self, identity: Identity, room: str) -> None:
        if claim := self._lacks(identity, room):
            raise Refusal("not_allowed", f"room {room!r} requires the claim {claim!r}")

    def _lacks(self, identity: Identity, room: str) -> str:
        """The claim that a room requires and the identity does not hold; empty if there is none."""
        claim = self._room_claims.get(room, "")
        return "" if not claim or may_enter(identity, claim) else claim

    def _tell(self, room: str, type_: str, data: Mapping[str, Any]) -> None:
        if not self.hub.closing:
            self.hub.publish(room, msgspec.json.encode(data), type_)

    async def _wait_for(self, done: Coroutine[Any, Any, bytes], id_: str, failed: Callable[[], None]) -> bytes:
        try:
            answer = await done
            self.acknowledged += 1
            return answer
        except Refusal as refusal:
            failed()
            refusal.id = id_
            return self._refuse(refusal)

    def _strike(self, peer: Peer, refusal: Refusal) -> bytes:
        peer.strikes += 1
        if peer.strikes > self.gate.limits.options.strikes:
            asyncio.get_running_loop().call_soon(peer.end, refusal)
        return self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> bytes:
        self.refused += 1
        return refusal.body


def _key(peer: Peer, request: AnyRequest) -> Key:
    """Within what a request's id counts: what is about the connection within it, the rest across a user's cuts.

    Of a connection, since its token was renewed: what it was told before, it might not be told now.
    """
    if isinstance(request, OF_CONNECTION) or not (peer.identity.user or request.instance):
        return ("connection", peer.client, str(peer.renewals), request.id)
    return ("user", peer.identity.user, request.instance, request.id)


def _rooms_named(request: AnyRequest) -> Sequence[str]:
    """The rooms that a request would send to or read. To leave one takes no claim."""
    match request:
        case Publish(rooms=list() as rooms):
            return rooms
        case Publish(room=str() as room) | Join(room=room) | Typing(room=room):
            return [room]
        case _:
            return []


def _since(text: str) -> Cursor | None:
    try:
        return parse_cursor(text) if text else None
    except CursorError as error:
        raise Refusal("bad_cursor", str(error)) from error
