"""The parser of event streams keeps its bounds however a stream is cut."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feed.wire import (
    MAX_SSE_EVENT_BYTES,
    SseItem,
    SseParser,
    TooLargeError,
)

PURE = settings(deadline=None, derandomize=True, database=None)
BOUNDED = st.lists(
    st.sampled_from(
        [b"data: ab", b"data", b"id: 7", b"x", b":", b": ping", b"", b"", b"e: e", b"y" * 30, b"y" * 31]
    ).flatmap(lambda line: st.sampled_from([line + b"\n", line + b"\r\n", line + b"\r"])),
    max_size=20,
).map(b"".join)


def parsed(pieces: list[bytes]) -> tuple[list[SseItem], str]:
    """What comes of a stream in these pieces, without the places of items, and the error behind that."""
    parser, items = SseParser(), []
    try:
        for piece in pieces:
            for item in parser.feed(piece):
                items.append(item._replace(end=0))
    except TooLargeError as error:
        return items, str(error)
    return items, ""


@PURE
@given(BOUNDED)
@example(b"data: ab\n" * 5 + b"\n")
@example(b"data: ab\n: ping\n" * 5 + b"\n")
@example(b"data: ab\n\n" * 9)
@example(b"data: ab\r\n\n")
@example(b"data: a\n\n" + b"y" * 31)
def test_an_event_stream_breaks_its_bounds_at_the_same_place_however_it_is_cut(stream: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feed.wire.MAX_SSE_LINE_BYTES", 30)
        patch.setattr("feed.wire.MAX_SSE_EVENT_BYTES", 40)
        whole = parsed([stream])
        assert parsed([stream[i : i + 1] for i in range(len(stream))]) == whole
        for cut in range(len(stream) + 1):
            assert parsed([stream[:cut], stream[cut:]]) == whole


def test_an_event_of_exactly_the_bound_is_read() -> None:
    line = b"data:" + b"x" * (MAX_SSE_EVENT_BYTES // 2 - 6) + b"\n"
    assert len(list(SseParser().feed(line * 2 + b"\n"))) == 1
    with pytest.raises(TooLargeError):
        list(SseParser().feed(line * 2 + b"x\n\n"))
