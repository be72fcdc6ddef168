"""The results of a packet capture held against our own meters (docs/results-format.md). Pure."""

import msgspec

from bench.results.provenance import Provenance
from bench.results.run import Plan, Trial


class LateEvent(msgspec.Struct, frozen=True):
    """One delivery, from due to application. Milliseconds after it was due."""

    room: int
    n: int
    publish_ms: float
    kernel_ms: float
    """The kernel's stamp of the packet that completed it at the client."""
    receive_ms: float


class Verification(msgspec.Struct):
    """One trial under packet capture. ``broken`` names the checks that did not hold; empty if all did."""

    trial: Trial
    captured_bytes: int = 0
    counted_bytes: int = 0
    """What the clients' ledger says the same connections moved, set-up and closing included."""
    unmerged_header_bytes: int = 0
    """Headers that the capture lacks: of segments that the loopback handed over in one packet."""
    repeated_bytes: int = 0
    """Payload that the capture has twice: of segments that came again, which the client's kernel counts once."""
    late_reset_bytes: int = 0
    """Resets in the capture that came after both ends had closed a connection, and that nobody counts."""
    captured_packets: int = 0
    deliveries: int = 0
    matched: int = 0
    """Deliveries whose message was found in the capture."""
    user_minus_kernel_ms_p50: float | None = None
    user_minus_kernel_ms_p95: float | None = None
    """Absent with too few events."""
    clock_drift_us: float = 0.0
    """How far CLOCK_REALTIME moved against CLOCK_MONOTONIC during the capture."""
    slowest: list[LateEvent] = []
    broken: list[str] = []
    point: str = "sparse"
    """The operating point. Older files have the first one alone."""

    @property
    def expected_bytes(self) -> int:
        """What the ledger must have counted, by the capture alone."""
        return self.captured_bytes + self.unmerged_header_bytes - self.repeated_bytes - self.late_reset_bytes

    @property
    def counted_excess(self) -> float:
        """Counted bytes over expected ones, minus 1. Needs a capture that is not empty."""
        return self.counted_bytes / self.expected_bytes - 1


class VerifyResults(Provenance):
    """One run of ``python -m bench verify``."""

    plan: Plan
    """Of the first operating point."""
    trials: list[Verification]
    more_plans: list[Plan] = msgspec.field(default_factory=list)
    """Of the others; older files have none."""

    @property
    def plans(self) -> list[Plan]:
        """One for each operating point."""
        return [self.plan, *self.more_plans]
