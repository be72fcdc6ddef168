"""Encodings of an event on the wire, each made once per event, and their incremental decoders.

* JSON event: the envelope. Used by WebSocket messages and inside batches.
* JSON batch: all events newer than a cursor, for the polls.
* SSE block: ``id:`` and ``data:`` lines (WHATWG HTML, section 9.2, "Server-sent events").
* WebSocket frame: an unmasked text message (RFC 6455, section 5.2), or a binary one for an event with a payload.
* Frame: a 4-byte big-endian length and that many bytes of JSON, for the raw baseline. Length 0 is a heartbeat.
"""

import struct
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final, NamedTuple, Protocol

from feed.cursor import Cursor
from feed.envelope import encode_packet, with_payload

MAX_FRAME_BYTES: Final = 1 << 20
"""Longest frame, without its length prefix."""
MAX_SSE_LINE_BYTES: Final = 1 << 20
"""Longest line of an event stream, without its line end."""
MAX_SSE_EVENT_BYTES: Final = 2 << 20
"""Longest event: all lines up to the blank one, each with one byte for its end, ignored lines included.

Comments do not count, since nothing of them is kept. It is twice the line bound, so that the longest ``data:`` line may
have an ``id:`` line next to it."""
MAX_RETRY_DIGITS: Final = 10  # 115 days in milliseconds; longer ones are ignored like any malformed value
HEARTBEAT_FRAME: Final = b"\x00\x00\x00\x00"
_LENGTH: Final = struct.Struct(">I")
_FINAL_TEXT: Final = 0x81
_FINAL_BINARY: Final = 0x82


class WireError(ValueError):
    """The bytes do not follow their format."""


class TooLargeError(WireError):
    """Something is over a bound; the message names both."""


class Audience(NamedTuple):
    """The subscribers of a room that must not get an event: one client, and readers of a copy in an earlier room."""

    exclude: str
    copies: tuple[tuple[str, int], ...]
    """(room, sequence number) of every copy of a message to several rooms, in the order of the rooms."""


class Event:
    """One published event. Every encoding is made on first use and then shared by all subscribers."""

    def __init__(
        self, type_: str, cursor: Cursor, room: str, data: bytes, audience: Audience | None = None, key: str = ""
    ) -> None:
        self.seq = cursor.seq
        self.type = type_
        self.audience = audience
        """``None``: the event is for every reader of the room."""
        self.room = room
        self.key = key
        """What it is the newest state of, in rooms that conflate."""
        self._cursor = cursor
        self.id = str(cursor)
        # The data is JSON already, so joining text gives what an encoder would, without parsing it again.
        head = f'{{"type":"{type_}","id":"{self.id}","room":"{room}","data":'.encode()
        self.json = b"".join((head, data, b"}"))

    @cached_property
    def skipped(self) -> "Event":
        """The ``skip`` that other subscribers get instead: it has the event's number, so that nothing looks lost."""
        return Event("skip", self._cursor, self.room, b"{}")

    @cached_property
    def websocket_message(self) -> dict[str, Any]:
        """The event as a WebSocket message of ASGI."""
        return {"type": "websocket.send", "text": self.json.decode()}

    @cached_property
    def sse(self) -> bytes:
        """The event as an SSE block."""
        return encode_sse(self.json, self.id)

    @cached_property
    def websocket_frame(self) -> bytes:
        """The JSON event as a WebSocket text message, framed as a server does."""
        return encode_websocket_text(self.json)

    @cached_property
    def frame(self) -> bytes:
        """The event as a length-prefixed frame."""
        return encode_frame(self.json)


class BinaryEvent(Event):
    """An event with a payload that is no JSON, which is base64 where a transport has text only."""

    def __init__(
        self, type_: str, cursor: Cursor, room: str, data: bytes, audience: Audience | None, key: str, payload: bytes
    ) -> None:
        super().__init__(type_, cursor, room, data, audience, key)
        self.payload = payload
        self.head = self.json
        """The envelope in JSON, without the payload."""
        del self.json  # made when a transport needs it

    @cached_property
    def json(self) -> bytes:  # type: ignore[override]  # an attribute there, as every other event needs it
        """The event with its payload in base64."""
        return with_payload(self.head, self.payload)

    @cached_property
    def packet(self) -> bytes:
        """The event as a binary message (``feed.envelope.decode_packet``)."""
        return encode_packet(self.head, self.payload)

    @cached_property
    def websocket_message(self) -> dict[str, Any]:
        """As for any event, but binary."""
        return {"type": "websocket.send", "bytes": self.packet}

    @cached_property
    def websocket_frame(self) -> bytes:
        """The binary message, framed as a server does."""
        return _websocket_head(_FINAL_BINARY, len(self.packet)) + self.packet


class HasJson(Protocol):
    """An envelope as JSON text: an event, or a notice among events."""

    @property
    def json(self) -> bytes: ...


def encode_batch(
    cursor: Cursor, room: str, resume: str, missed: int | None, events: Iterable[HasJson], conflated: bool = False
) -> bytes:
    """The answer to a poll: one envelope with all events after the cursor, and how the cursor was understood."""
    # As in an event, nothing here needs escaping, and two calls of an encoder take nearly twice as long.
    count = "null" if missed is None else missed
    head = f'{{"type":"batch","id":"{cursor}","room":"{room}","data":{{"resume":"{resume}","missed":{count},"events":['
    end = b'],"conflated":true}}' if conflated else b"]}}"
    return b"".join((head.encode(), b",".join([event.json for event in events]), end))


