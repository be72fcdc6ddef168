"""Reassembles what a server sent on each captured connection, and when each byte became readable. Pure.

A byte is readable once all bytes before it have arrived: a segment that overtook another waits for it, and a
retransmission changes nothing (RFC 9293, section 3.10.7.4).
"""

import heapq
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from bench.capture.pcap import SEQUENCES, SYN, Segment

_ENVELOPE: Final = '{"type":'
_STAMP: Final = re.compile(r'"n":(\d+),"due_ns":(\d+)')
_JSON: Final = json.JSONDecoder()


class Stream:
    """One direction of a connection: the sequence number of its first byte, and the receiver's port."""

    def __init__(self, first: int, peer: int = 0) -> None:
        self.first = first
        self.peer = peer
        self.data = bytearray()
        self._ends: list[int] = []
        self._arrivals_ns: list[int] = []
        self._waiting: list[tuple[int, bytes]] = []

    def add(self, sequence: int, payload: bytes, at_ns: int) -> None:
        """Add the next segment in the order of arrival."""
        heapq.heappush(self._waiting, (self._offset(sequence), payload))
        before = len(self.data)
        while self._waiting and self._waiting[0][0] <= len(self.data):
            offset, waited = heapq.heappop(self._waiting)
            if offset >= 0:  # a keep-alive probe repeats the byte before the first
                self.data += waited[len(self.data) - offset :]
        if len(self.data) > before:
            self._ends.append(len(self.data))
            self._arrivals_ns.append(at_ns)

    def complete_ns(self, end: int) -> int:
        """When the first ``end`` bytes had all arrived. Raises ``IndexError`` if they never did."""
        return self._arrivals_ns[bisect_left(self._ends, end)]

    def _offset(self, sequence: int) -> int:
        """The place of a segment in the stream. Sequence numbers repeat after 4 GiB; the nearest place is taken."""
        ahead = (sequence - self.first - len(self.data)) % SEQUENCES
        return len(self.data) + (ahead if ahead < SEQUENCES // 2 else ahead - SEQUENCES)


class Arrival(NamedTuple):
    """One event's message in a stream."""

    n: int
    due_ns: int
    complete_ns: int
    """When its last byte had arrived: CLOCK_REALTIME, nanoseconds."""


def sent_from(port: int, captured: Iterable[Segment]) -> list[Stream]:
    """The streams sent from this port, one per connection that began within the capture."""
    streams: list[Stream] = []
    newest: dict[int, Stream] = {}
    for segment in captured:
        if segment.source_port != port:
            continue
        peer, first = segment.target_port, (segment.sequence + 1) % SEQUENCES
        if segment.flags & SYN:
            if peer not in newest or newest[peer].first != first:  # a client's port is used again
                newest[peer] = Stream(first, peer)
                streams.append(newest[peer])
        elif segment.payload and peer in newest:
            newest[peer].add(segment.sequence, segment.payload, segment.at_ns)
    return streams


def arrivals(stream: Stream) -> Iterator[Arrival]:
    """The events in a stream. An event is complete when its outermost envelope is: a poll's answer holds several.

    Envelopes are JSON on every transport. The end of a frame (an SSE event's empty line, a chunk's end) follows in the
    same segment.
    """
    text = stream.data.decode("latin-1")  # one character per byte, so that places stay places
    place = text.find(_ENVELOPE)
    while place >= 0:
        end = _end_of_json(text, place)
        for found in _STAMP.finditer(text, place, end):
            yield Arrival(int(found[1]), int(found[2]), stream.complete_ns(end))
        place = text.find(_ENVELOPE, end)


def _end_of_json(text: str, begin: int) -> int:
    """The end of the JSON value that begins here; for a value that is cut off, the next place to look."""
    try:
        return _JSON.raw_decode(text, begin)[1]
    except ValueError:
        return begin + len(_ENVELOPE)
