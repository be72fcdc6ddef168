"""The article's vocabulary of Socket.IO: its event names, mapped to requests and to what is published. Pure.

What each event does is the platform's and the services' work; here is only what the article calls it
(docs/scenarios.md, The article's vocabulary). A room is named by text, or by an object with ``roomId``.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from feed.envelope import Envelope, decode_envelope
from feed.requests import encode_request
from feed.strict import JsonError, decode_strictly
from feed.wire import BinaryEvent, Event

DOCUMENT: Final = "document"
"""The room of a namespace's one document, which ``naive`` edits."""


class Told(NamedTuple):
    """An event in the article's words."""

    name: str
    argument: dict[str, Any]
    by: str = ""
    """The client that is not told, as it is what it did itself."""


class ArticleError(ValueError):
    """The argument of an event is wrong; the message says what is allowed."""


class _Room(msgspec.Struct, frozen=True):
    roomId: str  # noqa: N815  # the article's name


class _Post(msgspec.Struct, frozen=True):
    roomId: str  # noqa: N815  # the article's name
    content: str = ""
    text: str = ""
    message: str = ""


class _Operation(msgspec.Struct, frozen=True):
    type: Literal["insert", "delete"]
    position: Annotated[int, msgspec.Meta(ge=0)]
    text: str = ""
    length: Annotated[int, msgspec.Meta(ge=0)] = 0


_ROOM: Final = msgspec.json.Decoder(str | _Room)
_POST: Final = msgspec.json.Decoder(_Post)
_OPERATION: Final = msgspec.json.Decoder(_Operation)
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_EDIT: Final = msgspec.msgpack.Decoder(tuple[int, int, str])
_TEXT: Final = msgspec.msgpack.Decoder(tuple[int, str])


def requests_of(event: str, argument: bytes) -> list[bytes]:
    """The requests that an event of ``EVENTS`` stands for, to be carried out in turn. Raises ``ArticleError``."""
    try:
        return [encode_request(type_, secrets.token_hex(8), **fields) for type_, fields in EVENTS[event](argument)]
    except JsonError as error:
        raise ArticleError(f"{event}: {error}") from None


def answer_of(reply: bytes) -> bytes:
    """What an acknowledgement says, given the reply to an event's last request."""
    envelope = decode_envelope(reply)
    data = envelope.value()
    if envelope.type == "error":
        return msgspec.json.encode({"success": False, "error": data["message"]})
    told = {"messageId": data["message"]} if "message" in data else {}
    return msgspec.json.encode({"success": True, **told})


def document_of(reply: bytes) -> dict[str, Any]:
    """The argument of ``doc:sync``, given the reply to the last request of ``doc:join``."""
    (whole,) = decode_envelope(reply).value()["updates"]
    version, text = _TEXT.decode(msgspec.convert(whole, bytes))
    return {"content": text, "version": version}


def told_of(event: Event, user_of: Callable[[str], str]) -> Iterator[Told]:
    """An event of a room as the article names it; nothing if it has no name for that.

    ``user_of`` gives the user of a client that is connected, and the client itself where it has none.
    """
    if isinstance(event, BinaryEvent):
        yield from _edited(event, user_of)
        return
    envelope = decode_envelope(event.json)
    told = _NAMES.get(envelope.type)
    if told is not None:
        yield from told(envelope)


def _joined(envelope: Envelope) -> Iterator[Told]:
    yield _of_member("room:user-joined", envelope)


def _left(envelope: Envelope) -> Iterator[Told]:
    yield _of_member("room:user-left", envelope)


def _typing(envelope: Envelope) -> Iterator[Told]:
    yield _of_member("typing:user" if envelope.value()["active"] else "typing:stopped", envelope)


def _of_member(name: str, envelope: Envelope) -> Told:
    data = envelope.value()
    return Told(name, {"roomId": envelope.room, "userId": data["user"] or data["client"]}, data["client"])


def _posted(envelope: Envelope) -> Iterator[Told]:
    """A message of the chat, which its sender gets too; one that was published past it has no name in the article."""
    data = envelope.value()
    if data["message"].startswith("chat:"):
        said = data["data"]
        message = {
            "id": data["message"],
            "roomId": envelope.room,
            "userId": data["user"] or data["from"],
            "content": said["text"],
            "timestamp": said["at_ms"],
        }
        yield Told("chat:message", message)


_NAMES: Final[dict[str, Callable[[Envelope], Iterator[Told]]]] = {
    "joined": _joined,
    "left": _left,
    "typing": _typing,
    "message": _posted,
}


def _edited(event: BinaryEvent, user_of: Callable[[str], str]) -> Iterator[Told]:
    if event.room != DOCUMENT:
        return
    user = {"userId": user_of(decode_envelope(event.head).value()["from"])}
    if event.type == "update":
        position, deleted, inserted = _EDIT.decode(event.payload)
        if deleted:
            yield Told("doc:operation", {**user, "type": "delete", "position": position, "length": deleted})
        if inserted:
            yield Told("doc:operation", {**user, "type": "insert", "position": position, "text": inserted})
    elif event.type == "awareness":
        with suppress(ValueError, RecursionError):  # other editors may show theirs in another form
            shown = msgspec.json.decode(event.payload)
            yield Told("doc:cursor", {**(shown if isinstance(shown, dict) else {"position": shown}), **user})


Asked = Iterator[tuple[str, dict[str, Any]]]
"""Types and fields of requests."""


def _room(argument: bytes) -> str:
    named = decode_strictly(argument, _ROOM)
    return named.roomId if isinstance(named, _Room) else named


def _join(argument: bytes) -> Asked:
    yield "join", {"room": _room(argument)}


def _leave(argument: bytes) -> Asked:
    yield "leave", {"room": _room(argument)}


def _start_typing(argument: bytes) -> Asked:
    yield "typing", {"room": _room(argument), "active": True}


def _stop_typing(argument: bytes) -> Asked:
    yield "typing", {"room": _room(argument), "active": False}


def _send(argument: bytes) -> Asked:
    """Sent again it is another message: the article's client gives it no name of its own."""
    post = decode_strictly(argument, _POST)
    text = post.content or post.text or post.message
    yield (
        "call",
        {"service": "chat", "data": {"op": "send", "room": post.roomId, "key": secrets.token_hex(8), "text": text}},
    )


def _open(_: bytes) -> Asked:
    yield "join", {"room": DOCUMENT}
    yield "call", {"service": "collab", "data": {"op": "open", "room": DOCUMENT, "engine": "naive"}}


def _operate(argument: bytes) -> Asked:
    made = decode_strictly(argument, _OPERATION)
    insert = made.type == "insert"
    edit = (made.position, 0 if insert else made.length, made.text if insert else "")
    yield "call", _collab("update", msgspec.msgpack.encode(edit))


def _point(argument: bytes) -> Asked:
    yield "call", _collab("awareness", bytes(decode_strictly(argument, _ANY)))


def _collab(op: str, payload: bytes) -> dict[str, Any]:
    return {"service": "collab", "data": {"op": op, "room": DOCUMENT}, "payload": payload}


EVENTS: Final[dict[str, Callable[[bytes], Asked]]] = {
    "room:join": _join,
    "room:leave": _leave,
    "chat:send": _send,
    "typing:start": _start_typing,
    "typing:stop": _stop_typing,
    "doc:join": _open,
    "doc:operation": _operate,
    "doc:cursor": _point,
}
"""What a client may emit next to requests: event -> what it asks for, made from its argument."""
