"""One trial per transport and operating point under packet capture: ``python -m bench verify``.

The trials are those of any run."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import yarl

from bench.capture.ground_truth import Deliveries, Evidence, verify
from bench.capture.pcap import read_pcap
from bench.capture.tcpdump import captured
from bench.generators.spec import Records, load_records
from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.provenance import provenance
from bench.plan.presets import POINTS, make_plan
from bench.plan.timing import expected_s
from bench.plan.trials import TrialPlan, trials
from bench.results.files import VERIFY_FILE, save
from bench.results.run import Plan
from bench.results.verify import Verification, VerifyResults
from bench.run.folders import remove_if_empty
from bench.run.progress import Progress, outcome
from bench.trial.conduct import run_trial
from bench.trial.context import RunContext, TrialProcesses
from bench.trial.evaluate import SAMPLES_FOLDER
from clients.control import Control
from clients.core.ledger import Totals
from feed.transports import TRANSPORTS

PRESETS: Final = ("default", "smoke")
CAPTURE_EXPECTED_S: Final = 1.0
CLOCK_READINGS: Final = 20


def verify_plans(preset: str, transports: list[str] | None = None, **given: Any) -> list[Plan]:
    """The plans of a preset, one for each operating point, with every transport once, the baseline too.

    Raises ``PlanError``.
    """
    once = {"blocks": 1, "curve_intervals_s": [], "loopback_too": False, "max_reruns": 0}
    names = list(TRANSPORTS) if transports is None else transports
    return [make_plan(preset, point, transports=names, **once, **given) for point in POINTS]


def new_verify_results(plans: list[Plan], command: list[str], place: Placement) -> VerifyResults:
    """The record of a run that has not measured anything yet."""
    return VerifyResults(**provenance(command, place), plan=plans[0], more_plans=plans[1:], trials=[])


class Witness:
    """Watches one trial: captures its packets, and records everything else that is compared."""

    def __init__(self, folder: Path, core: int) -> None:
        self._file = folder / "logs" / "capture.pcap"
        self._core = core
        self.evidence: Evidence | None = None

    @asynccontextmanager
    async def watch(self, processes: TrialProcesses) -> AsyncIterator[None]:
        """Around the time in which the generator has connections. Raises ``CaptureError``."""
        port = yarl.URL(processes.url).explicit_port or 0
        offset_ns = clock_offset_ns()
        try:
            async with captured(port, self._file, self._core):
                yield
            drift_ns = clock_offset_ns() - offset_ns
            async with Control(str(processes.server.ready["control_url"])) as control:
                publications = await control.publications()
            segments = await asyncio.to_thread(read_pcap, self._file)
            records = load_records(Path(processes.spec.records_file))
            probe_ports = frozenset(number for of in records if of.probes for number in of.ports)
            self.evidence = Evidence(
                segments, port, probe_ports, _life_bytes(records), publications, offset_ns, drift_ns
            )
        finally:
            self._file.unlink(missing_ok=True)


def clock_offset_ns(
    monotonic_ns: Callable[[], int] = time.monotonic_ns, real_ns: Callable[[], int] = time.time_ns
) -> int:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC in ns: the reading, of several, that took the least time."""
    readings = []
    for _ in range(CLOCK_READINGS):
        before_ns, at_ns, after_ns = monotonic_ns(), real_ns(), monotonic_ns()
        readings.append((after_ns - before_ns, at_ns - (before_ns + after_ns) // 2))
    return min(readings)[1]


async def run_verify(results: VerifyResults, folder: Path, place: Placement, progress: Progress) -> None:
    """All trials in order, saved after each. Cancelling it stops all processes."""
    for name in (SAMPLES_FOLDER, "logs"):
        (folder / name).mkdir(exist_ok=True)
    planned = [(plan, trial) for plan in results.plans for trial in trials(plan)]
    left = [expected_s(plan, trial) + CAPTURE_EXPECTED_S for plan, trial in planned]
    progress.begin(sum(left), len(planned))
    hiccups = Hiccups()
    try:
        await hiccups.start(sorted({place.server, place.relay, *place.generator}), folder / "logs")
        for number, (plan, trial) in enumerate(planned):
            name = f"verify-{plan.point}-{trial.transport}"
            progress.starting(name, left[number])
            found = await _verified(RunContext(plan, folder, place, hiccups, {}), trial._replace(id=name))
            results.trials.append(found)
            await asyncio.to_thread(save, results, folder, VERIFY_FILE)
            progress.finished(name, _outcome(found), sum(left[number + 1 :]))
        results.finished = True
    finally:
        save(results, folder, VERIFY_FILE)
        await hiccups.stop()
        remove_if_empty(folder / "logs")


async def _verified(context: RunContext, trial: TrialPlan) -> Verification:
    """Measure one trial, and compare it with what was captured."""
    witness = Witness(context.folder, context.placement.server)
    record = await run_trial(context._replace(watch=witness.watch), trial, 1)
    if witness.evidence is None or record.status == "failed":
        broken = [f"it could not be measured: {'; '.join(record.reasons)}"]
        return Verification(record, point=context.plan.point, broken=broken)
    with np.load(context.folder / record.samples) as arrays:
        deliveries = Deliveries(*(arrays[name] for name in Deliveries._fields))
    found = verify(record, deliveries, witness.evidence)
    found.point = context.plan.point
    return found


def _life_bytes(records: list[Records]) -> int:
    """Bytes of all connections of the generator, from SYN to last segment, as the ledger counts them."""
    finals = [Totals(**record.final.totals) for record in records]
    return sum(final.stream_bytes + final.header_bytes for final in finals)


def _outcome(found: Verification) -> str:
    if found.broken:
        return f"DOES NOT HOLD: {'; '.join(found.broken)}"
    away = found.counted_excess
    return f"{outcome(found.trial)}; bytes {away:+.2%}, user minus kernel p50 {found.user_minus_kernel_ms_p50:.3f} ms"
