"""From what a request says to a subscription, or to the refusal that names what was wrong with it."""

from feed.cursor import CursorError, parse_cursor
from feed.rooms import DEFAULT_ROOM, RoomNameError, check_room
from servers.gate.errors import Refusal
from servers.hub.hub import Hub, UnknownRoomError
from servers.hub.reader import Reader


def subscribe(hub: Hub, room: str | None, since: str | None) -> Reader:
    """A reader of ``room`` (default ``feed``) from the cursor ``since`` on (default: now). Raises ``Refusal``.

    What is empty is absent. The name is checked although the hub knows its rooms: inboxes are among them.
    """
    try:
        return hub.subscribe(check_room(room or DEFAULT_ROOM), parse_cursor(since) if since else None)
    except RoomNameError as error:
        raise Refusal("bad_room", str(error)) from error
    except UnknownRoomError as error:
        raise Refusal("unknown_room", str(error)) from error
    except CursorError as error:
        raise Refusal("bad_cursor", str(error)) from error
