"""Carrying out the requests of clients, once each (docs/protocol.md, Requests)."""

import asyncio
import inspect
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, assert_never

import msgspec

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
from servers.gate.admission import Admission
from servers.gate.errors import Refusal
from servers.platform.claims import RoomClaims
from servers.platform.connections import Connection
from servers.platform.membership import Membership
from servers.platform.messages import Messages
from servers.platform.replies import Key, Reply, ReplyCache
from servers.platform.service import Service
from servers.store.contract import KeyReusedError, StoreBusyError, StoreError

MAX_WAITING: Final = 10_000
"""Requests that wait for their reply, in all."""
MAX_WAITING_PER_CONNECTION: Final = 100
"""How many of them may be one connection's, so that it cannot use up what is there for all."""
STORE_RETRY_S: Final = 1.0
"""After this a request may be sent again for which the store was busy."""

PER_CONNECTION: Final = (Join, Leave, Typing, Renew, Call)
"""Requests about the connection itself: another connection of the same client must send them for itself."""

_log: Final = logging.getLogger("pushmark")


class RequestHandler:
    """Answers the requests of one namespace. Single-threaded: call from the event loop's thread."""

    def __init__(
        self,
        admission: Admission,
        claims: RoomClaims,
        membership: Membership,
        messages: Messages,
        services: Mapping[str, Service],
    ) -> None:
        self.acknowledged = 0
        self.refused = 0
        self._admission = admission
        self._claims = claims
        self._membership = membership
        self._messages = messages
        self._services = services
        self._replies = ReplyCache(time.monotonic)
        self._waiting = 0

    def handle(self, connection: Connection, body: bytes, size_bytes: int = 0) -> Reply:
        """Carry out one request: the ack or error to send back, or a task that will have it. Never raises.

        ``size_bytes``: of the message that it came in, if that was not this body.
        A connection that goes on after as many refusals over a limit as are allowed is ended.
        """
        if (ended := connection.ended) is not None:
            return self._refuse(Refusal(ended.code, ended.message, ended.retry_after_s, id_of(body)))
        try:
            self._count(connection, size_bytes or len(body))
            request = decode_request(body)
        except Refusal as refusal:
            if refusal.code == "rate_limited":
                refusal.id = id_of(body)
            return self._strike(connection, refusal)
        except RequestError as error:
            return self._refuse(Refusal("bad_request", str(error), id_=error.id))
        connection.strikes = 0
        try:
            return self._reply(connection, request)
        except Refusal as refusal:
            refusal.id = request.id
            return self._refuse(refusal)

    def reject(self, connection: Connection, size_bytes: int, message: str) -> bytes:
        """The error for a message that cannot be a request; it counts against the limits like one."""
        try:
            self._count(connection, size_bytes)
        except Refusal as refusal:
            return self._strike(connection, refusal)
        return self._refuse(Refusal("bad_request", message))

    def _count(self, connection: Connection, size_bytes: int) -> None:
        limits, user = self._admission.limits, connection.identity.user
        limits.message(connection.client, user, size_bytes, connection.more_messages_hz)

    def _reply(self, connection: Connection, request: AnyRequest) -> Reply:
        """The reply that this request got before, or that of carrying it out now. Raises ``Refusal``."""
        # Claims come before a cached reply, too: the token that repeats a request may lack the claim.
        for room in _rooms_named(request):
            self._claims.check(connection.identity, room)
        key, text = _key(connection, request), msgspec.json.encode(request)
        cached = self._replies.find(key, text)
        if cached is not None:
            return self._without_closed_rooms(connection, request, cached)
        done = self._carry_out(connection, request)
        if isinstance(done, bytes):
            self.acknowledged += 1
            self._replies.keep(key, text, done)
            return done
        self._count_waiting(connection, 1)  # at once, as a task runs later: bounds those that come together
        task = asyncio.ensure_future(self._wait_for(done, request.id, key))
        task.add_done_callback(lambda _: self._count_waiting(connection, -1))
        self._replies.keep(key, text, task)
        return task

    def _without_closed_rooms(self, connection: Connection, request: AnyRequest, cached: Reply) -> Reply:
        """A cached reply without the rooms whose claim is lacking now: the repeating token may be another one."""
        if not isinstance(request, Publish) or not request.everyone or not isinstance(cached, bytes):
            return cached
        data = decode_envelope(cached).value()
        identity = connection.identity
        cursors = {room: at for room, at in data["cursors"].items() if not self._claims.lacking(identity, room)}
        return encode_ack(request.id, "", {**data, "cursors": cursors})

    def _carry_out(self, connection: Connection, request: AnyRequest) -> bytes | Coroutine[Any, Any, bytes]:
        match request:
            case Publish():
                if request.ack_timeout_s > 0:
                    self._check_waiting(connection)
                return self._messages.publish(connection, request)
            case Join():
                return self._membership.join(connection, request)
            case Leave():
                return self._membership.leave(connection, request)
            case Typing():
                return self._membership.typing(connection, request)
            case Acknowledge():
                return self._messages.acknowledge(connection, request)
            case Renew():
                return self._renew(connection, request)
            case Call():
                return self._call(connection, request)
            case _:
                assert_never(request)

    def _renew(self, connection: Connection, request: Renew) -> bytes:
        identity = self._admission.renewed(request.token)
        if identity.user != connection.identity.user:
            raise Refusal("not_allowed", "a token can only be renewed for the same user")
        for room in self._claims.required:
            if connection.reads(room):
                self._claims.check(identity, room)
        connection.identity = identity
        connection.renewals += 1
        connection.end_with_token()
        return encode_ack(request.id, "", {"expires_at_s": identity.expires_at_s})

    def _call(self, connection: Connection, request: Call) -> bytes | Coroutine[Any, Any, bytes]:
        service = self._services.get(request.service)
        if service is None:
            known = ", ".join(self._services)
            raise Refusal("unknown_service", f"there is no service {request.service!r}: there are {known}")
        if request.payload and not service.takes_payload:
            raise Refusal("bad_request", f"payload: service {request.service!r} takes none")
        if service.takes_payload:
            self._check_waiting(connection)  # before anything is done, as its answer may be a coroutine that has begun
        with _failures_of(request.service):
            if service.takes_payload:
                answer = service.call_with_payload(connection, request.data, request.payload)
            else:
                answer = service.call(connection, request.data)
            if not inspect.iscoroutine(answer):
                return encode_ack(request.id, "", answer)
        try:
            self._check_waiting(connection)
        except Refusal:
            answer.close()
            raise
        return _answer_of(request, answer)

    def _check_waiting(self, connection: Connection) -> None:
        for waiting, most, whose in (
            (connection.waiting, MAX_WAITING_PER_CONNECTION, " of this connection"),
            (self._waiting, MAX_WAITING, ""),
        ):
            if waiting >= most:
                raise Refusal("too_many_requests", f"{most} requests{whose} wait for their answer", 1.0)

    def _count_waiting(self, connection: Connection, more: int) -> None:
        self._waiting += more
        connection.waiting += more

    async def _wait_for(self, done: Coroutine[Any, Any, bytes], id_: str, key: Key) -> bytes:
        try:
            reply = await done
            self.acknowledged += 1
            self._replies.settle(key, reply)
            return reply
        except Refusal as refusal:
            self._replies.forget(key)
            refusal.id = id_
            return self._refuse(refusal)

    def _strike(self, connection: Connection, refusal: Refusal) -> bytes:
        connection.strikes += 1
        if connection.strikes > self._admission.limits.options.strikes:
            asyncio.get_running_loop().call_soon(connection.end, refusal)
        return self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> bytes:
        self.refused += 1
        return refusal.body