def encode_sse(data: bytes, id_: str = "") -> bytes:
    """An SSE block: one ``data:`` line, since JSON as encoded here holds no line break, and an ``id:`` if given."""
    if id_:
        return b"".join((b"id: ", id_.encode(), b"\ndata: ", data, b"\n\n"))
    return b"".join((b"data: ", data, b"\n\n"))


def encode_websocket_text(text: bytes) -> bytes:
    """A final, unmasked, uncompressed text frame: the same for every client (RFC 6455, section 5.2)."""
    return _websocket_head(_FINAL_TEXT, len(text)) + text


def _websocket_head(first: int, size: int) -> bytes:
    if size < 126:
        return struct.pack(">BB", first, size)
    if size < 1 << 16:
        return struct.pack(">BBH", first, 126, size)
    return struct.pack(">BBQ", first, 127, size)


def encode_frame(body: bytes) -> bytes:
    """A length-prefixed frame."""
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Cuts a byte stream into frames, in whatever pieces it arrives."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes. Raises ``TooLargeError`` for a length over the bound."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        while len(buffer) - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._max_frame_bytes:
                raise TooLargeError(f"a frame of {length} bytes is over the bound of {self._max_frame_bytes}")
            stop = start + 4 + length
            if stop > len(buffer):
                break
            frames.append(bytes(buffer[start + 4 : stop]))
            start = stop
        del buffer[:start]
        return frames


class SseItem(NamedTuple):
    """What an event stream yields: a dispatched event, or a comment (``comment`` set, used as heartbeat).

    ``end`` is the number of stream bytes up to the item's end, so that a receiver can tell which of its reads brought
    the last byte.
    """

    data: bytes
    event: str
    last_event_id: str
    comment: bool
    end: int


class SseParser:
    """The event-stream format (WHATWG HTML 9.2.6), fed with pieces of bytes cut anywhere.

    Attributes: ``last_event_id`` and ``retry_ms`` (``None`` until the stream sets it), kept across events as the
    standard says; ``consumed``, the bytes that were fed. A line over ``MAX_SSE_LINE_BYTES`` or an event over
    ``MAX_SSE_EVENT_BYTES`` raises ``TooLargeError``, after the items before it.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry_ms: int | None = None
        self._line = bytearray()
        self._data: list[bytes] = []
        self._event = ""
        self._id_buffer = ""
        self._after_cr = False
        self._at_start = True
        self._event_bytes = 0
        self.consumed = 0

    def feed(self, chunk: bytes) -> Iterator[SseItem]:
        """Yield the items that ``chunk`` completes."""
        start = 0
        if self._after_cr and chunk[:1] == b"\n":  # the second half of a CRLF that was cut in two
            start = 1
        if chunk:
            self._after_cr = False
        base = self.consumed
        self.consumed += len(chunk)
        size = len(chunk)
        while start < size:
            stop, after = _line_end(chunk, start)
            if stop < 0:
                self._line += chunk[start:]
                break
            line = bytes(self._line) + chunk[start:stop]
            _check_line(len(line))
            self._line.clear()
            self._after_cr = after == size and chunk.endswith(b"\r")
            start = after
            item = self._take(line, base + after)
            if item is not None:
                yield item
        _check_line(len(self._line))

    def _take(self, line: bytes, end: int) -> SseItem | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch(end)
        if line.startswith(b":"):
            return SseItem(line[1:].removeprefix(b" "), "", self.last_event_id, True, end)
        self._event_bytes += len(line) + 1
        if self._event_bytes > MAX_SSE_EVENT_BYTES:
            raise TooLargeError(f"an event is over the bound of {MAX_SSE_EVENT_BYTES} bytes")
        name, _, value = line.partition(b":")
        self._field(name, value.removeprefix(b" "))
        return None

    def _field(self, name: bytes, value: bytes) -> None:
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id_buffer = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= MAX_RETRY_DIGITS:
            self.retry_ms = int(value)

    def _dispatch(self, end: int) -> SseItem | None:
        self.last_event_id = self._id_buffer
        data, event = self._data, self._event
        self._data, self._event = [], ""
        self._event_bytes = 0
        if not data:
            return None
        return SseItem(b"\n".join(data), event or "message", self.last_event_id, False, end)


def _check_line(size: int) -> None:
    if size > MAX_SSE_LINE_BYTES:
        raise TooLargeError(f"an event-stream line is over the bound of {MAX_SSE_LINE_BYTES} bytes")


def _line_end(chunk: bytes, start: int) -> tuple[int, int]:
    """Index of the line's end and of the next line's start; (-1, -1) if the line does not end in this chunk."""
    newline = chunk.find(b"\n", start)
    carriage = chunk.find(b"\r", start, newline if newline >= 0 else len(chunk))
    if carriage >= 0:
        return carriage, carriage + (2 if chunk[carriage + 1 : carriage + 2] == b"\n" else 1)
    if newline >= 0:
        return newline, newline + 1
    return -1, -1
