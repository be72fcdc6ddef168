"""Ground truth: the kernel's stamps, the checks that hold our meters against a capture, and the command itself."""

import os
import socket
import struct
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capture.ground_truth import BYTES_TOLERANCE, CLOCK_DRIFT_US, SLOWEST, Deliveries, Evidence, verify
from bench.capture.pcap import SYN, Segment, read_pcap
from bench.capture.tcpdump import captured
from bench.capture.verify import CLOCK_READINGS, clock_offset_ns, verify_plans
from bench.plan.trials import trials
from bench.results.files import VERIFY_FILE, read, save
from bench.results.run import Trial
from bench.results.verify import LateEvent, Verification, VerifyResults
from clients.control import Control
from feed.envelope import encode_envelope
from feed.instruments.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from feed.schedule import Schedule
from feed.transports import TRANSPORTS
from reports.figures.ground_truth import FAR, ROOM, axis_end_ms
from reports.sections.ground_truth import life, summarize_truth
from servers.hub.publisher import MAX_PUBLICATIONS
from tests.conftest import Start, invoke, render_as_valid, run, run_module, until
from tests.helpers.fake_results import fake_trial

SO_TIMESTAMPING = 37  # asm-generic/socket.h; its control message has the same number
RX_SOFTWARE, SOFTWARE = 1 << 3, 1 << 4  # linux/net_tstamp.h
MESSAGES = 20
STAMPS_APART_NS = 5 * NS_PER_US
"""In the middle of a few: two places of one kernel path note the time. A single one may be interrupted between them."""
SLACK_NS = 100 * NS_PER_US
"""Half of the shortest of twenty readings; an undisturbed one takes less than 1 us."""
PORT = 9000
OFFSET_NS = 10**18
EVENTS = 40


@pytest.mark.usefixtures("tcpdump")
def test_the_captures_stamps_agree_with_those_that_the_kernel_gives_to_a_socket(tmp_path: Path) -> None:
    """On one plain socket: SO_TIMESTAMPING's software receive stamp beside the capture's, packet by packet."""
    file = tmp_path / "capture.pcap"
    stamps_ns: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def exchange() -> None:
            async with captured(listener.getsockname()[1], file):
                with socket.create_connection(listener.getsockname()) as receiver, listener.accept()[0] as sender:
                    receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)
                    for _ in range(MESSAGES):
                        sender.sendall(b"x" * 300)
                        stamps_ns.append(_stamp_ns(receiver))

        run(exchange())
        port = listener.getsockname()[1]
    caught_ns = [one.at_ns for one in read_pcap(file) if one.source_port == port and one.payload]
    assert len(caught_ns) == len(stamps_ns) == MESSAGES
    apart_ns = sorted(abs(caught - stamp) for caught, stamp in zip(caught_ns, stamps_ns, strict=True))
    assert apart_ns[MESSAGES // 2] <= STAMPS_APART_NS


def _stamp_ns(receiver: socket.socket) -> int:
    """When the kernel had what is read here (CLOCK_REALTIME): the first of three times, the software's."""
    _, controls, _, _ = receiver.recvmsg(1000, 1024)
    (stamp,) = [value for level, kind, value in controls if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING)]
    seconds, nanoseconds = struct.unpack_from("qq", stamp)
    return int(seconds * NS_PER_S + nanoseconds)


def test_the_clocks_are_told_apart_between_two_readings_of_both() -> None:
    """Whatever interrupts this test widens what it brackets, and never makes it fail."""
    least_ns = time.time_ns() - time.monotonic_ns()
    offset_ns = clock_offset_ns()
    monotonic_ns = time.monotonic_ns()
    assert least_ns - SLACK_NS <= offset_ns <= time.time_ns() - monotonic_ns + SLACK_NS


def test_an_interrupted_reading_of_the_clocks_is_not_taken() -> None:
    """All readings but one are interrupted for 3 ms before the second clock; half of that would be their error."""
    now_ns = 0
    pauses_ns = iter([3 * NS_PER_MS] * 7 + [0] + [3 * NS_PER_MS] * (CLOCK_READINGS - 8))

    def monotonic_ns() -> int:
        nonlocal now_ns
        now_ns += NS_PER_US
        return now_ns

    def real_ns() -> int:
        nonlocal now_ns
        now_ns += NS_PER_US + next(pauses_ns)
        return now_ns + OFFSET_NS

    assert clock_offset_ns(monotonic_ns, real_ns) == OFFSET_NS


