"""The engine of all benchmarks that measure trials: it runs them one after another and saves each before the next.

Ctrl-C ends a run early; the results until then are kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.provenance import provenance
from bench.plan.timing import expected_s
from bench.plan.trials import Planned, TrialPlan, spare_block, trials
from bench.results.files import RESULTS_FILE, save
from bench.results.observed import RelayCheck
from bench.results.run import Plan, Results, Trial
from bench.results.sweep import SweepResults, SweepTrial
from bench.run.folders import remove_if_empty
from bench.run.progress import Progress
from bench.run.relay_checks import AFTER, BEFORE, check_relays, reasons_by_rtt, reject
from bench.run.sequence import Step, run_sequence
from bench.trial.conduct import run_trial
from bench.trial.context import RunContext
from bench.trial.evaluate import SAMPLES_FOLDER
from bench.trial.idle import measure_idle

IDLE_EXPECTED_S: Final = 5.0
TABLE: Final = "table"
"""The section of the table's trials."""

Measure = Callable[[Plan, TrialPlan, int], Awaitable[Trial]]
"""Runs one trial under a load; the number counts its attempts from 1. Tests replace it by a fake."""


class Batch(NamedTuple):
    """Trials whose records go into one file of results."""

    results: Results | SweepResults
    planned: list[Planned]
    folder: Path
    name: str = RESULTS_FILE

    @property
    def expected_s(self) -> float:
        """About how long these trials take, in seconds."""
        return sum(expected_s(one.plan, one.trial) for one in self.planned)

    def keep(self, one: Planned, trial: Trial) -> None:
        """Add a trial to the results and save them."""
        if isinstance(self.results, Results):
            self.results.trials.append(trial)
        else:
            self.results.trials.append(SweepTrial(one.section, one.load, trial))
        self.save()

    def checked(self, checks: list[RelayCheck]) -> None:
        """Record how the relays were, before and after, and what that means for the trials; save the results."""
        self.results.relay_checks = checks
        trials = [of if isinstance(of, Trial) else of.trial for of in self.results.trials]
        reject(trials, [check for check in checks if check.when == AFTER])
        self.save()

    def save(self) -> None:
        """Write the results as they are now."""
        save(self.results, self.folder, self.name)


def table_batch(plan: Plan, command: list[str], placement: Placement, folder: Path) -> Batch:
    """The batch of an operating point before it is measured: one load, in a folder with the point's name."""
    results = Results(**provenance(command, placement), plan=plan, idle={}, trials=[])
    return Batch(results, [_table_trial(plan, trial) for trial in trials(plan)], folder / plan.point)


def _table_trial(plan: Plan, trial: TrialPlan) -> Planned:
    return Planned(TABLE, plan.point, plan, trial)


async def run_batches(
    batches: Sequence[Batch],
    placement: Placement,
    progress: Progress,
    idle_of: Plan | None = None,
    evaluate: Callable[..., None] | None = None,
) -> None:
    """Measure every batch into its results and its file. Cancelling it stops all processes.

    ``idle_of``: the plan by which the bytes of idle cycles are measured first. They depend neither on the operating
    point nor on the load, so that any plan's do for all batches. ``evaluate``: as in ``RunContext``.
    """
    hiccups, logs = Hiccups(), batches[0].folder / "logs"
    for batch in batches:
        for name in (SAMPLES_FOLDER, "logs"):
            (batch.folder / name).mkdir(parents=True, exist_ok=True)
    try:
        planned = [one for batch in batches for one in batch.planned]
        before = await check_relays(planned, BEFORE, placement.relay, logs)
        for batch in batches:
            batch.results.relay_checks = before
        if idle_of is not None:
            progress.starting("idle cycles", IDLE_EXPECTED_S)
            idle = await measure_idle(idle_of, placement.server, batches[0].folder)
            for batch in batches:
                names = dict.fromkeys(one.trial.transport for one in batch.planned)
                batch.results.idle = {name: idle[name] for name in names if name in idle}
        await hiccups.start(sorted({placement.server, placement.relay, *placement.generator}), logs)
        for number, batch in enumerate(batches):
            later_s = sum(other.expected_s for other in batches[number + 1 :])
            context = RunContext(
                batch.planned[0].plan,
                batch.folder,
                placement,
                hiccups,
                batch.results.idle,
                nullcontext,
                evaluate,
                reasons_by_rtt(before),
            )
            await _run_batch(batch, context, progress, later_s)
        after = await check_relays(planned, AFTER, placement.relay, logs)
        for batch in batches:
            batch.checked([*before, *after])
    finally:
        await hiccups.stop()
        for batch in batches:
            _remove_unused(batch)


async def _run_batch(batch: Batch, context: RunContext, progress: Progress, later_s: float) -> None:
    async def measure(plan: Plan, trial: TrialPlan, attempt: int) -> Trial:
        return await run_trial(context._replace(plan=plan), trial, attempt)

    try:
        await run_planned(batch, measure, progress, later_s)
        batch.results.finished = True
    finally:
        batch.save()


def _remove_unused(batch: Batch) -> None:
    """Remove the batch's folders that stayed empty: of logs, and of trials that an interrupted run never began."""
    for folder in (batch.folder / "logs", batch.folder / SAMPLES_FOLDER, batch.folder):
        remove_if_empty(folder)


async def run_planned(batch: Batch, measure: Measure, progress: Progress, later_s: float = 0.0) -> None:
    """Run a batch's trials in order. An invalid trial is run again while its plan's ``max_reruns`` allows; the table's
    trials are followed by spare blocks while too few blocks are complete.

    ``later_s``: expected seconds of what follows these trials, for the time remaining.
    """

    async def keep(one: Planned, attempt: int) -> Trial:
        trial = await measure(one.plan, one.trial, attempt)
        await asyncio.to_thread(batch.keep, one, trial)
        progress.recorded(one, trial)
        return trial

    def steps(planned: Sequence[Planned]) -> list[Step]:
        return [
            Step(_name(batch, one), expected_s(one.plan, one.trial), one.plan.max_reruns, partial(keep, one))
            for one in planned
        ]

    def spare() -> list[Step]:
        if not isinstance(batch.results, Results):
            return []
        plan = batch.results.plan
        return steps([_table_trial(plan, trial) for trial in spare_block(plan, batch.results.trials)])

    await run_sequence(steps(batch.planned), progress, later_s, spare)


def _name(batch: Batch, one: Planned) -> str:
    return f"{one.load} {one.trial.id}" if isinstance(batch.results, Results) else one.trial.id


def failed_transports(results: Results) -> dict[str, str]:
    """Transport without a valid main trial -> the reasons of its last one."""
    reasons: dict[str, str] = {}
    for name in results.plan.transports:
        mine = [trial for trial in results.trials if trial.transport == name and trial.purpose == "main"]
        if mine and not any(trial.status == "ok" for trial in mine):
            reasons[name] = "; ".join(mine[-1].reasons)
    return reasons
