"""Where a capture of the loopback shows more or less than the client's kernel counts, by the capture alone. Pure.

* The loopback hands over several segments in one piece (GSO). A capture shows one packet with one header; TCP_INFO
  counts every segment, as they would cross a network.
* A segment that comes twice is in the capture twice; TCP_INFO's ``bytes_received`` has its payload once (linux/tcp.h).
* After both FINs a connection is over. If one more acknowledgement meets a socket that is gone, its kernel answers with
  a reset (RFC 9293, 3.10.7.1), which nobody counts.
"""

from collections.abc import Iterable

from bench.capture.pcap import FIN, RST, SEQUENCES, SYN, Segment
from bench.theory.bytes import MSS_BYTES


def unmerged_header_bytes(captured: Iterable[Segment]) -> int:
    """Header bytes of the segments that were merged into packets: the packet's own header for each but the first."""
    return sum((len(of.payload) - 1) // MSS_BYTES * (of.ip_bytes - len(of.payload)) for of in captured if of.payload)


def repeated_bytes(captured: Iterable[Segment]) -> int:
    """Payload that had been sent before on the same connection, in the same direction."""
    ends: dict[tuple[int, int], int] = {}
    repeated = 0
    for segment in captured:
        way = segment.source_port, segment.target_port
        if segment.flags & SYN:
            ends[way] = (segment.sequence + 1) % SEQUENCES
        elif segment.payload and way in ends:
            behind = (ends[way] - segment.sequence) % SEQUENCES
            behind = behind if behind < SEQUENCES // 2 else 0  # else it is ahead: the capture missed what came before
            repeated += min(behind, len(segment.payload))
            if behind < len(segment.payload):
                ends[way] = (segment.sequence + len(segment.payload)) % SEQUENCES
    return repeated


def late_reset_bytes(captured: Iterable[Segment]) -> int:
    """Resets on connections that both ends had closed."""
    closed: set[tuple[int, int]] = set()
    late = 0
    for segment in captured:
        way = segment.source_port, segment.target_port
        if segment.flags & SYN:
            closed.discard(way)
        elif segment.flags & RST and {way, way[::-1]} <= closed:
            late += segment.ip_bytes
        elif segment.flags & FIN:
            closed.add(way)
    return late
