"""A trial against the packet capture that was made of it. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.pcap import Segment, streams_from
from bench.results import LateEvent
from feed.clock import NS_PER_MS, NS_PER_US

BYTES_TOLERANCE: Final = 0.01
USER_SHARE: Final = 0.20
"""Of the median latency: what the receiving process may add before the trial is invalid."""
LATE_EVENTS: Final = 3
"""Slowest deliveries of each transport whose life is shown."""
STAMP: Final = re.compile(rb'\{"n":\d+,"due_ns":(\d+)')


class Deliveries(NamedTuple):
    """What the probes recorded, ns on CLOCK_MONOTONIC; due times name the events, as no two are alike."""

    due_ns: NDArray[np.int64]
    receive_ns: NDArray[np.int64]


def wire_bytes(segments: Sequence[Segment], port: int) -> int:
    """IP bytes of all connections to a port, both directions."""
    return sum(of.wire_bytes for of in segments if port in (of.source, of.destination))


def kernel_receipts(segments: Sequence[Segment], port: int, payload_bytes: int, offset_ns: int) -> dict[int, int]:
    """Due time -> when the kernel of the client had the whole event, ns on CLOCK_MONOTONIC; the first time it came."""
    found: dict[int, int] = {}
    for due_ns, at_ns in _receipts(segments, port, payload_bytes):
        found[due_ns] = min(at_ns - offset_ns, found.get(due_ns, at_ns - offset_ns))
    return found


def _receipts(segments: Sequence[Segment], port: int, payload_bytes: int) -> Iterator[tuple[int, int]]:
    for stream in streams_from(segments, port):
        for match in STAMP.finditer(stream.data):
            end = match.start() + payload_bytes
            if end <= len(stream.data):
                yield int(match[1]), stream.arrival_ns(end)


def user_minus_kernel_us(deliveries: Deliveries, kernel: Mapping[int, int]) -> NDArray[np.float64]:
    """Per delivery that the capture has: receive time minus the kernel's stamp, us."""
    pairs = [
        (receive_ns - kernel[due_ns]) / NS_PER_US
        for due_ns, receive_ns in zip(deliveries.due_ns.tolist(), deliveries.receive_ns.tolist(), strict=True)
        if due_ns in kernel
    ]
    return np.array(pairs, dtype=np.float64)


def late_events(
    deliveries: Deliveries, kernel: Mapping[int, int], published: Mapping[int, int], transit_ms: float
) -> list[LateEvent]:
    """The life of the slowest deliveries that all sources know."""
    rows = zip(deliveries.due_ns.tolist(), deliveries.receive_ns.tolist(), strict=True)
    known = [(receive - due, due, receive) for due, receive in rows if due in kernel and due in published]
    found = []
    for _, due, receive in sorted(known, reverse=True)[:LATE_EVENTS]:
        between_ms = (kernel[due] - published[due]) / NS_PER_MS
        found.append(
            LateEvent(
                published_ms=(published[due] - due) / NS_PER_MS,
                server_ms=between_ms - transit_ms,
                network_ms=transit_ms,
                application_ms=(receive - kernel[due]) / NS_PER_MS,
            )
        )
    return found