@contextmanager
def _failures_of(service: str) -> Iterator[None]:
    """A service that fails is logged, and its caller is told; the connection goes on."""
    try:
        yield
    except Refusal:
        raise
    except KeyReusedError as error:
        raise Refusal("id_reused", str(error)) from error
    except StoreBusyError as error:
        raise Refusal("store_busy", str(error), STORE_RETRY_S) from error
    except StoreError as error:
        _log.error("store failed", extra={"service": service, "error": str(error)})
        raise Refusal("store_failed", "the store cannot keep this now") from error
    except Exception as error:
        _log.exception("service failed", extra={"service": service})
        raise Refusal("internal_error", f"service {service!r} failed") from error


async def _answer_of(request: Call, answer: Coroutine[Any, Any, Any]) -> bytes:
    with _failures_of(request.service):
        return encode_ack(request.id, "", await answer)


def _key(connection: Connection, request: AnyRequest) -> Key:
    """The side within which a request's id counts: the connection, or the user's program across its connections.

    Within a connection it counts until the token is renewed: an old reply may tell what the new token must not see.
    """
    if isinstance(request, PER_CONNECTION) or not (connection.identity.user or request.instance):
        return ("connection", connection.client, str(connection.renewals), request.id)
    return ("user", connection.identity.user, request.instance, request.id)


def _rooms_named(request: AnyRequest) -> Sequence[str]:
    """The rooms that a request would publish in or read. To leave one takes no claim."""
    match request:
        case Publish(rooms=list() as rooms):
            return rooms
        case Publish(room=str() as room) | Join(room=room) | Typing(room=room):
            return [room]
        case _:
            return []