def test_the_publisher_keeps_the_instants_of_a_bounded_number_of_events(start: Start) -> None:
    """Never before they were due; the newest only; a new feed begins with none."""
    server = start("raw", "--source", "none")

    async def body() -> tuple[dict[int, int], dict[int, int]]:
        async with Control(server.ready["control_url"]) as control:

            async def published(count: int) -> bool:
                return bool((await control.stats())["feed_published"] == count)

            events = MAX_PUBLICATIONS + 100
            await control.start_feed(Schedule("constant", 20_000.0, limit=events), 128)
            await until(lambda: published(events), "all published")
            many = await control.publications()
            await control.start_feed(Schedule("constant", 1000.0, limit=3), 128)
            await until(lambda: published(3), "three published")
            return many, await control.publications()

    many, few = run(body())
    assert (len(many), len(few)) == (MAX_PUBLICATIONS, 3)
    assert all(due_ns <= publish_ns for due_ns, publish_ns in {**many, **few}.items())
    assert max(many) < min(few)


def evidence(user_ms: float = 0.1, counted: float = 1.0, drift_us: float = 0.0, lost: int = 0) -> Evidence:
    """FAKE: one connection on which every event came 20 ms after it was due, some of them not captured.

    The receive times of ``deliveries`` lie 21 ms after due, so ``user_ms`` moves the kernel's stamps.
    """
    captured_ = [Segment(0, PORT, 5, 99, SYN, b"", 60)]
    sequence = 100
    for n in range(EVENTS - lost):
        message = encode_envelope("event", f"e-{n}", "feed", {"n": n, "due_ns": n * NS_PER_S})
        at_ns = OFFSET_NS + n * NS_PER_S + round((21 - user_ms) * NS_PER_MS)
        captured_.append(Segment(at_ns, PORT, 5, sequence, 0, message, 52 + len(message)))
        sequence += len(message)
    total = sum(one.ip_bytes for one in captured_)
    published = {n * NS_PER_S: n * NS_PER_S + NS_PER_MS for n in range(EVENTS)}
    return Evidence(
        captured_, PORT, frozenset({5}), round(total * counted), published, OFFSET_NS, round(drift_us * 1000)
    )


def deliveries(late: tuple[int, ...] = ()) -> Deliveries:
    """FAKE: every event 21 ms after it was due, ``late`` ones 30 ms and more."""
    n = np.arange(EVENTS)
    receive = n * NS_PER_S + 21 * NS_PER_MS
    for place, index in enumerate(late):
        receive[index] += (10 + place) * NS_PER_MS
    return Deliveries(np.zeros(EVENTS, dtype=np.int64), n, n * NS_PER_S, receive)


def trial(transport: str = "sse") -> Trial:
    """FAKE."""
    one = fake_trial(transport)
    one.status, one.reasons, one.latency_ms["50"] = "ok", [], 21.0
    return one


