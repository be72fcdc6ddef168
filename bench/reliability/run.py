"""All trials of ``python -m bench faults``, one after the other, saved one by one."""

import asyncio
from pathlib import Path
from typing import Final

from bench.machine.host import Placement
from bench.reliability.failures import run_fault
from bench.reliability.hostile import run_attack
from bench.reliability.planned_fault import PlannedFault
from bench.results.files import FAULTS_FILE, save
from bench.results.reliability import ATTACKS, FaultResults, FaultTrial, HostileTrial
from bench.run.progress import Progress, duration

EXPECTED_S: Final = 12.0
"""About how long one trial takes, for the time remaining."""


async def run_faults(
    results: FaultResults, planned: list[PlannedFault], clients: int, folder: Path, place: Placement, progress: Progress
) -> None:
    """Measure everything planned into ``results``, saved after each trial. Cancelling it stops all processes."""
    (folder / "logs").mkdir(exist_ok=True)
    progress.begin(EXPECTED_S * len(planned), len(planned))
    for number, one in enumerate(planned):
        progress.starting(one.id, EXPECTED_S)
        seed = results.seed + number
        if one.kind in ATTACKS:
            results.hostile.append(await run_attack(one, results.window_events, folder, place, seed))
            outcome = _attack_outcome(results.hostile[-1])
        else:
            results.trials.append(await run_fault(one, clients, results.rate_hz, folder, place, seed))
            outcome = _fault_outcome(results.trials[-1])
        await asyncio.to_thread(save, results, folder, FAULTS_FILE)
        progress.finished(one.id, outcome, EXPECTED_S * (len(planned) - number - 1))
    results.finished = True
    save(results, folder, FAULTS_FILE)


def _attack_outcome(trial: HostileTrial) -> str:
    memory = f"{trial.rss_bytes_per_hostile_client / 1024:.1f} KiB per hostile client"
    return f"p99 {trial.baseline_ms_p99:.1f} ms, under attack {trial.attack_ms_p99:.1f} ms; {memory}"


def _fault_outcome(trial: FaultTrial) -> str:
    back = f"{len(trial.recover_s)} clients came back" + (
        f", the last after {duration(trial.recover_s[-1])}" if trial.recover_s else ""
    )
    return f"{back}; {trial.silently_lost} lost, {trial.duplicates} duplicates"
