"""What a packet capture says of the measurement, as a section of the report. Pure."""

import msgspec

from bench.results import VerifyResults, VerifyTrial
from reports.formats import fixed, number
from reports.sections import Table
from reports.style import LOOKS

NOTES = (
    "Wire bytes: by the ledger from TCP_INFO, and in the capture, over the whole life of all connections; within 1 %.",
    "User minus kernel: the client's receive time minus the kernel's stamp of the packet that completed the event.",
)


class VerifySummary(msgspec.Struct, frozen=True):
    """Tables, cautions and what the figure draws."""

    results: VerifyResults
    title: str
    cautions: list[str]
    tables: list[Table]


def summarize_verify(results: VerifyResults) -> VerifySummary:
    """Work out the section."""
    plan = results.plan
    title = (
        f"One trial per transport under packet capture, {plan.subscribers} subscribers, {plan.rtt_ms:g} ms round trip"
    )
    cautions = [f"{LOOKS[of.trial.transport].name}: {text}" for of in results.trials for text in of.failures]
    if not results.finished:
        cautions.append("The run was interrupted.")
    head = [
        "",
        "wire bytes, counted",
        "in the capture",
        "difference (%)",
        "deliveries matched",
        "user minus kernel, p50 (µs)",
        "p95 (µs)",
        "of the median latency (%)",
        "checks",
    ]
    table = Table("Counted, and captured", head, [_row(of) for of in results.trials], list(NOTES))
    return VerifySummary(results, title, cautions, [table])


def _row(of: VerifyTrial) -> list[str]:
    latency_us = of.trial.metrics.get("latency_ms_p50", 0.0) * 1000
    off = 100 * (of.counted_bytes / of.captured_bytes - 1) if of.captured_bytes else 0.0
    return [
        LOOKS[of.trial.transport].name,
        f"{of.counted_bytes:,}",
        f"{of.captured_bytes:,}",
        f"{off:+.2f}",
        f"{of.matched:,} of {of.deliveries:,}",
        number(of.user_minus_kernel_us_p50),
        number(of.user_minus_kernel_us_p95),
        fixed(100 * of.user_minus_kernel_us_p50 / latency_us, 1) if latency_us else "",
        "hold" if not of.failures else "do not hold",
    ]