@pytest.mark.parametrize("missed", [0, 1, -1])
def test_merged_and_repeated_segments_are_no_difference_and_hide_none(missed: int) -> None:
    """Four segments in one packet, sent twice: the client's kernel counts eight headers and the payload once."""
    plain = evidence()
    large = Segment(0, PORT, 5, plain.segments[-1].sequence + len(plain.segments[-1].payload), 0, bytes(5000), 5052)
    moved = plain.counted_bytes + 5000 + 8 * 52
    around = plain._replace(segments=[*plain.segments, large, large], counted_bytes=moved + missed * moved // 50)
    found = verify(trial(), deliveries(), around)
    assert (found.unmerged_header_bytes, found.repeated_bytes, found.expected_bytes) == (6 * 52, 5000, moved)
    assert bool(found.broken) == bool(missed)


def test_a_trial_that_agrees_with_its_capture_breaks_nothing() -> None:
    found = verify(trial(), deliveries(), evidence())
    assert not found.broken and found.trial.status == "ok"
    assert (found.matched, found.deliveries) == (EVENTS, EVENTS)
    assert found.user_minus_kernel_ms_p50 == pytest.approx(0.1)
    assert found.user_minus_kernel_ms_p95 is None, "too few events for it"


PROBES, OTHERS = (6, 7, 8), (5, 9)


def busy_room(user_ms: float) -> tuple[Deliveries, Evidence]:
    """FAKE: three probes and two others in one room. Copies arrive 0.1 ms apart, on the others' connections too."""
    captured_ = [Segment(0, PORT, peer, 99, SYN, b"", 60) for peer in (*OTHERS, *PROBES)]
    rows = []
    for n in range(EVENTS):
        message = encode_envelope("event", f"e-{n}", "feed", {"n": n, "due_ns": n * NS_PER_S})
        for place, peer in enumerate((5, 6, 9, 7, 8)):
            kernel_ns = n * NS_PER_S + 20 * NS_PER_MS + place * NS_PER_MS // 10
            sequence = 100 + sum(len(one.payload) for one in captured_ if one.target_port == peer)
            captured_.append(Segment(OFFSET_NS + kernel_ns, PORT, peer, sequence, 0, message, 52 + len(message)))
            if peer in PROBES:
                rows.append((0, n, n * NS_PER_S, kernel_ns + round(user_ms * NS_PER_MS)))
    columns = np.array(rows[::-1], dtype=np.int64).T  # in an order of their own
    total = sum(one.ip_bytes for one in captured_)
    return Deliveries(*columns), Evidence(captured_, PORT, frozenset(PROBES), total, {}, OFFSET_NS, 0)


@pytest.mark.parametrize(("user_ms", "holds"), [(0.3, True), (0.0, True), (-0.06, False), (4.3, False)])
def test_in_a_busy_room_each_receipt_is_held_against_an_arrival_of_its_own(user_ms: float, holds: bool) -> None:
    """0.3 ms are longer than the next copies take to arrive, and the others' connections must not count."""
    received, around = busy_room(user_ms)
    found = verify(trial(), received, around)
    assert found.matched == found.deliveries == 3 * EVENTS
    assert found.user_minus_kernel_ms_p50 == pytest.approx(user_ms)
    assert bool(found.broken) is not holds


@given(st.floats(0.5, 1.5))
def test_bytes_that_are_off_by_over_one_per_cent_are_named(counted: float) -> None:
    found = verify(trial(), deliveries(), evidence(counted=counted))
    away = abs(found.counted_bytes / found.expected_bytes - 1)
    assert bool(found.broken) == (away > BYTES_TOLERANCE)
    assert found.trial.status == "ok", "its latency is as good as before"


@given(st.floats(-1, 20))
def test_receive_times_far_from_the_kernels_make_the_trial_invalid(user_ms: float) -> None:
    found = verify(trial(), deliveries(), evidence(user_ms=user_ms))
    wrong = user_ms > 0.2 * 21 + 1e-6 or user_ms < -0.05 - 1e-6
    if abs(user_ms - 4.2) > 1e-5 and abs(user_ms + 0.05) > 1e-5:  # stamps are whole nanoseconds
        assert (found.trial.status == "invalid") == wrong == bool(found.broken)
        assert found.trial.reasons == found.broken


@given(st.integers(0, EVENTS), st.floats(-1000, 1000))
def test_deliveries_without_a_packet_and_clocks_that_moved_are_named(lost: int, drift_us: float) -> None:
    found = verify(trial(), deliveries(), evidence(lost=lost, drift_us=drift_us))
    said = " ".join(found.broken)
    assert (f"{EVENTS - lost} of {EVENTS} deliveries" in said) == bool(lost)
    assert ("clocks drifted" in said) == (abs(found.clock_drift_us) > CLOCK_DRIFT_US)


def test_the_slowest_events_are_kept_with_the_parts_of_their_lives() -> None:
    found = verify(trial(), deliveries(late=(3, 5, 7, 9)), evidence())
    assert [one.n for one in found.slowest] == [9, 7, 5][:SLOWEST]
    first = life(found.slowest[0], 15.0)
    assert (first.publisher_ms, first.transit_ms) == (1.0, 15.0)
    assert first.server_ms == pytest.approx(20.9 - 1.0 - 15.0)
    assert first.client_ms == pytest.approx(13.1)


@given(st.floats(0, 9), st.floats(0, 2000), st.floats(0, 100))
def test_a_life_is_the_sum_of_its_parts(publish_ms: float, way_ms: float, client_ms: float) -> None:
    event = LateEvent(0, 1, publish_ms, publish_ms + way_ms, publish_ms + way_ms + client_ms)
    assert life(event, 20.0).latency_ms == pytest.approx(event.receive_ms, abs=1e-6)


@given(st.dictionaries(st.sampled_from(list(TRANSPORTS)), st.floats(1, 5000), min_size=1))
def test_the_axis_shows_the_faster_half_and_leaves_out_only_who_is_far_behind(slowest_ms: dict[str, float]) -> None:
    end_ms = axis_end_ms(slowest_ms) / ROOM
    inside = [value for value in slowest_ms.values() if value <= end_ms * (1 + 1e-9)]
    assert 2 * len(inside) >= len(slowest_ms)
    assert all(value > FAR * max(inside) for value in slowest_ms.values() if value not in inside)


def test_every_transport_is_verified_the_baseline_too() -> None:
    plans = verify_plans("default")
    assert [plan.point for plan in plans] == ["sparse", "broadcast"]
    for plan in plans:
        assert [trial.transport for trial in sorted(trials(plan))] == sorted(TRANSPORTS)


def test_the_section_says_what_does_not_hold() -> None:
    good, bad = (verify(trial(name), deliveries(), evidence(counted=c)) for name, c in (("sse", 1.0), ("raw", 1.1)))
    failed = Verification(trial("polling"), broken=["it could not be measured: why"])
    sparse, broadcast = verify_plans("default")
    results = VerifyResults(2, "0", "", False, [], {}, {}, {}, sparse, [bad, good, failed], [broadcast])
    summary = summarize_truth(results, sparse)
    assert [row[0] for row in summary.tables[0].rows] == ["SSE", "Raw TCP (baseline)"]
    assert summary.tables[0].rows[0][-1] == "+0.00 %"
    assert summary.cautions[0] == "the verify run was interrupted"
    assert summary.cautions[1] == "Polling failed the check: it could not be measured: why"
    assert summary.cautions[2].startswith("Raw TCP (baseline) failed the check:") and "+10.0" in summary.cautions[2]
    assert summary.lives.keys() == {"sse", "raw"}
    good.point = "broadcast"
    assert [row[0] for row in summarize_truth(results, sparse).tables[0].rows] == ["Raw TCP (baseline)"]
    assert [row[0] for row in summarize_truth(results, broadcast).tables[0].rows] == ["SSE"]
    assert summarize_truth(results, broadcast).cautions == ["the verify run was interrupted"]


BUSY = "from the kernel to the application"
"""Part of the one complaint that a busy machine deserves: its programs wait for their turn to read."""


@pytest.mark.long
@pytest.mark.usefixtures("tcpdump")
def test_verify_at_smoke_size(tmp_path: Path) -> None:
    """Every transport under capture, with real processes; the figures are checked by the command itself.

    Next to other tests every trial may be invalid, which is an exit code of 1; a broken check never passes.
    """
    out = tmp_path / "run"
    done = run_module("bench", "verify", "--preset", "smoke", "--out", str(out))
    results = read(out / VERIFY_FILE, VerifyResults)
    assert done.returncode == int(all(one.trial.status != "ok" for one in results.trials)), done.stdout + done.stderr
    render_as_valid(out, [one.trial for one in results.trials], lambda: save(results, out, VERIFY_FILE))
    found = {(one.point, one.trial.transport) for one in results.trials}
    assert results.finished and found == set(product(("sparse", "broadcast"), TRANSPORTS))
    probes = {plan.point: plan.probes // plan.rooms for plan in results.plans}
    assert probes == {"sparse": 1, "broadcast": 16}
    for one in results.trials:
        assert not [reason for reason in one.broken if BUSY not in reason], one.broken
        assert one.matched == one.deliveries == probes[one.point] * one.trial.events
        assert len(one.slowest) == SLOWEST
        for event in one.slowest:
            assert 0 <= event.publish_ms < event.kernel_ms - one.trial.rtt_ms / 2 + 0.1
    page = (out / "index.html").read_text()
    assert "Ground truth: broadcast" in page and "Wire bytes against the capture" in page
    for name in ("late_events.png", "broadcast_late_events.png"):
        assert (out / "figures" / name).stat().st_size > 10_000


def test_without_tcpdump_one_line_says_what_to_install(tmp_path: Path) -> None:
    done = run_module("bench", "verify", "--preset", "smoke", "--out", str(tmp_path / "run"), PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip() == "Error: tcpdump is missing: apt-get install tcpdump"
    assert not (tmp_path / "run").exists()


def test_without_the_right_to_capture_one_line_says_what_to_allow(tmp_path: Path) -> None:
    """A tcpdump that says what the real one says to those who may not."""
    fake = tmp_path / "tcpdump"
    said = "tcpdump: lo: You don't have permission to capture on that device"
    fake.write_text(f"#!{sys.executable}\nraise SystemExit({said!r})\n")
    fake.chmod(0o755)
    done = run_module("bench", "verify", "--out", str(tmp_path / "run"), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "run as root, or allow it with `setcap" in done.stderr and said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(("option", "said"), [("--transports", "allowed are polling"), ("--preset", "smoke")])
def test_bad_options_are_named(option: str, said: str, tmp_path: Path) -> None:
    done = invoke("bench", "verify", option, "pigeon", "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
