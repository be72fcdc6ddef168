"""Carries out a cost plan, trial after trial, saved after each; Ctrl-C keeps what was measured."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.provenance import provenance
from bench.plan.presets import TrialPlan, expected_s
from bench.results.files import save
from bench.results.run import Plan, Trial
from bench.results.sweep import SweepResults, SweepTrial
from bench.run.progress import Reporter
from bench.run.runner import remove_if_empty
from bench.run.sequence import Step, run_in_order
from bench.sweeps.cost import CostTrialPlan
from bench.trial.conduct import run_trial
from bench.trial.context import RunContext
from bench.trial.evaluate import SAMPLES_FOLDER
from bench.trial.idle import measure_idle

Measure = Callable[[Plan, TrialPlan, int], Awaitable[Trial]]
"""Runs one trial under a load, and which attempt at it this is. The seam where the tests put a fake."""


def new_cost_results(
    planned: list[CostTrialPlan], preset: str, seed: int, command: list[str], placement: Placement
) -> SweepResults:
    """The record of a run that has not measured anything yet."""
    loads: dict[str, dict[str, Plan]] = {}
    for one in planned:
        loads.setdefault(one.section, {})[f"{one.load} ({one.trial.transport})"] = one.plan
    return SweepResults(**provenance(command, placement), preset=preset, seed=seed, loads=loads, trials=[])


async def run_cost(
    results: SweepResults,
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
        return await run_trial(RunContext(plan, folder, placement, hiccups, results.idle), trial, attempt)

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
    results: SweepResults, name: str, planned: list[CostTrialPlan], folder: Path, measure: Measure, told: Reporter
) -> None:
    """Run the trials in order and save after each. An invalid one is run again while its plan's bound allows."""

    async def keep(one: CostTrialPlan, attempt: int) -> Trial:
        trial = await measure(one.plan, one.trial, attempt)
        results.trials.append(SweepTrial(one.section, one.load, trial))
        await asyncio.to_thread(save, results, folder, name)
        return trial

    steps = [
        Step(one.trial.id, expected_s(one.plan, one.trial), one.plan.max_reruns, partial(keep, one)) for one in planned
    ]
    told.begin(sum(step.expected_s for step in steps), len(steps))
    await run_in_order(steps, told)
