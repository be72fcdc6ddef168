"""Every transport once under packet capture: are the bytes right, and the receive times? ``python -m bench verify``."""

import asyncio
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.capture import Capture, read_clocks
from bench.ground_truth import (
    BYTES_TOLERANCE,
    USER_SHARE,
    Deliveries,
    kernel_receipts,
    late_events,
    user_minus_kernel_us,
    wire_bytes,
)
from bench.hiccup import Hiccups
from bench.host import Placement
from bench.idle import measure_idle
from bench.pcap import CaptureError, Segment, read_segments
from bench.plan import TrialPlan, expected_s
from bench.progress import Reporter
from bench.results import VERIFY_FILE, Plan, Trial, VerifyResults, VerifyTrial, save
from bench.runner import remove_if_empty
from bench.trial import SAMPLES_FOLDER, Bed, run_trial
from feed.clock import NS_PER_US

MAX_CAPTURE_BYTES: Final = 1 << 30
READING_S: Final = 2.0
"""About what looking through a capture takes."""


def verify_trials(plan: Plan) -> list[TrialPlan]:
    """One trial per transport, with the schedule of the plan's first block."""
    seed = plan.seed * 10_000 + 1
    return [
        TrialPlan(f"verify-{name}", name, 1, "verify", seed, plan.rtt_ms, plan.poll_interval_s)
        for name in plan.transports
    ]


async def run_verify(results: VerifyResults, folder: Path, place: Placement, reporter: Reporter) -> None:
    """Measure and judge one transport after another, saving after each. Raises ``CannotCaptureError``."""
    plan, planned, hiccups = results.plan, verify_trials(results.plan), Hiccups()
    for name in (SAMPLES_FOLDER, "logs"):
        (folder / name).mkdir(exist_ok=True)
    left_s = [expected_s(plan, trial) + READING_S for trial in planned]
    reporter.begin(sum(left_s), len(planned))
    try:
        idle = await measure_idle(plan, place.server, folder)
        await hiccups.start(sorted({place.server, place.relay, *place.generator}), folder / "logs")
        bed = Bed(plan, folder, place, hiccups, idle)
        for place_of, trial in enumerate(planned):
            reporter.starting(trial.id, left_s[place_of])
            found = await _verify(bed, trial)
            results.trials.append(found)
            await asyncio.to_thread(save, results, folder, VERIFY_FILE)
            reporter.finished(trial.id, outcome(found), sum(left_s[place_of + 1 :]))
        results.finished = True
    finally:
        save(results, folder, VERIFY_FILE)
        await hiccups.stop()
        remove_if_empty(folder / "logs")


async def _verify(bed: Bed, trial: TrialPlan) -> VerifyTrial:
    file = bed.folder / f"{trial.id}.pcap"
    before = read_clocks()
    async with Capture(file) as capture:
        record = await run_trial(bed, trial, 1)
    after = read_clocks()
    try:
        if record.status == "failed":
            return _nothing(record, [f"the trial failed: {'; '.join(record.reasons)}"])
        if file.stat().st_size > MAX_CAPTURE_BYTES:
            return _nothing(record, [f"the capture is over the bound of {MAX_CAPTURE_BYTES} bytes"])
        segments = await asyncio.to_thread(lambda: list(read_segments(file.read_bytes())))
        deliveries = _deliveries(bed.folder / record.samples)
    except CaptureError as error:
        return _nothing(record, [str(error)])
    finally:
        file.unlink(missing_ok=True)
    drift_us = (after.offset_ns - before.offset_ns) / NS_PER_US
    offset_ns = (before.offset_ns + after.offset_ns) // 2
    return judge(record, bed.plan, segments, deliveries, offset_ns, drift_us, capture.dropped)


def judge(
    record: Trial,
    plan: Plan,
    segments: list[Segment],
    deliveries: Deliveries,
    offset_ns: int,
    drift_us: float,
    dropped: int,
) -> VerifyTrial:
    """Hold a trial against the capture that was made of it. Pure."""
    details: dict[str, Any] = record.details
    port = int((details["relay"] or details["server"])["port"])
    kernel = kernel_receipts(segments, port, plan.payload_bytes, offset_ns)
    differences_us = user_minus_kernel_us(deliveries, kernel)
    captured, counted = wire_bytes(segments, port), int(details["life_bytes"])
    p50_us, p95_us = np.percentile(differences_us, (50, 95)).tolist() if len(differences_us) else (0.0, 0.0)
    found = VerifyTrial(
        trial=record,
        counted_bytes=counted,
        captured_bytes=captured,
        packets=sum(port in (of.source, of.destination) for of in segments),
        dropped_packets=dropped,
        deliveries=len(deliveries.due_ns),
        matched=len(differences_us),
        user_minus_kernel_us_p50=p50_us,
        user_minus_kernel_us_p95=p95_us,
        clock_drift_us=drift_us,
        late=late_events(deliveries, kernel, dict(details["instants"]), plan.rtt_ms / 2),
        failures=[],
    )
    found.failures = checks(found)
    return found


def checks(of: VerifyTrial) -> list[str]:
    """Which of the checks do not hold. Pure."""
    found = []
    off = abs(of.counted_bytes - of.captured_bytes) / max(1, of.captured_bytes)
    if off > BYTES_TOLERANCE:
        found.append(f"bytes are {100 * off:.2f} % off the capture, allowed {100 * BYTES_TOLERANCE:g} %")
    if of.matched < of.deliveries or not of.deliveries:
        found.append(f"{of.matched} of {of.deliveries} deliveries are in the capture ({of.dropped_packets} dropped)")
    latency_ms = of.trial.metrics.get("latency_ms_p50", 0.0)
    if of.user_minus_kernel_us_p50 > USER_SHARE * latency_ms * 1000:
        share = of.user_minus_kernel_us_p50 / max(latency_ms * 1000, 1e-9)
        found.append(f"the receiving process adds {100 * share:.0f} % to the median, allowed {100 * USER_SHARE:g} %")
    if of.user_minus_kernel_us_p50 < 0:
        found.append("events were received before the kernel had them: the clocks disagree")
    return found


def outcome(of: VerifyTrial) -> str:
    """In a few words."""
    if of.failures:
        return "; ".join(of.failures)
    off = 100 * (of.counted_bytes / of.captured_bytes - 1)
    return f"bytes {off:+.2f} %, user minus kernel p50 {of.user_minus_kernel_us_p50:.0f} us"


def _deliveries(samples: Path) -> Deliveries:
    with np.load(samples) as arrays:
        return Deliveries(arrays["due_ns"], arrays["receive_ns"])


def _nothing(record: Trial, failures: list[str]) -> VerifyTrial:
    return VerifyTrial(record, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, [], failures)
