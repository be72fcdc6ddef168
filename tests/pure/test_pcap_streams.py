"""The reader of packet captures: whatever becomes of segments under way, the stream is what was sent."""

import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capture.pcap import FIN, RST, SYN, CaptureError, Segment, read_pcap, segments, wire_bytes
from bench.capture.streams import Stream, arrivals, sent_from
from bench.capture.wire import late_reset_bytes, repeated_bytes, unmerged_header_bytes
from feed.envelope import encode_envelope
from feed.sources import synthetic_data

SERVER, CLIENT = 8000, 40000
SEQUENCES = 1 << 32
ACK = 0x10
first_numbers = st.one_of(st.integers(0, SEQUENCES - 1), st.integers(SEQUENCES - 50, SEQUENCES - 1))


def segment(sequence: int, payload: bytes, at_ns: int = 0, flags: int = ACK, client: int = CLIENT) -> Segment:
    """From the server."""
    return Segment(at_ns, SERVER, client, sequence % SEQUENCES, flags, payload, 52 + len(payload))


def pcap(captured: Sequence[Segment], order: str = "<", magic: int = 0xA1B23C4D, link: int = 1) -> bytes:
    """A capture file of these segments."""
    ns_per_tick = 1 if magic == 0xA1B23C4D else 1000
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link)
    for one in captured:
        options = bytes(12)
        tcp = struct.pack(">HHIIBBHHH", one.source_port, one.target_port, one.sequence, 0, 8 << 4, one.flags, 0, 0, 0)
        ip = struct.pack(">BBHIBBH8x", 0x45, 0, one.ip_bytes, 0, 64, 6, 0)
        frame = bytes(12) + b"\x08\x00" + ip + tcp + options + one.payload
        seconds, rest_ns = divmod(one.at_ns, 10**9)
        data += struct.pack(order + "4I", seconds, rest_ns // ns_per_tick, len(frame), len(frame)) + frame
    return data


@st.composite
def journeys(draw: st.DrawFn) -> tuple[bytes, int, list[tuple[int, bytes]]]:
    """What was sent, its first sequence number, and its segments as they came: cut anyhow, out of order, repeated."""
    sent = draw(st.binary(min_size=1, max_size=200))
    cuts = sorted(draw(st.sets(st.integers(1, len(sent)), max_size=12)) | {0, len(sent)})
    pieces = [(a, sent[a:b]) for a, b in itertools.pairwise(cuts)]
    for _ in range(draw(st.integers(0, 6))):  # sent again, cut in another way
        a = draw(st.integers(0, len(sent) - 1))
        pieces.append((a, sent[a : draw(st.integers(a + 1, len(sent)))]))
    return sent, draw(first_numbers), draw(st.permutations(pieces))


@given(journeys())
def test_segments_cut_reordered_and_repeated_give_the_same_stream(
    journey: tuple[bytes, int, list[tuple[int, bytes]]],
) -> None:
    sent, first, pieces = journey
    captured = [segment(first - 1, b"", flags=SYN | ACK)]
    captured += [segment(first + offset, payload, at_ns) for at_ns, (offset, payload) in enumerate(pieces, 1)]
    (stream,) = sent_from(SERVER, captured)
    assert stream.data == sent
    for end in range(1, len(sent) + 1):  # complete as soon as, and not before, every byte up to there has come
        have = [set(range(offset, offset + len(payload))) for offset, payload in pieces]
        needed = set(range(end))
        first_enough = next(i for i in range(1, len(have) + 1) if needed <= set().union(*have[:i]))
        assert stream.complete_ns(end) == first_enough


@given(journeys(), st.sampled_from("<>"), st.sampled_from((0xA1B23C4D, 0xA1B2C3D4)))
def test_what_is_written_is_read(journey: tuple[bytes, int, list[tuple[int, bytes]]], order: str, magic: int) -> None:
    _, first, pieces = journey
    captured = [segment(first + offset, payload, 10**18 + 5000 * i) for i, (offset, payload) in enumerate(pieces)]
    captured = [one._replace(at_ns=one.at_ns % (1 << 61)) for one in captured]
    read = list(segments(pcap(captured, order, magic)))
    assert read == captured
    assert wire_bytes(read) == sum(52 + len(payload) for _, payload in pieces)


@given(st.data())
def test_a_file_that_is_cut_short_is_refused_with_the_packet(data: st.DataObject) -> None:
    whole = pcap([segment(1, b"abc"), segment(4, b"defg")])
    ends = {24, 24 + 16 + 14 + 52 + 3, len(whole)}  # nothing is missing there
    cut = data.draw(st.integers(0, len(whole) - 1).filter(lambda length: length not in ends))
    with pytest.raises(CaptureError, match=r"cut short in packet [12]|are no capture"):
        list(segments(whole[:cut]))


@given(st.binary(max_size=300))
def test_nonsense_gives_an_error_of_one_line(nonsense: bytes) -> None:
    for data in (nonsense, pcap([])[:24] + nonsense, pcap([segment(1, nonsense[:40])])[:40] + nonsense):
        try:
            list(segments(data))
        except CaptureError as error:
            assert "\n" not in str(error)


def test_files_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "x.pcap"
    for content, said in (
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "as no pcap file does"),
        (pcap([], link=113), "not Ethernet"),
    ):
        file.write_bytes(content)
        with pytest.raises(CaptureError, match=f"x.pcap: .*{said}"):
            read_pcap(file)
    with pytest.raises(CaptureError, match="No such file"):
        read_pcap(tmp_path / "missing.pcap")


