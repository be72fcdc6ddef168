"""Socket.IO's packets as clients send them. The JSON in them stays text until its place in the protocol is known.

So a request is decoded once, strictly, from the bytes that were sent, as on every other transport
(https://socket.io/docs/v4/socket-io-protocol/).
"""

import json
import re
from typing import Any, Final, Literal

import msgspec
from socketio.packet import BINARY_ACK, BINARY_EVENT, Packet

REQUEST: Final = "request"
"""Name of the event that clients send; ``servers.http.socketio_article`` has others."""
MAX_ATTACHMENTS: Final = 10
"""Attachments that a packet may announce; an event has one, and the others are passed over."""
MAX_NAMESPACE_CHARACTERS: Final = 100
"""Longest name of a namespace in a packet, which answers repeat. Ours are shorter."""

_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS: Final = msgspec.json.Decoder(tuple[str, dict[str, msgspec.Raw]])
_NAME: Final = msgspec.json.Decoder(str)
_ARGUMENT: Final = re.compile(rf'\s*\[\s*"{REQUEST}"\s*,(.*)\]\s*', re.DOTALL)


class PacketError(ValueError):
    """A client must not send this packet; the message says what is wrong and what is allowed."""


class Json:
    """JSON codec for the libraries: incoming JSON stays text, and answers, which are JSON already, pass unchanged."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        """Like ``json.dumps``, except for a list that ends in an answer."""
        if isinstance(value, list) and isinstance(value[-1], msgspec.Raw):
            return msgspec.json.encode(value).decode()
        return json.dumps(value, **options)

    @staticmethod
    def loads(text: str, **_: Any) -> str:
        """The text itself."""
        return text


class TextPacket(Packet):  # type: ignore[misc]  # the library has no types
    """A packet whose ``data`` is JSON text after decoding, and a value before encoding."""

    json = Json


def parse_packet(text: str) -> TextPacket:
    """Parse a packet. Raises ``PacketError``."""
    try:
        packet = TextPacket(encoded_packet=text)
    except ValueError:  # of its type, of its attachments, or of an id with over 100 digits
        packet = None
    if packet is None or not text or packet.packet_type > BINARY_ACK:
        raise PacketError(f"{text[:20]!r} is no Socket.IO packet: a type from 0 to 6, an id of at most 100 digits")
    if packet.attachment_count and packet.packet_type not in (BINARY_EVENT, BINARY_ACK):
        raise PacketError(f"{text[:20]!r} announces attachments: only binary packets have some")
    if packet.attachment_count > MAX_ATTACHMENTS:
        raise PacketError(f"{packet.attachment_count} attachments: a packet may announce {MAX_ATTACHMENTS}")
    if len(packet.namespace or "") > MAX_NAMESPACE_CHARACTERS:
        raise PacketError(f"a namespace of {len(packet.namespace)} characters: allowed are {MAX_NAMESPACE_CHARACTERS}")
    return packet


class _Placeholder(msgspec.Struct, forbid_unknown_fields=True):
    """Stands in a packet for an attachment."""

    is_placeholder: Literal[True] = msgspec.field(name="_placeholder")
    num: Literal[0]


_PLACEHOLDER: Final = msgspec.json.Decoder(_Placeholder)


def with_attachment(text: str, payload: bytes) -> str:
    """The JSON text of an event whose attachment is in its field ``payload`` as base64. Raises ``PacketError``."""
    try:
        name, fields = _FIELDS.decode(text)
        _PLACEHOLDER.decode(fields["payload"])
    except (ValueError, KeyError, RecursionError):
        raise PacketError("an attachment is the field 'payload' of a request") from None
    return msgspec.json.encode([name, {**fields, "payload": payload}]).decode()


def event_of(text: str) -> tuple[str, list[msgspec.Raw]]:
    """The name and the arguments in the JSON text of an event, not decoded. Raises ``PacketError``."""
    try:
        name, *arguments = _PARTS.decode(text)
        return _NAME.decode(name), arguments
    except (ValueError, RecursionError):
        argument = _ARGUMENT.fullmatch(text)
        if argument is None:
            raise PacketError(f'not an event: expected is ["{REQUEST}", {{...}}]') from None
        return REQUEST, [msgspec.Raw(argument[1].encode())]  # decoding it will say what is wrong


def only(event: str, arguments: list[msgspec.Raw]) -> bytes:
    """The one argument of an event. Raises ``PacketError``."""
    if len(arguments) != 1:
        raise PacketError(f"{len(arguments)} arguments: {event!r} has one")
    return bytes(arguments[0])
