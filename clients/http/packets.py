"""Engine.IO's and Socket.IO's packets, as far as our client reads them apart from the libraries."""

import json
from typing import Annotated, Any, Final

import msgspec
from engineio.packet import OPEN
from engineio.payload import Payload

from feed.envelope import Envelope
from feed.wire import WireError

MAX_PING_MS: Final = 86_400_000
"""Longest heartbeat interval that a server may announce: a day."""
BINARY_PACKETS: Final = ("5", "6")
ONE_ATTACHMENT: Final = "51-"
"""How an event with one binary attachment begins."""


class _Handshake(msgspec.Struct):
    """What the library reads from the first packet (Engine.IO protocol 4, handshake)."""

    sid: str
    upgrades: list[str]
    # The library's server cuts it to whole seconds, so it is 0 below one second.
    pingInterval: Annotated[int, msgspec.Meta(ge=0, le=MAX_PING_MS)]  # noqa: N815 - named by the protocol
    pingTimeout: Annotated[int, msgspec.Meta(ge=1, le=MAX_PING_MS)]  # noqa: N815 - named by the protocol


def check_packets(body: bytes, opening: bool) -> None:
    """Are these Engine.IO packets, and is the first of a connection a handshake? Raises one of ``SENSELESS`` if not."""
    try:
        packets = Payload(encoded_payload=body.decode()).packets
    except (ValueError, LookupError, RecursionError) as error:
        raise WireError(f"no Engine.IO packets: {error}") from error
    if not opening:
        return
    if not packets or packets[0].packet_type != OPEN:
        raise WireError("no Engine.IO handshake")
    msgspec.convert(packets[0].data, _Handshake)


class Json:
    """JSON for python-socketio. Arguments that are objects stay text, so that an envelope is decoded once."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str, **_: Any) -> Any:
        if not text.startswith("["):
            return json.loads(text)
        parts = msgspec.json.decode(text, type=list[msgspec.Raw])
        return [part if memoryview(part)[0] == ord("{") else msgspec.json.decode(part) for part in parts]


class _Attached(msgspec.Struct):
    """An envelope whose ``payload`` is a placeholder for the attachment."""

    type: str
    id: str
    room: str
    data: msgspec.Raw


_ATTACHED_DECODER: Final = msgspec.json.Decoder(_Attached)


def with_payload(raw: msgspec.Raw, payload: bytes) -> Envelope:
    """The envelope of an event and its attachment. Raises ``msgspec.ValidationError``."""
    of = _ATTACHED_DECODER.decode(raw)
    return Envelope(of.type, of.id, of.room, of.data, payload)
