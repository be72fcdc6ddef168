"""From the room and the cursor that a request names to a reader, or to the refusal that says what was wrong."""

from typing import Final

import msgspec

from feed.cursor import CursorError, parse_cursor
from feed.rooms import DEFAULT_ROOM, RoomNameError, check_room
from feed.strict import JsonError, decode_strictly
from servers.gate.errors import Refusal
from servers.hub.hub import Hub, UnknownRoomError
from servers.hub.reader import Reader

MAX_HELLO_BYTES: Final = 4096


class Hello(msgspec.Struct, forbid_unknown_fields=True):
    """The first and only message of a client of the baseline."""

    type: str
    room: str = ""
    since: str = ""


_HELLO_DECODER: Final = msgspec.json.Decoder(Hello)


def read_hello(frame: bytes) -> Hello:
    """What a client of the baseline subscribes to. Raises ``Refusal``."""
    try:
        hello = decode_strictly(frame, _HELLO_DECODER)
    except JsonError as error:
        raise Refusal("bad_request", f"not a subscribe message: {error}") from error
    if hello.type != "subscribe":
        raise Refusal("bad_request", f"type {hello.type[:40]!r}: the first message is 'subscribe'")
    return hello


def subscribe(hub: Hub, room: str | None, since: str | None) -> Reader:
    """A reader of ``room`` (default ``feed``) from the cursor ``since`` on (default: now). Raises ``Refusal``.

    Empty means absent. The name is checked although the hub knows its rooms, since inboxes are among them.
    """
    try:
        return hub.subscribe(check_room(room or DEFAULT_ROOM), parse_cursor(since) if since else None)
    except RoomNameError as error:
        raise Refusal("bad_room", str(error)) from error
    except UnknownRoomError as error:
        raise Refusal("unknown_room", str(error)) from error
    except CursorError as error:
        raise Refusal("bad_cursor", str(error)) from error
