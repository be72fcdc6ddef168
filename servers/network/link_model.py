"""A model of one direction of one TCP connection: when a network would deliver the bytes sent into it. Pure.

Times are integer nanoseconds; random numbers come from a seeded ``Random``. The formulas are those of docs/method.md,
"Network". Loss is a model of how TCP recovers from it; no segment is really dropped.
"""

from random import Random
from typing import Final, NamedTuple

from feed.instruments.clock import NS_PER_MS, NS_PER_S
from feed.instruments.tcp import MAX_SEGMENT_BYTES
from feed.networks import Network

DUPLICATES_FOR_FAST_RETRANSMIT: Final = 3
"""Later segments that must arrive before the sender resends a missing one (RFC 5681, section 3.2)."""
MAX_RETRANSMISSIONS: Final = 15
"""Linux gives up a connection after this many (net.ipv4.tcp_retries2); the model lets the last one through."""
MAX_TIMEOUT_NS: Final = 120 * NS_PER_S
"""Longest retransmission time-out, however often it was doubled (TCP_RTO_MAX, include/net/tcp.h)."""
BITS_PER_MBIT: Final = 1_000_000
TIMESTAMP_OPTION_BYTES: Final = 12
SEGMENT_BYTES: Final = MAX_SEGMENT_BYTES - TIMESTAMP_OPTION_BYTES
"""Payload of a full segment: 1,448 bytes, since TCP's timestamp option takes 12 (RFC 7323, appendix A)."""


class Release(NamedTuple):
    """Bytes that are delivered together, and when."""

    at_ns: int
    size_bytes: int


class LinkModel:
    """One direction of one connection, which delivers in order.

    Counters: ``segments`` sent, retransmissions included; ``lost`` among them; ``stalls``: how often the stream waited
    for a lost segment to be sent again.
    """

    def __init__(self, network: Network, random: Random) -> None:
        self.network = network
        self._random = random
        self._one_way_ns = round(network.rtt_ms * NS_PER_MS) // 2
        self._timeout_ns = round(network.retransmission_timeout_ms * NS_PER_MS)
        self._link_free_ns = 0
        self._last_release_ns = 0
        self.segments = self.lost = self.stalls = 0

    def releases(self, arrival_ns: int, size_bytes: int) -> list[Release]:
        """When bytes that arrived together are delivered, in pieces of at most one segment.

        A network with a constant delay and nothing else delivers them in one piece. A size of 0 is the end of the
        stream: it keeps its place in the order, has no jitter, and is never lost.
        """
        if self.network.is_plain or not size_bytes:
            self.segments += -(-size_bytes // SEGMENT_BYTES)
            return [self._in_order(max(arrival_ns, self._link_free_ns) + self._one_way_ns, size_bytes)]
        sizes = segments(size_bytes)
        sent_ns = [self._serialise(arrival_ns, size) for size in sizes]
        arrives = [not self._is_lost() for _ in sizes]
        found = []
        for i, size in enumerate(sizes):
            from_ns = sent_ns[i] if arrives[i] else self._sent_again_ns(sent_ns[i], _noticed_ns(sent_ns, arrives, i))
            at_ns = from_ns + self._one_way_ns + self._jitter_ns()
            self.stalls += not arrives[i] and at_ns > self._last_release_ns
            found.append(self._in_order(at_ns, size))
        return found

    def _in_order(self, at_ns: int, size_bytes: int) -> Release:
        """Head-of-line blocking: nothing is delivered before what was sent before it."""
        self._last_release_ns = max(self._last_release_ns, at_ns)
        return Release(self._last_release_ns, size_bytes)

    def _serialise(self, arrival_ns: int, size_bytes: int) -> int:
        """When the last bit is on the link: 8 x bytes / bandwidth after everything that came earlier."""
        takes_ns = 0
        if self.network.bandwidth_mbit_s:
            takes_ns = round(8 * size_bytes * NS_PER_S / (self.network.bandwidth_mbit_s * BITS_PER_MBIT))
        self._link_free_ns = max(arrival_ns, self._link_free_ns) + takes_ns
        return self._link_free_ns

    def _jitter_ns(self) -> int:
        return round(self._random.random() * self.network.jitter_ms * NS_PER_MS)

    def _is_lost(self) -> bool:
        lost = self._random.random() < self.network.loss
        self.segments += 1
        self.lost += lost
        return lost

    def _sent_again_ns(self, sent_ns: int, noticed_ns: int | None) -> int:
        """When the first copy of a lost segment that is not lost too is on the link.

        Fast retransmit: one round trip after ``noticed_ns``, since the acknowledgement of the third later segment
        takes that long. Without it (``None``): one retransmission time-out after the segment was sent. The time-out
        doubles each time that the copy is lost too (RFC 6298, section 5.5).
        """
        timeout_ns = self._timeout_ns
        if noticed_ns is not None:
            again_ns = noticed_ns + 2 * self._one_way_ns
        else:
            again_ns, timeout_ns = sent_ns + timeout_ns, _doubled(timeout_ns)
        for _ in range(MAX_RETRANSMISSIONS):
            if not self._is_lost():
                break
            again_ns, timeout_ns = again_ns + timeout_ns, _doubled(timeout_ns)
        return again_ns


def segments(size_bytes: int) -> list[int]:
    """Sizes in bytes of the segments that carry ``size_bytes``; all but the last are full."""
    full, rest = divmod(size_bytes, SEGMENT_BYTES)
    return [SEGMENT_BYTES] * full + [rest] * bool(rest)


def _noticed_ns(sent_ns: list[int], arrives: list[bool], lost: int) -> int | None:
    """When the third arriving segment after the lost one was sent; ``None`` if fewer arrive."""
    later = [sent_ns[i] for i in range(lost + 1, len(sent_ns)) if arrives[i]]
    enough = len(later) >= DUPLICATES_FOR_FAST_RETRANSMIT
    return later[DUPLICATES_FOR_FAST_RETRANSMIT - 1] if enough else None


def _doubled(timeout_ns: int) -> int:
    return min(2 * timeout_ns, MAX_TIMEOUT_NS)
