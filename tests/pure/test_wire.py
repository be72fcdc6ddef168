"""Encodings of an event and their decoders: whatever the pieces in which the bytes arrive, the result is the same."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from feed.cursor import Cursor
from feed.envelope import (
    Envelope,
    decode_batch,
    decode_envelope,
    decode_error,
    decode_packet,
    decode_stamp,
    decode_welcome,
    encode_envelope,
    encode_error,
)
from feed.rooms import check_room
from feed.wire import (
    HEARTBEAT_FRAME,
    MAX_SSE_LINE_BYTES,
    BinaryEvent,
    Event,
    FrameDecoder,
    SseItem,
    SseParser,
    WireError,
    encode_batch,
    encode_frame,
    encode_sse,
    encode_websocket_text,
)

PURE = settings(deadline=None, derandomize=True, database=None)

CURSORS = st.builds(Cursor, st.text("0123456789abcdef", min_size=8, max_size=8), st.integers(0, 10**18 - 1))
ROOMS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", fullmatch=True).map(check_room)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
EVENTS = st.builds(Event, st.just("event"), CURSORS, ROOMS, VALUES.map(msgspec.json.encode))
CUTS = st.lists(st.integers(0, 150), max_size=12)


def _with_head_size(of: tuple[int, bytes]) -> bytes:
    size, rest = of
    return size.to_bytes(4, "big") + rest


def pieces_of(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The stream cut at the given places; a place named twice gives an empty piece."""
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(places)]


@PURE
@given(st.one_of(st.integers(0, 300), st.sampled_from([65_535, 65_536, 70_000])))
def test_a_websocket_frame_is_what_the_websockets_library_would_send(size: int) -> None:
    text = b"x" * size
    assert encode_websocket_text(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


def _is(envelope: Envelope, event: Event, value: Any) -> None:
    assert (envelope.type, envelope.id, envelope.value()) == ("event", event.id, value)


@PURE
@given(CURSORS, ROOMS, VALUES)
def test_every_encoding_of_an_event_is_the_same_envelope(cursor: Cursor, room: str, value: Any) -> None:
    data = msgspec.json.encode(value)
    event = Event("event", cursor, room, data)
    plain = decode_envelope(event.json)
    assert plain == decode_envelope(encode_envelope("event", str(cursor), room, value))
    assert (plain.type, plain.id, plain.room, plain.value()) == ("event", str(cursor), room, value)
    assert bytes(plain.data) == data, "the payload's bytes are what they were"
    assert event.seq == cursor.seq
    assert event.websocket_message == {"type": "websocket.send", "text": event.json.decode()}
    (frame,) = FrameDecoder().feed(event.frame)
    (block,) = SseParser().feed(event.sse)
    assert frame == block.data == event.json
    assert (block.event, block.last_event_id, block.comment) == ("message", event.id, False)
    assert block.end == len(event.sse)
    assert json.loads(event.json)["data"] == value


@PURE
@given(CURSORS, ROOMS, VALUES, st.binary(min_size=1, max_size=300))
def test_a_payload_is_the_same_in_text_and_in_binary(cursor: Cursor, room: str, value: Any, payload: bytes) -> None:
    event = BinaryEvent("snapshot", cursor, room, msgspec.json.encode(value), None, "", payload)
    text, packet = decode_envelope(event.json), decode_packet(event.packet)
    assert text == packet
    assert (text.type, text.id, text.room, text.value(), text.payload) == (
        "snapshot", str(cursor), room, value, payload,
    )  # fmt: skip
    assert event.websocket_message == {"type": "websocket.send", "bytes": event.packet}
    assert event.websocket_frame == Frame(Opcode.BINARY, event.packet).serialize(mask=False)
    (block,) = SseParser().feed(event.sse)
    (frame,) = FrameDecoder().feed(event.frame)
    assert block.data == frame == event.json
    assert decode_batch(decode_envelope(encode_batch(cursor, room, "new", 0, [event])).data).events == [text]
    assert decode_envelope(event.skipped.json).type == "skip"


@PURE
@given(st.binary(max_size=40) | st.tuples(st.integers(0, 60), st.binary(max_size=40)).map(_with_head_size))
def test_what_is_no_binary_message_is_refused(message: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_packet(message)


@PURE
@given(
    CURSORS, ROOMS, st.sampled_from(["new", "resumed", "gap"]), st.none() | st.integers(0), st.lists(EVENTS, max_size=5)
)
def test_a_batch_holds_its_verdict_and_its_events(
    cursor: Cursor, room: str, resume: str, missed: int | None, events: list[Event]
) -> None:
    envelope = decode_envelope(encode_batch(cursor, room, resume, missed, iter(events)))
    assert (envelope.type, envelope.id, envelope.room) == ("batch", str(cursor), room)
    batch = decode_batch(envelope.data)
    assert (batch.resume, batch.missed) == (resume, missed)
    assert batch.events == [decode_envelope(event.json) for event in events]
    welcome = decode_welcome(envelope.data)
    assert (welcome.resume, welcome.missed, welcome.client) == (resume, missed, "")


@PURE
@given(st.text(max_size=30), st.text(max_size=60))
def test_an_error_has_its_one_shape(code: str, message: str) -> None:
    envelope = decode_envelope(encode_error(code, message))
    assert (envelope.type, envelope.id, envelope.room) == ("error", "", "")
    assert decode_error(envelope.data) == decode_error(msgspec.Raw(msgspec.json.encode(envelope.value())))
    assert envelope.value() == {"code": code, "message": message}


@PURE
@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), VALUES)
def test_a_stamp_is_read_among_other_data(n: int, due_ns: int, other: Any) -> None:
    stamp = decode_stamp(msgspec.Raw(msgspec.json.encode({"a": other, "n": n, "z": other, "due_ns": due_ns})))
    assert (stamp.n, stamp.due_ns) == (n, due_ns)


