"""How far our own meters agree with a packet capture. Reads ``verify.json``."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.results.files import VERIFY_FILE
from bench.results.run import Plan
from bench.results.verify import LateEvent, Verification, VerifyResults
from reports.formats import NOT_MEASURED, counted, fixed, number
from reports.layout import FigureSpec, Section, Table
from reports.style import LOOKS
from reports.table.run import RunFolder

SPARSE: Final = "sparse"
TOO_FEW: Final = "n too small"


class Life(msgspec.Struct, frozen=True):
    """One late event: milliseconds that each part of its way took. Their sum is its latency."""

    publisher_ms: float
    """From due time to publication."""
    server_ms: float
    """In server, kernel and relay, the wait for the next poll included: whatever the other parts leave."""
    transit_ms: float
    """In the network: half the round trip."""
    client_ms: float
    """From the kernel's stamp to the application."""

    @property
    def latency_ms(self) -> float:
        """From due time to application."""
        return self.publisher_ms + self.server_ms + self.transit_ms + self.client_ms


class TruthSummary(msgspec.Struct, frozen=True):
    """The section's title, cautions, tables and late events."""

    title: str
    cautions: list[str]
    tables: list[Table]
    lives: dict[str, list[Life]]
    """Transport -> its slowest events, the slowest first."""


def build(run: RunFolder) -> list[Section]:
    """Bytes and receive times against a packet capture, and where the slowest events spent their time."""
    results = run.read(VERIFY_FILE, VerifyResults)
    if results is None:
        return []
    return [_section(summarize_truth(results, plan), plan.point) for plan in results.plans]


def _section(of: TruthSummary, point: str) -> Section:
    """``late_events`` of the sparse point has no prefix: pages link to it."""
    caption = (
        "The slowest events of each transport, from due time to application. Arrow: the bar continues beyond the axis."
    )
    name = "late_events" if point == SPARSE else f"{point}_late_events"
    figures = [FigureSpec(name, caption, "ground_truth.draw", of)]
    heading = "Ground truth" if point == SPARSE else f"Ground truth: {point}"
    return Section(heading, of.title, of.cautions, of.tables, figures)


def summarize_truth(results: VerifyResults, plan: Plan) -> TruthSummary:
    """Everything that the report says about an operating point of a verify run."""
    of_point = [one for one in results.trials if one.point == plan.point]
    measured = sorted(of_point, key=lambda one: list(LOOKS).index(one.trial.transport))
    network = f"{number(plan.rtt_ms)} ms round trip" if plan.rtt_ms else "loopback"
    title = (
        f"One trial per transport under packet capture: {counted(plan.subscribers, 'subscriber')} in "
        f"{counted(plan.rooms, 'room')}, {number(plan.rate_hz)} events/s, {network}; {results.processor}"
    )
    lives = {one.trial.transport: [life(event, one.trial.rtt_ms / 2) for event in one.slowest] for one in measured}
    tables = [table for table in (_bytes_table(measured), _receive_table(measured)) if table.rows]
    return TruthSummary(title, _cautions(results, measured), tables, {name: of for name, of in lives.items() if of})


def life(event: LateEvent, transit_ms: float) -> Life:
    """Split one event's way into its parts."""
    on_the_way_ms = event.kernel_ms - event.publish_ms
    return Life(
        publisher_ms=event.publish_ms,
        server_ms=on_the_way_ms - transit_ms,
        transit_ms=transit_ms,
        client_ms=event.receive_ms - event.kernel_ms,
    )


def _cautions(results: VerifyResults, measured: Sequence[Verification]) -> list[str]:
    cautions = [] if results.finished else ["the verify run was interrupted"]
    for one in measured:
        name = LOOKS[one.trial.transport].name
        cautions += [f"{name} failed the check: {reason}" for reason in one.broken]
        others = [reason for reason in one.trial.reasons if reason not in one.broken]
        if others and one.trial.status == "invalid":
            cautions.append(f"{name} was measured on a host that was not quiet: {'; '.join(others)}")
    return cautions


def _bytes_table(measured: Sequence[Verification]) -> Table:
    head = [
        "Transport",
        "Packets",
        "Captured bytes",
        "+ merged",
        "- repeated",
        "- resets",
        "Counted bytes",
        "Difference",
    ]
    rows = [
        [
            LOOKS[one.trial.transport].name,
            f"{one.captured_packets:,}",
            f"{one.captured_bytes:,}",
            f"{one.unmerged_header_bytes:,}",
            f"{one.repeated_bytes:,}",
            f"{one.late_reset_bytes:,}",
            f"{one.counted_bytes:,}",
            f"{100 * one.counted_excess:+.2f} %",
        ]
        for one in measured
        if one.captured_bytes
    ]
    notes = [
        "All connections from handshake to close; the two counts must agree within 1 %. Merged: headers of segments "
        "that the loopback hands over in one packet. Repeated: payload that the relay's kernel sends again, as it "
        "takes the loopback's round trip for the path's (tail loss probes); the client's kernel counts it once. "
        "Resets: those that follow when both ends have closed.",
    ]
    return Table("Wire bytes against the capture", head, rows, notes)


def _receive_table(measured: Sequence[Verification]) -> Table:
    head = [
        "Transport",
        "Deliveries found in the capture",
        "Latency, median, ms",
        "User minus kernel, median, ms",
        "p95, ms",
        "Median as a share of the latency",
    ]
    notes = [
        "User: time at the first line of the client's data_received. Kernel: its stamp of the packet that completed "
        "the message. A trial whose median difference exceeds 20 % of the median latency is invalid."
    ]
    return Table("Receive times against the kernel", head, [_receive_row(one) for one in measured], notes)


def _receive_row(one: Verification) -> list[str]:
    latency_ms, median_ms = one.trial.values.get("latency_ms_p50"), one.user_minus_kernel_ms_p50
    return [
        LOOKS[one.trial.transport].name,
        f"{one.matched:,} of {one.deliveries:,}" if one.deliveries else NOT_MEASURED,
        TOO_FEW if latency_ms is None else number(latency_ms),
        TOO_FEW if median_ms is None else fixed(median_ms, 3),
        TOO_FEW if one.user_minus_kernel_ms_p95 is None else fixed(one.user_minus_kernel_ms_p95, 3),
        f"{100 * median_ms / latency_ms:.1f} %" if median_ms is not None and latency_ms else NOT_MEASURED,
    ]
