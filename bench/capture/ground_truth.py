"""The meters' readings of a trial against a packet capture of it (docs/method.md, Ground truth). Pure.

Bytes: the ledger's sum over all connections against the captured packets' lengths. Receive times: the client's, taken
in its first line of code, against the kernel's stamp of the packet that completed the message.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.capture.pcap import Segment, wire_bytes
from bench.capture.streams import Stream, arrivals, sent_from
from bench.capture.wire import late_reset_bytes, repeated_bytes, unmerged_header_bytes
from bench.results.run import Trial
from bench.results.verify import LateEvent, Verification
from bench.trial.metrics import MIN_EVENTS_BEYOND, percentiles_ms
from feed.instruments.clock import NS_PER_MS, NS_PER_US

BYTES_TOLERANCE: Final = 0.01
USER_SHARE: Final = 0.2
"""Largest allowed time from the kernel to the application, as a share of the median latency."""
CLOCK_DRIFT_US: Final = 100.0
STAMP_SLACK_MS: Final = 0.05
"""Uncertainty of the conversion between the two clocks."""
SLOWEST: Final = 3
"""Events of each transport whose timeline is drawn."""


class Evidence(NamedTuple):
    """What was recorded around one trial."""

    segments: list[Segment]
    port: int
    """Where the generator connected."""
    probe_ports: frozenset[int]
    """Where from the process with the probes connected."""
    counted_bytes: int
    """Sum of the ledger."""
    publications: dict[int, int]
    """Due time of an event -> when it was published (CLOCK_MONOTONIC, ns)."""
    offset_ns: int
    """CLOCK_REALTIME minus CLOCK_MONOTONIC before the trial."""
    drift_ns: int
    """Growth of that difference during the trial."""


class Deliveries(NamedTuple):
    """The probes' samples of a trial: one entry each (docs/results-format.md)."""

    room: NDArray[np.int64]
    n: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    receive_ns: NDArray[np.int64]


class Match(NamedTuple):
    """A delivery with its message in the capture. All on CLOCK_MONOTONIC, ns."""

    room: int
    n: int
    due_ns: int
    kernel_ns: int
    receive_ns: int


def verify(trial: Trial, deliveries: Deliveries, evidence: Evidence) -> Verification:
    """Every check of one trial that was measured. A trial whose receive times are far off becomes ``invalid``."""
    matches = match(deliveries, evidence)
    away_ms = np.array([one.receive_ns - one.kernel_ns for one in matches], dtype=np.float64) / NS_PER_MS
    percentiles = percentiles_ms(away_ms, len(matches))
    found = Verification(
        trial=trial,
        captured_bytes=wire_bytes(evidence.segments),
        unmerged_header_bytes=unmerged_header_bytes(evidence.segments),
        repeated_bytes=repeated_bytes(evidence.segments),
        late_reset_bytes=late_reset_bytes(evidence.segments),
        counted_bytes=evidence.counted_bytes,
        captured_packets=len(evidence.segments),
        deliveries=len(deliveries.n),
        matched=len(matches),
        user_minus_kernel_ms_p50=percentiles.get("50"),
        user_minus_kernel_ms_p95=percentiles.get("95"),
        clock_drift_us=evidence.drift_ns / NS_PER_US,
        slowest=slowest(matches, evidence.publications),
    )
    late = _receive_reasons(found, away_ms)
    if late:
        trial.status = "invalid"
        trial.reasons += late
    found.broken = _byte_reasons(found) + _clock_reasons(found) + late
    return found


def match(deliveries: Deliveries, evidence: Evidence) -> list[Match]:
    """Each delivery whose message is in the capture, found by number and due instant.

    In a busy room an event comes to every probe, each on a connection of its own. One process receives them all, so
    that its k-th receipt of an event is held against the event's k-th arrival: none can lie before its own.
    """
    sent: dict[tuple[int, int], list[int]] = {}
    for stream in sent_from(evidence.port, evidence.segments):
        if stream.peer in evidence.probe_ports:
            for key, complete_ns in first_arrivals(stream).items():
                sent.setdefault(key, []).append(complete_ns)
    left = {key: iter(sorted(times_ns)) for key, times_ns in sent.items()}
    rows = sorted(zip(*(column.tolist() for column in deliveries), strict=True), key=lambda row: int(row[-1]))
    found = ((row, next(left.get((row[1], row[2]), iter(())), None)) for row in rows)
    return [
        Match(room, n, due_ns, complete_ns - evidence.offset_ns, receive_ns)
        for (room, n, due_ns, receive_ns), complete_ns in found
        if complete_ns is not None
    ]


def first_arrivals(stream: Stream) -> dict[tuple[int, int], int]:
    """Number and due instant of each event on a connection -> when it was complete for the first time."""
    found: dict[tuple[int, int], int] = {}
    for arrival in arrivals(stream):
        found.setdefault((arrival.n, arrival.due_ns), arrival.complete_ns)
    return found


def slowest(matches: list[Match], publications: dict[int, int]) -> list[LateEvent]:
    """The timelines of the latest events, the latest first."""
    known = sorted((one for one in matches if one.due_ns in publications), key=lambda one: one.receive_ns - one.due_ns)
    by_event = {(one.room, one.n): one for one in known}  # the slowest of an event's deliveries stays
    latest = sorted(by_event.values(), key=lambda one: one.due_ns - one.receive_ns)[:SLOWEST]
    return [
        LateEvent(
            room=one.room,
            n=one.n,
            publish_ms=(publications[one.due_ns] - one.due_ns) / NS_PER_MS,
            kernel_ms=(one.kernel_ns - one.due_ns) / NS_PER_MS,
            receive_ms=(one.receive_ns - one.due_ns) / NS_PER_MS,
        )
        for one in latest
    ]


def _byte_reasons(found: Verification) -> list[str]:
    if not found.captured_bytes:
        return ["nothing was captured"]
    away = found.counted_excess
    if abs(away) <= BYTES_TOLERANCE:
        return []
    return [
        f"{found.counted_bytes} bytes were counted, and {found.expected_bytes} by the capture: {away:+.2%}, "
        f"allowed {BYTES_TOLERANCE:.0%}"
    ]


def _clock_reasons(found: Verification) -> list[str]:
    if abs(found.clock_drift_us) <= CLOCK_DRIFT_US:
        return []
    return [f"the clocks drifted {found.clock_drift_us:.0f} µs apart, allowed {CLOCK_DRIFT_US:g}"]


def _receive_reasons(found: Verification, away_ms: Any) -> list[str]:
    """Why the probes' receive times cannot be trusted."""
    reasons = []
    if found.matched < max(found.deliveries, 2 * MIN_EVENTS_BEYOND):
        reasons.append(
            f"{found.matched} of {found.deliveries} deliveries were found in the capture; all must be, "
            f"and at least {2 * MIN_EVENTS_BEYOND}"
        )
    if len(away_ms) and away_ms.min() < -STAMP_SLACK_MS:
        reasons.append(f"a receive time lies {-away_ms.min():.3f} ms before the kernel had the packet")
    median_ms, latency_ms = found.user_minus_kernel_ms_p50, found.trial.values.get("latency_ms_p50")
    if median_ms is not None and latency_ms is not None and median_ms > USER_SHARE * latency_ms:
        reasons.append(
            f"the median time from the kernel to the application was {median_ms:.2f} ms, over {USER_SHARE:.0%} of the "
            f"median latency ({latency_ms:.2f} ms)"
        )
    return reasons