DECODERS = (
    decode_envelope,
    *(lambda text, decode=decode: decode(msgspec.Raw(text)) for decode in (decode_batch, decode_stamp, decode_welcome)),
)


@PURE
@given(
    st.sampled_from(DECODERS),
    st.one_of(
        st.binary(max_size=80),
        VALUES.map(msgspec.json.encode),
        st.tuples(EVENTS, st.integers(0, 200)).map(lambda cut: cut[0].json[: cut[1]]),
    ),
)
def test_what_is_no_envelope_raises_only_decode_errors(decode: Callable[[bytes], object], text: bytes) -> None:
    try:
        decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        assert str(error)


@PURE
@given(st.lists(st.binary(max_size=40), max_size=8), st.binary(max_size=3), CUTS)
def test_frames_come_out_however_the_stream_is_cut(bodies: list[bytes], rest: bytes, cuts: list[int]) -> None:
    stream = b"".join(map(encode_frame, bodies))
    decoder = FrameDecoder()
    came: list[bytes] = []
    fed = 0
    ends = [sum(len(body) + 4 for body in bodies[: i + 1]) for i in range(len(bodies))]
    for piece in pieces_of(stream + rest, cuts):
        fed += len(piece)
        came += decoder.feed(piece)
        assert came == bodies[: sum(end <= fed for end in ends)], "a frame is given with its last byte, not later"
    assert came == bodies


def test_an_empty_frame_is_the_heartbeat() -> None:
    assert encode_frame(b"") == HEARTBEAT_FRAME
    assert FrameDecoder().feed(HEARTBEAT_FRAME) == [b""]


@PURE
@given(st.integers(0, 50), st.integers(0, 60), CUTS)
def test_a_frame_over_the_bound_is_refused(bound: int, size: int, cuts: list[int]) -> None:
    decoder = FrameDecoder(bound)
    pieces = pieces_of(encode_frame(bytes(size)), cuts)
    if size <= bound:
        assert [frame for piece in pieces for frame in decoder.feed(piece)] == [bytes(size)]
        return
    with pytest.raises(WireError, match=f"{size} bytes is over the bound of {bound}"):
        for piece in pieces:
            decoder.feed(piece)


def test_the_length_alone_is_refused_before_any_byte_of_the_body() -> None:
    with pytest.raises(WireError, match="4294967295 bytes"):
        FrameDecoder().feed(b"\xff\xff\xff\xff")


def expected_items(stream: bytes) -> tuple[list[SseItem], list[int], int | None]:
    """The whole stream read as WHATWG HTML 9.2.6 says; ``end`` after the line end that completed the item.

    Beside each item, the place after the first byte of that line end (for CR LF, the CR completes the line), and the
    reconnection time.
    """
    items: list[SseItem] = []
    completed: list[int] = []
    retry_ms: int | None = None
    data = b""
    event = id_buffer = last_id = ""
    at = 3 if stream.startswith(b"\xef\xbb\xbf") else 0
    while True:
        stops = [stop for mark in (b"\r", b"\n") if (stop := stream.find(mark, at)) >= 0]
        if not stops:
            return items, completed, retry_ms
        line, stop = stream[at : min(stops)], min(stops) + 1
        at = stop + (stream[stop - 1 : stop + 1] == b"\r\n")
        before = len(items)
        if not line:
            last_id = id_buffer
            if data:
                items.append(SseItem(data[:-1], event or "message", last_id, False, at))
            data, event = b"", ""
        elif line[:1] == b":":
            items.append(SseItem(line[2:] if line[1:2] == b" " else line[1:], "", last_id, True, at))
        else:
            name, colon, value = line.partition(b":")
            if colon and value[:1] == b" ":
                value = value[1:]
            if name == b"data":
                data += value + b"\n"
            elif name == b"event":
                event = value.decode(errors="replace")
            elif name == b"id" and b"\0" not in value:
                id_buffer = value.decode(errors="replace")
            elif name == b"retry" and value and all(48 <= byte <= 57 for byte in value) and len(value) <= 10:
                retry_ms = int(value)
        completed += [stop] * (len(items) - before)


LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
BOM = b"\xef\xbb\xbf"
FIELD_LINES = st.tuples(
    st.sampled_from([b"data", b"data", b"event", b"id", b"retry", b"", b"", b"Data", b"dat", b" data", b"unknown"]),
    st.sampled_from([b":", b": ", b":  ", b""]),
    st.sampled_from(
        [b"", b"x", b"two words", b"7", b"3000", b"-1", b"1e3", b"12345678901", b"a:b", b"\0", b"a\0b", BOM]
    )
    | st.text(max_size=4).map(lambda text: text.encode().replace(b"\n", b"").replace(b"\r", b""))
    | st.sampled_from([b"\xff", b"\xc3", "²".encode()]),
).map(b"".join)
STREAMS = st.one_of(
    st.tuples(
        st.sampled_from([b"", b"", BOM, BOM + BOM]),
        st.lists(st.tuples(FIELD_LINES | st.just(b""), LINE_ENDS).map(b"".join), max_size=16).map(b"".join),
        st.sampled_from([b"", b"data: unfinished", b":"]),
    ).map(b"".join),
    st.lists(st.sampled_from([b"data", b":", b" ", b"\n", b"\r", b"id", b"\0", b"x", BOM]), max_size=40).map(b"".join),
)


@settings(PURE, max_examples=400)
@given(STREAMS, CUTS)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 10, 19, 21])
@example(b"data: a\r\n\r\n", list(range(12)))
@example(BOM + b"data: a\n\n", [1, 2])
@example(b"data\n\n", [])
@example(b"data: YHOO\ndata: +2\ndata: 10\n\n", [12])
@example(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", [30])
@example(b"data\n\ndata\ndata\n\ndata:", [])
@example(b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\nid: 3\n\n:c\n", [])
@example(b"event: add\r\r\ndata: 1\n\r", [11])
def test_an_event_stream_is_read_the_same_however_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    items, completed, retry_ms = expected_items(stream)
    parser = SseParser()
    came: list[SseItem] = []
    fed = 0
    for piece in pieces_of(stream, cuts):
        before, fed = fed, fed + len(piece)
        new = list(parser.feed(piece))
        assert all(before < item.end <= fed for item in new), "an item's last byte is in the piece that gave it"
        came += new
        assert len(came) == sum(place <= fed for place in completed), "an item is given with its last byte, not later"
    assert [item[:4] for item in came] == [item[:4] for item in items]
    for item, whole, place in zip(came, items, completed, strict=True):
        assert item.end in (place, whole.end), "for CR LF the parser may or may not have seen the LF yet"
    assert parser.retry_ms == retry_ms


@PURE
@given(STREAMS)
def test_the_end_of_an_item_is_where_its_line_ends(stream: bytes) -> None:
    assert list(SseParser().feed(stream)) == expected_items(stream)[0]


@PURE
@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=5), CUTS)
def test_our_own_stream_is_read_back(events: list[tuple[Event, bool]], cuts: list[int]) -> None:
    blocks = [event.sse if with_id else encode_sse(event.json) for event, with_id in events]
    parser = SseParser()
    items = [item for piece in pieces_of(b"".join(blocks), cuts) for item in parser.feed(piece)]
    assert [item.data for item in items] == [event.json for event, _ in events]
    assert [item.end for item in items] == [sum(map(len, blocks[: i + 1])) for i in range(len(blocks))]
    ids = [""]
    for event, with_id in events:
        ids.append(event.id if with_id else ids[-1])
    assert [item.last_event_id for item in items] == ids[1:]
    assert parser.last_event_id == ids[-1]


@PURE
@given(st.integers(0, 60), st.sampled_from([b"", b"\n", b"\r", b"\r\n", b"\n\n"]), CUTS)
@example(41, b"\n", [])
@example(41, b"\n", [20])
def test_a_line_over_the_bound_is_refused_however_it_is_cut(size: int, end: bytes, cuts: list[int]) -> None:
    stream = b"x" * size + end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feed.wire.MAX_SSE_LINE_BYTES", 40)
        parser = SseParser()
        if size <= 40:
            assert not [item for piece in pieces_of(stream, cuts) for item in parser.feed(piece)]
            return
        with pytest.raises(WireError, match="over the bound of 40 bytes"):
            for piece in pieces_of(stream, cuts):
                list(parser.feed(piece))


def test_a_line_of_exactly_the_bound_is_read() -> None:
    data = b"x" * (MAX_SSE_LINE_BYTES - len(b"data:"))
    parser = SseParser()
    half = MAX_SSE_LINE_BYTES // 2
    stream = b"data:" + data + b"\n\n"
    assert [item.data for piece in (stream[:half], stream[half:]) for item in parser.feed(piece)] == [data]
    with pytest.raises(WireError, match=f"over the bound of {MAX_SSE_LINE_BYTES} bytes"):
        list(SseParser().feed(b"x" * (MAX_SSE_LINE_BYTES + 1)))
