"""The one structured message that every transport carries, in both directions."""

import base64
import struct
from typing import Annotated, Any, Final, TypeVar

import msgspec

JSON_ENCODE: Final = msgspec.json.encode
_HEAD_SIZE: Final = struct.Struct(">I")
MAX_MESSAGE_ID_CHARACTERS: Final = 64
"""Longest own id of a message (``feed.requests``, ``Id``), as receivers keep some of them."""


class Envelope(msgspec.Struct, frozen=True):
    """One message.

    ``type`` is ``event`` for feed events; ``message``, ``joined``, ``left``, ``typing`` for what clients cause;
    ``skip`` instead of one that is not for this receiver; ``welcome`` for the first message of a room, ``batch`` for
    the answer to a poll, ``gap`` where history was lost; ``ack`` and ``error`` for the answer to a request. ``id`` is
    the cursor after this message (``feed.cursor``), or the request's id in an answer, or empty. ``data`` stays the
    JSON text that arrived: its length is the payload's length on the wire, and decoding costs nothing unless used.
    """

    type: str
    id: str
    room: str
    data: msgspec.Raw
    payload: bytes = b""
    """What is no JSON: base64 in a text message, and as it is in a binary one (``decode_packet``)."""

    def value(self) -> Any:
        """Decode ``data``. Raises ``msgspec.DecodeError`` or ``UnicodeDecodeError``."""
        return _read(_ANY_DECODER, self.data)


class Stamp(msgspec.Struct, frozen=True):
    """The fields that every benchmark event has in its data: its number within its room, and when it was due.

    ``due_ns`` is a CLOCK_MONOTONIC instant in nanoseconds, valid on the machine that published the event.
    """

    n: int
    due_ns: int


class Welcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """Data of the first message of a stream.

    ``resume`` is ``new`` (no cursor was given, so only new events follow), ``resumed`` (nothing is lost) or ``gap``.
    ``missed`` counts the lost events; it is ``null`` if the number is unknown, as the server restarted with an empty
    history.
    """

    resume: str
    missed: int | None
    client: str = ""
    """Public id of the connection, in the first welcome of a stream."""
    session: str = ""
    """Secret of the subscription, for requests that come by another connection."""
    conflated: bool = False
    """Of several unread events with the same key only the newest is sent, so numbers may be left out."""


class Batch(msgspec.Struct, frozen=True):
    """Data of the answer to a poll: all events after the cursor, and the rest as in ``Welcome``."""

    resume: str
    missed: int | None
    events: list[Envelope]
    conflated: bool = False


class ErrorData(msgspec.Struct, frozen=True):
    """Data of an ``error`` message: a stable ``code`` for programs, a ``message`` for people."""

    code: str
    message: str
    retry_after_s: float | None = None
    """Seconds after which the same request may succeed."""


class MessageId(msgspec.Struct, frozen=True):
    """A message's own id, in its data: by it a ``message`` that comes twice, by two rooms, is recognised."""

    message: Annotated[str, msgspec.Meta(max_length=MAX_MESSAGE_ID_CHARACTERS)] = ""


_ANY_DECODER: Final = msgspec.json.Decoder()
_ENVELOPE_DECODER: Final = msgspec.json.Decoder(Envelope)
_STAMP_DECODER: Final = msgspec.json.Decoder(Stamp)
_WELCOME_DECODER: Final = msgspec.json.Decoder(Welcome)
_BATCH_DECODER: Final = msgspec.json.Decoder(Batch)
_ERROR_DECODER: Final = msgspec.json.Decoder(ErrorData)
_MESSAGE_ID_DECODER: Final = msgspec.json.Decoder(MessageId)
_Read = TypeVar("_Read")


def _read(decoder: "msgspec.json.Decoder[_Read]", text: bytes | str | msgspec.Raw) -> _Read:
    """Decode. JSON that is nested deeper than the parser can follow is malformed too."""
    try:
        return decoder.decode(text)
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deep") from None


def decode_envelope(text: bytes | str) -> Envelope:
    """Parse one envelope. Raises ``msgspec.ValidationError`` or ``msgspec.DecodeError``."""
    return _read(_ENVELOPE_DECODER, text)


def encode_packet(head: bytes, payload: bytes) -> bytes:
    """A binary message: the size of its head in 4 bytes, big-endian, the head in JSON, and then the payload."""
    return b"".join((_HEAD_SIZE.pack(len(head)), head, payload))


def split_packet(message: bytes) -> tuple[bytes, bytes]:
    """Head and payload of a binary message. Raises ``msgspec.DecodeError``."""
    if len(message) < _HEAD_SIZE.size:
        raise msgspec.DecodeError(f"a binary message of {len(message)} bytes: it begins with the size of its head")
    (size,) = _HEAD_SIZE.unpack_from(message)
    end = _HEAD_SIZE.size + size
    if end > len(message):
        raise msgspec.DecodeError(f"a head of {size} bytes in a binary message of {len(message)}")
    return message[_HEAD_SIZE.size : end], message[end:]


def decode_packet(message: bytes) -> Envelope:
    """Parse a binary message whose head is an envelope. Raises ``msgspec.DecodeError``."""
    head, payload = split_packet(message)
    return msgspec.structs.replace(decode_envelope(head), payload=payload)


def with_payload(head: bytes, payload: bytes) -> bytes:
    """The same as text: the object with its payload in base64. Raises ``msgspec.DecodeError`` for no such head."""
    inner = head.strip(b" \t\r\n")
    if not (inner.startswith(b"{") and inner.endswith(b"}")) or not inner[1:-1].strip(b" \t\r\n"):
        raise msgspec.DecodeError("the head of a binary message is a JSON object")
    return b"".join((inner[:-1], b',"payload":"', base64.b64encode(payload), b'"}'))


def decode_stamp(data: msgspec.Raw) -> Stamp:
    """Read ``n`` and ``due_ns`` of a benchmark event's data."""
    return _read(_STAMP_DECODER, data)


def decode_welcome(data: msgspec.Raw) -> Welcome:
    """Read the data of a ``welcome`` or ``gap`` message."""
    return _read(_WELCOME_DECODER, data)


def decode_batch(data: msgspec.Raw) -> Batch:
    """Read the data of a ``batch`` message."""
    return _read(_BATCH_DECODER, data)


def decode_error(data: msgspec.Raw) -> ErrorData:
    """Read the data of an ``error`` message."""
    return _read(_ERROR_DECODER, data)


def decode_message_id(data: msgspec.Raw) -> str:
    """Read a message's own id from its data; empty if it has none."""
    return _read(_MESSAGE_ID_DECODER, data).message


def encode_envelope(type_: str, id_: str, room: str, data: Any) -> bytes:
    """Encode one envelope as JSON. ``data`` is anything msgspec encodes, or ``msgspec.Raw`` to pass JSON through."""
    return JSON_ENCODE({"type": type_, "id": id_, "room": room, "data": data})


def encode_error(code: str, message: str, id_: str = "", retry_after_s: float | None = None) -> bytes:
    """Encode an error as every refusal carries it: ``{"type": "error", "data": {"code", "message"}}``."""
    data: dict[str, Any] = {"code": code, "message": message}
    if retry_after_s is not None:
        data["retry_after_s"] = retry_after_s
    return encode_envelope("error", id_, "", data)


def encode_ack(id_: str, room: str, data: Any) -> bytes:
    """Encode the acknowledgement of a request."""
    return encode_envelope("ack", id_, room, data)
