"""Reads packet captures of TCP over IPv4: what moved, and when each byte of a stream had arrived. Pure.

The format is libpcap's (draft-ietf-opsawg-pcap) with nanosecond stamps (`tcpdump --time-stamp-precision=nano`).
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

MAGIC_NS: Final = 0xA1B23C4D
ETHERNET: Final = 1
_FILE: Final = struct.Struct("<IHHiIII")
_RECORD: Final = struct.Struct("<IIII")
_IPV4: Final = 0x0800
_TCP: Final = 6
_SYN: Final = 0x02
_WRAP: Final = 1 << 32


class CaptureError(ValueError):
    """Bytes that are no such capture; the message says what is wrong."""


class Segment(NamedTuple):
    """One TCP segment. ``at_ns`` is the kernel's stamp, CLOCK_REALTIME; ``wire_bytes`` counts from the IP header on."""

    at_ns: int
    source: int
    destination: int
    sequence: int
    syn: bool
    payload: bytes
    wire_bytes: int


class Stream(NamedTuple):
    """One direction of a connection: its bytes, and up to which of them the receiver had when."""

    data: bytes
    ends: list[int]
    """Rising: how many bytes had arrived ..."""
    stamps_ns: list[int]
    """... at this instant."""

    def arrival_ns(self, end: int) -> int:
        """When the first ``end`` bytes were complete. Raises ``IndexError`` if they never were."""
        return self.stamps_ns[bisect_left(self.ends, end)]


def read_segments(data: bytes) -> Iterator[Segment]:
    """Every TCP segment of a capture file; other packets are left out. Raises ``CaptureError``."""
    if len(data) < _FILE.size:
        raise CaptureError(f"{len(data)} bytes are no capture file: its header alone has {_FILE.size}")
    magic, *_, link = _FILE.unpack_from(data)
    if magic != MAGIC_NS or link != ETHERNET:
        raise CaptureError(
            f"a capture with nanoseconds of an Ethernet device was expected, not {magic:#x} of type {link}"
        )
    place = _FILE.size
    while place < len(data):
        if place + _RECORD.size > len(data):
            raise CaptureError(f"the capture breaks off inside a record's header at byte {place}")
        seconds, nanoseconds, captured, _ = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        if place + captured > len(data):
            raise CaptureError(f"the capture breaks off inside a packet at byte {place}")
        segment = _segment(data[place : place + captured], seconds * 1_000_000_000 + nanoseconds)
        place += captured
        if segment is not None:
            yield segment


def _segment(frame: bytes, at_ns: int) -> Segment | None:
    if len(frame) < 34 or struct.unpack_from(">H", frame, 12)[0] != _IPV4 or frame[23] != _TCP:
        return None
    ip = 14
    total = struct.unpack_from(">H", frame, ip + 2)[0]
    tcp = ip + (frame[ip] & 0x0F) * 4
    if len(frame) < tcp + 20 or len(frame) < ip + total:
        raise CaptureError("a packet was captured in part: capture whole packets")
    source, destination, sequence = struct.unpack_from(">HHI", frame, tcp)
    payload = frame[tcp + (frame[tcp + 12] >> 4) * 4 : ip + total]
    return Segment(at_ns, source, destination, sequence, bool(frame[tcp + 13] & _SYN), payload, total)


def assemble(segments: Iterable[Segment]) -> Stream:
    """Put one direction's segments together; what came twice counts once, what came early waits for what it follows."""
    first: int | None = None
    waiting: dict[int, bytes] = {}
    data = bytearray()
    ends: list[int] = []
    stamps: list[int] = []
    for segment in segments:
        if first is None:
            first = (segment.sequence + segment.syn) % _WRAP
        if not segment.payload:
            continue
        offset = _offset(segment.sequence, first, len(data))
        if len(waiting.get(offset, b"")) < len(segment.payload):
            waiting[offset] = segment.payload
        before = len(data)
        _extend(data, waiting)
        if len(data) > before:
            ends.append(len(data))
            stamps.append(segment.at_ns)
    return Stream(bytes(data), ends, stamps)


def _offset(sequence: int, first: int, near: int) -> int:
    """Place of a sequence number in the stream, of all that it can mean the nearest (RFC 9293, section 3.4)."""
    offset = (sequence - first) % _WRAP
    turns = round((near - offset) / _WRAP)
    return offset + turns * _WRAP


def _extend(data: bytearray, waiting: dict[int, bytes]) -> None:
    """Append what now follows without a hole."""
    while ready := [offset for offset in waiting if offset <= len(data)]:
        for offset in ready:
            payload = waiting.pop(offset)
            data += payload[len(data) - offset :] if offset + len(payload) > len(data) else b""


def streams_from(segments: Sequence[Segment], port: int) -> list[Stream]:
    """What each connection's client received from ``port``, one stream a connection."""
    found: dict[int, list[Segment]] = {}
    streams: list[Stream] = []
    for segment in segments:
        if segment.source != port:
            continue
        if segment.syn and segment.destination in found:  # the client's port is used again
            streams.append(assemble(found.pop(segment.destination)))
        found.setdefault(segment.destination, []).append(segment)
    return streams + [assemble(of) for of in found.values()]
