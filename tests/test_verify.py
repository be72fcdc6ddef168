"""The measurement held against a packet capture: the reader, the checks, and the whole at smoke size."""

import asyncio
import shutil
import socket
import struct
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.capture import Capture, read_clocks
from bench.ground_truth import Deliveries, kernel_receipts, late_events, user_minus_kernel_us, wire_bytes
from bench.pcap import CaptureError, Segment, assemble, read_segments, streams_from
from bench.results import VERIFY_FILE, load_verify
from bench.verify import checks, outcome
from servers.publisher import MAX_INSTANTS
from tests.conftest import Start, run, run_module

PURE = settings(deadline=None, derandomize=True, database=None)
needs_tcpdump = pytest.mark.skipif(
    shutil.which("tcpdump") is None, reason="tcpdump is missing: apt-get install tcpdump"
)
DATA = st.binary(min_size=1, max_size=400)


def cut(data: bytes, places: list[int], first: int) -> list[Segment]:
    """A stream as segments that begin at these places; the first sequence number is ``first``."""
    edges = sorted({0, *(place % len(data) for place in places), len(data)})
    found = [Segment(0, 80, 5000, first % 2**32, True, b"", 60)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        sequence = (first + 1 + begin) % 2**32
        found.append(Segment(100 + number, 80, 5000, sequence, False, data[begin:end], 52 + end - begin))
    return found


@PURE
@given(DATA, st.lists(st.integers(0, 400), max_size=8), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_segments_cut_reordered_and_repeated_make_the_same_stream(
    data: bytes, places: list[int], first: int, draw
) -> None:  # type: ignore[no-untyped-def]
    head, *segments = cut(data, places, first)
    mixed = [*segments, *draw.choices(segments, k=3)]
    draw.shuffle(mixed)
    stamped = [of._replace(at_ns=1000 + number) for number, of in enumerate(mixed)]
    stream = assemble([head, *stamped])
    assert stream.data == data and stream.ends[-1] == len(data)
    assert stream.ends == sorted(set(stream.ends)) and stream.stamps_ns == sorted(stream.stamps_ns)
    for end in (1, len(data)):
        needed = {of.sequence: of.at_ns for of in reversed(stamped) if (of.sequence - first - 1) % 2**32 < end}
        assert stream.arrival_ns(end) == max(needed.values()), "complete when its last part had come for the first time"


def pcap(segments: list[Segment]) -> bytes:
    """A capture file of these."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)]
    for of in segments:
        tcp = struct.pack(">HHIIBBHHH", of.source, of.destination, of.sequence, 0, 5 << 4, 2 if of.syn else 16, 0, 0, 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(of.payload), 0, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
        frame = bytes(12) + b"\x08\x00" + ip + tcp + of.payload
        parts.append(struct.pack("<IIII", *divmod(of.at_ns, 10**9), len(frame), len(frame)) + frame)
    return b"".join(parts)


@PURE
@given(DATA, st.lists(st.integers(0, 400), max_size=8), st.integers(0, 2**32 - 1))
def test_a_capture_is_read_as_it_was_written(data: bytes, places: list[int], first: int) -> None:
    segments = cut(data, places, first)
    found = list(read_segments(pcap(segments)))
    assert [of._replace(wire_bytes=0) for of in found] == [of._replace(wire_bytes=0) for of in segments]
    assert wire_bytes(found, 80) == sum(40 + len(of.payload) for of in segments) and wire_bytes(found, 81) == 0
    (stream,) = streams_from(found, 80)
    assert stream.data == data and streams_from(found, 81) == []


@PURE
@given(DATA, st.integers(0, 2000))
def test_a_capture_that_breaks_off_is_refused_with_the_place(data: bytes, size: int) -> None:
    whole = pcap(cut(data, [7, 70], 1))
    part = whole[: min(size, len(whole) - 1)]
    try:
        found = list(read_segments(part))
    except CaptureError as error:
        assert "capture" in str(error)
    else:
        assert pcap(found) == part, "cut between two packets, it is a shorter capture"


@PURE
@given(st.binary(max_size=200))
def test_bytes_that_are_no_capture_are_refused(data: bytes) -> None:
    with pytest.raises(CaptureError):
        list(read_segments(data))


def event(n: int, due_ns: int, size: int = 64) -> bytes:
    head = b'{"n":%d,"due_ns":%d,"x":"' % (n, due_ns)
    return head + b"x" * (size - len(head) - 2) + b'"}'


def test_an_event_is_received_when_its_last_byte_is() -> None:
    data = b"head" + event(1, 111) + b"between" + event(2, 222)
    first = cut(data, [40, 75], 9)
    found = kernel_receipts(first, 80, 64, offset_ns=50)
    assert found == {111: 101 - 50, 222: 102 - 50}
    deliveries = Deliveries(np.array([111, 222, 333]), np.array([1_000_051, 2_000_052, 5]))
    assert user_minus_kernel_us(deliveries, found).tolist() == [1000.0, 2000.0]
    (slow, fast) = late_events(deliveries, found, {111: 120, 222: 230}, transit_ms=0.0)
    assert slow.application_ms == pytest.approx(2.0) and slow.published_ms == pytest.approx(8e-6)
    assert fast.application_ms == pytest.approx(1.0)


@needs_tcpdump
def test_the_captures_stamps_are_those_of_a_plain_socket(tmp_path: Path) -> None:
    """SO_TIMESTAMPING's receive stamp (socket(7), no root) and the capture's, of the same segments: within 0.2 ms."""
    stamps, file = run(_exchange_stamped(tmp_path / "capture.pcap"))
    segments = [of for of in read_segments(file.read_bytes()) if of.payload.startswith(b"stamp")]
    by_payload = {of.payload: of.at_ns for of in segments}
    assert len(stamps) == 20 and stamps.keys() == by_payload.keys()
    differences = sorted(abs(stamps[payload] - by_payload[payload]) for payload in stamps)
    assert differences[len(differences) // 2] < 200_000


async def _exchange_stamped(file: Path) -> tuple[dict[bytes, int], Path]:
    found: dict[bytes, int] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with Capture(file):
            with socket.create_connection(listener.getsockname()) as sender, listener.accept()[0] as receiver:
                software = 1 << 3 | 1 << 4  # SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE
                receiver.setsockopt(socket.SOL_SOCKET, 37, software)  # SO_TIMESTAMPING
                for number in range(20):
                    payload = b"stamp %d" % number
                    sender.sendall(payload)
                    data, ancillary, _, _ = await asyncio.to_thread(receiver.recvmsg, 100, 1000)
                    (stamp,) = [content for _, kind, content in ancillary if kind == 37]
                    seconds, nanoseconds = struct.unpack_from("qq", stamp)
                    found[data] = seconds * 10**9 + nanoseconds
    return found, file


def test_two_readings_of_the_clocks_agree() -> None:
    assert abs(read_clocks().offset_ns - read_clocks().offset_ns) < 5_000_000


@needs_tcpdump
def test_verify_from_end_to_end(tmp_path: Path) -> None:
    done = run_module("bench", "verify", "--preset", "smoke", "--out", str(tmp_path / "out"), timeout_s=200)
    results = load_verify(tmp_path / "out" / VERIFY_FILE)
    assert results.finished and [of.trial.transport for of in results.trials] == results.plan.transports
    for of in results.trials:
        assert of.deliveries == of.matched == results.plan.measured_events, (of.trial.transport, of.failures)
        assert of.counted_bytes == pytest.approx(of.captured_bytes, rel=0.01) and of.captured_bytes > 0
        assert of.user_minus_kernel_us_p50 > 0 and len(of.late) == 3
        assert all(late.network_ms == results.plan.rtt_ms / 2 for late in of.late)
    assert done.returncode == int(any(of.failures for of in results.trials)), done.stdout
    page = (tmp_path / "out" / "report.md").read_text()
    assert "Ground truth" in page and "late_events" in page
    assert not list((tmp_path / "out").glob("*.pcap")), "captures are not kept"
    _each_check_can_fail(results.trials[0])


def _each_check_can_fail(of: object) -> None:
    good = msgspec.structs.replace(of, failures=[])  # type: ignore[type-var]
    wrong = {
        "bytes": {"counted_bytes": round(good.counted_bytes * 1.02)},
        "deliveries are in the capture": {"matched": good.deliveries - 1},
        "the receiving process adds": {"user_minus_kernel_us_p50": 0.3 * good.trial.metrics["latency_ms_p50"] * 1000},
        "the clocks disagree": {"user_minus_kernel_us_p50": -1.0},
    }
    for said, values in wrong.items():
        bad = msgspec.structs.replace(good, **values)
        assert any(said in text for text in checks(bad)), said
        assert said in outcome(msgspec.structs.replace(bad, failures=checks(bad)))


def test_without_the_right_to_capture_one_line_says_so(tmp_path: Path) -> None:
    done = run_module("bench", "verify", "--preset", "smoke", "--out", str(tmp_path / "out"), PATH="/nowhere")
    assert done.returncode == 1 and "tcpdump is missing" in done.stderr and "Traceback" not in done.stderr


def test_the_publish_instants_are_bounded(start: Start) -> None:
    assert MAX_INSTANTS == 10_000, "docs/protocol.md says so"
