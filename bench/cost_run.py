"""Carries out a cost plan, trial after trial, saved after each; Ctrl-C keeps what was measured."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from bench.cost_plan import CostTrialPlan
from bench.hiccup import Hiccups
from bench.host import Placement
from bench.idle import measure_idle
from bench.plan import TrialPlan, expected_s
from bench.progress import Reporter, outcome
from bench.provenance import provenance
from bench.results import CostResults, CostTrial, Plan, Trial, save
from bench.runner import remove_if_empty
from bench.trial import SAMPLES_FOLDER, Bed, run_trial

Measure = Callable[[Plan, TrialPlan, int], Awaitable[Trial]]
"""Runs one trial under a load, the how manieth attempt at it. The seam where the tests put a fake."""


def new_cost_results(
    planned: list[CostTrialPlan], preset: str, seed: int, command: list[str], placement: Placement
) -> CostResults:
    """The record of a run that has not measured anything yet."""
    loads: dict[str, dict[str, Plan]] = {}
    for one in planned:
        loads.setdefault(one.section, {})[f"{one.load} ({one.trial.transport})"] = one.plan
    return CostResults(**provenance(command, placement), preset=preset, seed=seed, loads=loads, trials=[])


async def run_cost(
    results: CostResults,
    name: str,
    planned: list[CostTrialPlan],
    folder: Path,
    placement: Placement,
    told: Reporter,
    idle_of: Plan | None = None,
) -> None:
    """Measure everything planned into ``results`` and the file ``name``. Cancelling it stops all processes.

    ``idle_of``: by this plan the bytes of heartbeats are measured first, to be counted at their long-run rate.
    """
    for needed in (SAMPLES_FOLDER, "logs"):
        (folder / needed).mkdir(exist_ok=True)
    hiccups = Hiccups()

    async def measure(plan: Plan, trial: TrialPlan, attempt: int) -> Trial:
        return await run_trial(Bed(plan, folder, placement, hiccups, results.idle), trial, attempt)

    try:
        if idle_of is not None:
            results.idle = await measure_idle(idle_of, placement.server, folder)
        await hiccups.start(sorted({placement.server, placement.relay, *placement.generator}), folder / "logs")
        await run_planned(results, name, planned, folder, measure, told)
        results.finished = True
    finally:
        save(results, folder, name)
        await hiccups.stop()
        remove_if_empty(folder / "logs")


async def run_planned(
    results: CostResults, name: str, planned: list[CostTrialPlan], folder: Path, measure: Measure, told: Reporter
) -> None:
    """Run the trials in order and save after each. An invalid one is run again while its plan's bound allows."""
    left = [expected_s(one.plan, one.trial) for one in planned]
    told.begin(sum(left), len(planned))
    expected_so_far = taken_so_far = 0.0
    reruns = 0
    for place, one in enumerate(planned):
        for attempt in count(1):
            began = time.monotonic()
            told.starting(one.trial.id, left[place])
            trial = await measure(one.plan, one.trial, attempt)
            results.trials.append(CostTrial(one.section, one.load, trial))
            await asyncio.to_thread(save, results, folder, name)
            expected_so_far, taken_so_far = expected_so_far + left[place], taken_so_far + time.monotonic() - began
            told.finished(trial.id, outcome(trial), sum(left[place + 1 :]) * taken_so_far / expected_so_far)
            if trial.status != "invalid" or reruns >= one.plan.max_reruns:
                break
            reruns += 1
