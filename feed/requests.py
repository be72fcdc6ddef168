"""Requests of clients, the same on every transport (docs/protocol.md, Requests).

Every request carries an id that the client chose; its answer, an ``ack`` or an ``error`` envelope, carries the same.
A request that is sent again with its id, because a cut lost the answer, is applied once.
"""

from typing import Annotated, Any, Final

import msgspec

from feed.rooms import NAME_PATTERN
from feed.strict import JsonError, decode_strictly

MAX_ROOMS_NAMED: Final = 32
MAX_ACK_TIMEOUT_S: Final = 30.0

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Name = Annotated[str, msgspec.Meta(pattern=f"^{NAME_PATTERN}$")]
RoomOrInbox = Annotated[str, msgspec.Meta(pattern=f"^@?{NAME_PATTERN}$")]


class RequestError(ValueError):
    """The text is no request; the message names the field. ``id`` is the request's, empty if it is unreadable."""

    def __init__(self, message: str, id_: str) -> None:
        super().__init__(message)
        self.id = id_


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower, forbid_unknown_fields=True):
    """The fields of all requests. ``instance`` names the client program on all its connections; ids count within it."""

    id: Id
    instance: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""


class Publish(Request, frozen=True):
    """Send ``data`` to exactly one of: a room, several rooms (each receiver once), a user, everyone.

    ``except_me`` leaves out the sending connection. ``ack_timeout_s`` over 0, only with ``user``: the answer comes
    once one of the user's connections has acknowledged, with the data of that acknowledgement.
    """

    data: msgspec.Raw
    room: Name | None = None
    rooms: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=MAX_ROOMS_NAMED)] | None = None
    user: Name | None = None
    everyone: bool = False
    except_me: bool = False
    ack_timeout_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_ACK_TIMEOUT_S)] = 0.0


class Join(Request, frozen=True):
    """Become a member of a room, and receive it from the cursor ``since`` on (empty: only new messages)."""

    room: RoomOrInbox
    since: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Leave(Request, frozen=True):
    """Stop being a member of a room, and receiving it unless it is the connection's first."""

    room: Name


class Typing(Request, frozen=True):
    """Tell a room's members that the sender has started or stopped typing."""

    room: Name
    active: bool


class Acknowledge(Request, frozen=True):
    """Acknowledge a direct message that asks for it: ``message`` is the message's own id."""

    message: Id
    data: msgspec.Raw = msgspec.Raw(b"null")


class Renew(Request, frozen=True):
    """Replace the connection's token by a fresh one."""

    token: Annotated[str, msgspec.Meta(max_length=4096)]


class Call(Request, frozen=True):
    """Call a service of the server, by name. ``payload`` is what is no JSON, for services that take one."""

    service: Name
    data: msgspec.Raw = msgspec.Raw(b"null")
    payload: bytes = b""


AnyRequest = Publish | Join | Leave | Typing | Acknowledge | Renew | Call
_DECODER: Final[msgspec.json.Decoder[AnyRequest]] = msgspec.json.Decoder(AnyRequest)


class _OnlyId(msgspec.Struct, frozen=True):
    id: Id


_ID_DECODER: Final = msgspec.json.Decoder(_OnlyId)


def decode_request(body: bytes) -> AnyRequest:
    """Parse one request. Raises ``RequestError``, which names the wrong field and what is allowed."""
    try:
        request = decode_strictly(body, _DECODER)
    except JsonError as error:
        raise RequestError(str(error), id_of(body)) from None
    if isinstance(request, Publish):
        _check_target(request)
    return request


def encode_request(type_: str, id_: str, **fields: Any) -> bytes:
    """A request as JSON. Fields that are ``None`` are left out."""
    return msgspec.json.encode(
        {"type": type_, "id": id_, **{name: value for name, value in fields.items() if value is not None}}
    )


def _check_target(request: Publish) -> None:
    named = [request.room is not None, request.rooms is not None, request.user is not None, request.everyone]
    if sum(named) != 1:
        raise RequestError("exactly one of room, rooms, user, everyone must name the receivers", request.id)
    if request.ack_timeout_s and request.user is None:
        raise RequestError("ack_timeout_s: only a message to a user can be acknowledged", request.id)


def id_of(body: bytes) -> str:
    """The id of a request that may be wrong otherwise; empty if it has no readable id."""
    try:
        return _ID_DECODER.decode(body).id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
