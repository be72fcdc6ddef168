"""Reads a capture of tcpdump: TCP segments over IPv4 with the kernel's stamps, from a classic pcap file. Pure.

Format: IETF draft-ietf-opsawg-pcap, with Ethernet framing only, which Linux puts around the loopback's packets. Lengths
are those of the IP packet: Ethernet is counted nowhere in this project.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from feed.instruments.clock import NS_PER_S

_NS_PER_TICK: Final = {0xA1B23C4D: 1, 0xA1B2C3D4: 1000}
_FILE_HEADER_BYTES: Final = 24
_RECORD_HEADER_BYTES: Final = 16
_ETHERNET: Final = 1
_ETHERNET_HEADER_BYTES: Final = 14
_IPV4: Final = b"\x08\x00"
_TCP: Final = 6
MAX_CAPTURE_BYTES: Final = 1 << 30
SEQUENCES: Final = 1 << 32
"""Sequence numbers of TCP begin anew after so many bytes."""
FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04


class CaptureError(Exception):
    """A capture that could not be made or read; the message says what is wrong, and what to do where that is known."""


class Segment(NamedTuple):
    """One TCP segment as it was captured."""

    at_ns: int
    """The kernel's stamp: CLOCK_REALTIME, nanoseconds."""
    source_port: int
    target_port: int
    sequence: int
    flags: int
    payload: bytes
    ip_bytes: int
    """Length of the whole IP packet, headers included."""


def read_pcap(path: Path) -> list[Segment]:
    """All TCP segments in the order of capture. Raises ``CaptureError`` naming the file and what is wrong with it."""
    try:
        if path.stat().st_size > MAX_CAPTURE_BYTES:
            raise CaptureError(f"{path}: over the bound of {MAX_CAPTURE_BYTES} bytes")
        return list(segments(path.read_bytes()))
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error
    except CaptureError as error:
        raise CaptureError(f"{path}: {error}") from error


def segments(data: bytes) -> Iterator[Segment]:
    """The TCP segments in a file's bytes. Raises ``CaptureError``."""
    for number, (at_ns, frame) in enumerate(_records(data), 1):
        if frame[12:14] != _IPV4 or frame[_ETHERNET_HEADER_BYTES + 9 : _ETHERNET_HEADER_BYTES + 10] != bytes([_TCP]):
            continue
        try:
            yield _segment(at_ns, frame[_ETHERNET_HEADER_BYTES:])
        except (struct.error, IndexError) as error:
            raise CaptureError(f"packet {number} is shorter than its headers say") from error


def wire_bytes(captured: list[Segment]) -> int:
    """IP bytes of all segments, both directions."""
    return sum(segment.ip_bytes for segment in captured)


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Stamp and frame of each packet."""
    order, tick_ns = _byte_order(data)
    if struct.unpack_from(order + "I", data, 20)[0] != _ETHERNET:
        raise CaptureError("the packets are not Ethernet frames, as those of the loopback are")
    place, number = _FILE_HEADER_BYTES, 0
    while place < len(data):
        number += 1
        frame_at = place + _RECORD_HEADER_BYTES
        if frame_at > len(data):
            raise CaptureError(f"cut short in packet {number}")
        seconds, ticks, captured, length = struct.unpack_from(order + "4I", data, place)
        if captured != length:
            raise CaptureError(f"packet {number}: {captured} of its {length} bytes were captured")
        place = frame_at + captured
        if place > len(data):
            raise CaptureError(f"cut short in packet {number}")
        yield seconds * NS_PER_S + ticks * tick_ns, data[frame_at:place]


def _byte_order(data: bytes) -> tuple[str, int]:
    """Byte order of the file's numbers, and nanoseconds per unit of the fractions of its stamps."""
    if len(data) < _FILE_HEADER_BYTES:
        raise CaptureError(f"{len(data)} bytes are no capture: its header alone has {_FILE_HEADER_BYTES}")
    for order in "<>":
        magic = struct.unpack_from(order + "I", data)[0]
        if magic in _NS_PER_TICK:
            return order, _NS_PER_TICK[magic]
    raise CaptureError(f"begins with {data[:4].hex()}, as no pcap file does")


def _segment(at_ns: int, packet: bytes) -> Segment:
    """One IPv4 packet (RFC 791, section 3.1) with a TCP segment (RFC 9293, section 3.1) in it."""
    ip_header_bytes = (packet[0] & 0x0F) * 4
    ip_bytes = struct.unpack_from(">H", packet, 2)[0]
    source, target, sequence = struct.unpack_from(">HHI", packet, ip_header_bytes)
    payload_at = ip_header_bytes + (packet[ip_header_bytes + 12] >> 4) * 4
    if not payload_at <= ip_bytes <= len(packet):
        raise IndexError(payload_at)
    flags = packet[ip_header_bytes + 13]
    return Segment(at_ns, source, target, sequence, flags, packet[payload_at:ip_bytes], ip_bytes)