def test_a_keep_alive_probe_adds_nothing() -> None:
    stream = Stream(100)
    stream.add(99, b"\0", 1)
    stream.add(100, b"ab", 2)
    stream.add(101, b"b", 3)
    assert (bytes(stream.data), stream.complete_ns(2)) == (b"ab", 2)


def test_a_port_that_is_used_again_is_another_connection() -> None:
    captured = [
        segment(9, b"", flags=SYN),
        segment(9, b"", flags=SYN),  # sent again
        segment(10, b"one"),
        segment(500, b"", flags=SYN),
        segment(501, b"two"),
        segment(501, b"unknown", client=CLIENT + 1),  # began before the capture
    ]
    assert [bytes(stream.data) for stream in sent_from(SERVER, captured)] == [b"one", b"two"]


@given(st.integers(1, 5), st.binary(max_size=10), st.integers(1, 60))
def test_an_event_is_complete_when_the_outermost_envelope_around_it_is(count: int, between: bytes, size: int) -> None:
    """Alone in a stream, and several in the answer to a poll."""
    data = [{"n": n, "due_ns": 7 * n} for n in range(count)]
    alone = [encode_envelope("event", f"e-{n}", "feed", one) for n, one in enumerate(data)]
    nested = [{"type": "event", "id": f"e-{n}", "room": "feed", "data": one} for n, one in enumerate(data)]
    answer = encode_envelope("batch", "e-9", "feed", {"resume": "resumed", "missed": 0, "events": nested})
    between = between.replace(b"{", b"")  # frame headers may hold any byte
    for messages, ends in ((alone, "each"), ([answer], "all")):
        sent = between + between.join(messages)
        stream = Stream(0)
        for offset in range(0, len(sent), size):
            stream.add(offset, sent[offset : offset + size], offset)
        found = list(arrivals(stream))
        assert [(one.n, one.due_ns) for one in found] == [(n, 7 * n) for n in range(count)]
        last = [(sent.index(message) + len(message) - 1) // size * size for message in messages]
        assert [one.complete_ns for one in found] == (last if ends == "each" else last * count)


def test_what_was_cut_off_at_the_end_has_not_arrived() -> None:
    whole = encode_envelope("event", "e-1", "feed", {"n": 1, "due_ns": 5, "note": "{" * 9})
    stream = Stream(0)
    stream.add(0, whole + whole[:-1], 1)
    assert len(list(arrivals(stream))) == 1


def test_the_stamp_is_found_in_what_the_benchmark_really_publishes() -> None:
    data = synthetic_data(1, "feed", 3, 256, 1234)
    stream = Stream(0)
    stream.add(0, b'{"type":"event","id":"a-1","room":"feed","data":' + data + b"}", 1)
    assert [(one.n, one.due_ns) for one in arrivals(stream)] == [(3, 1234)]


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8))
def test_a_packet_of_merged_segments_lacks_a_header_for_each_but_the_first(sizes: list[int]) -> None:
    merged, apart = [segment(1, b"", flags=SYN)], [segment(1, b"", flags=SYN)]
    for size in sizes:
        merged.append(segment(2, bytes(size)))
        apart += [segment(2, bytes(min(1448, size - offset))) for offset in range(0, size, 1448)]
    assert wire_bytes(merged) + unmerged_header_bytes(merged) == wire_bytes(apart)
    assert unmerged_header_bytes(apart) == 0


@given(st.data(), first_numbers)
def test_payload_that_comes_again_is_counted_however_it_was_cut(data: st.DataObject, first: int) -> None:
    """In order, as on a loopback; a part sent again may reach past what had come, and sequence numbers begin anew."""
    captured, end, total = [segment(first - 1, b"", flags=SYN)], 0, 0
    for _ in range(data.draw(st.integers(1, 12))):
        start = data.draw(st.integers(0, end))
        payload = bytes(data.draw(st.integers(1, 100)))
        captured.append(segment(first + start, payload))
        end, total = max(end, start + len(payload)), total + len(payload)
    assert repeated_bytes(captured) == total - end


def test_each_connection_and_direction_has_payload_of_its_own() -> None:
    def sent(sequence: int, size: int, flags: int = ACK, client: int = CLIENT, back: bool = False) -> Segment:
        one = segment(sequence, bytes(size), flags=flags, client=client)
        return one._replace(source_port=client, target_port=SERVER) if back else one

    captured = [sent(0, 0, SYN), sent(0, 0, SYN, back=True), sent(0, 0, SYN, CLIENT + 1)]
    captured += [sent(1, 10), sent(1, 10, back=True), sent(1, 10, client=CLIENT + 1), sent(11, 0)]
    assert repeated_bytes(captured) == 0
    assert repeated_bytes([*captured, sent(1, 10)]) == 10
    assert repeated_bytes([*captured, sent(0, 0, SYN), sent(1, 10)]) == 0, "the port is used again"
    unknown = sent(1, 10, client=CLIENT + 2)
    assert repeated_bytes([*captured, unknown, unknown]) == 0, "it began before the capture"


def test_a_reset_is_late_only_after_both_ends_have_closed() -> None:
    reset, syn, fin = (segment(1, b"", flags=flags) for flags in (RST, SYN, FIN | ACK))
    back = fin._replace(source_port=CLIENT, target_port=SERVER)
    assert late_reset_bytes([syn, reset]) == late_reset_bytes([syn, fin, reset]) == late_reset_bytes([back, reset]) == 0
    assert late_reset_bytes([syn, fin, back, reset, reset]) == 2 * reset.ip_bytes
    assert late_reset_bytes([fin, back, syn, reset]) == 0, "the port is used again"
    assert late_reset_bytes([fin, back, segment(1, b"", flags=RST, client=CLIENT + 1)]) == 0
