"""Carries out a plan: trial after trial, saved after each, ended early by Ctrl-C without losing what was measured."""

import asyncio
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.processes import ROOT
from bench.machine.provenance import provenance
from bench.plan.presets import TrialPlan, expected_s, trials
from bench.results.files import save
from bench.results.run import Idle, Plan, Results, Trial
from bench.run.progress import Reporter
from bench.run.sequence import Step, run_in_order
from bench.trial.conduct import Measure, run_trial
from bench.trial.context import RunContext
from bench.trial.evaluate import SAMPLES_FOLDER
from bench.trial.idle import measure_idle

IDLE_EXPECTED_S: Final = 4.0


def new_results(plan: Plan, command: list[str], placement: Placement) -> Results:
    """The record of a run that has not measured anything yet."""
    return Results(**provenance(command, placement), plan=plan, idle={}, trials=[])


async def run_points(points: dict[Path, Results], placement: Placement, reporter: Reporter) -> None:
    """Measure what each operating point's plan says, into its results and folder. Cancelling it stops all processes."""
    idle = await _idle_cycles(points, placement, reporter)
    later = dict(points)
    for folder, results in points.items():
        del later[folder]
        results.idle = {name: idle[name] for name in results.plan.transports if name in idle}
        await _run_point(results, folder, placement, reporter, expected_of(later))


async def _idle_cycles(points: dict[Path, Results], placement: Placement, reporter: Reporter) -> dict[str, Idle]:
    """Of every transport at any point: the bytes of an idle cycle do not depend on the operating point."""
    folder, first = next(iter(points.items()))
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(name for of in points.values() for name in of.plan.transports)
    reporter.starting("idle cycles", IDLE_EXPECTED_S)
    return await measure_idle(msgspec.structs.replace(first.plan, transports=list(names)), placement.server, folder)


def expected_of(points: dict[Path, Results]) -> float:
    """About how many seconds these points take."""
    return sum(expected_s(of.plan, trial) for of in points.values() for trial in trials(of.plan))


async def _run_point(results: Results, folder: Path, placement: Placement, reporter: Reporter, later_s: float) -> None:
    plan, hiccups = results.plan, Hiccups()
    for name in (SAMPLES_FOLDER, "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    try:
        await hiccups.start(sorted({placement.server, placement.relay, *placement.generator}), folder / "logs")
        context = RunContext(plan, folder, placement, hiccups, results.idle)
        await run_trials(
            results, folder, trials(plan), lambda trial, attempt: run_trial(context, trial, attempt), reporter, later_s
        )
        results.finished = True
    finally:
        save(results, folder)
        await hiccups.stop()
        remove_if_empty(folder / "logs")


async def run_trials(
    results: Results,
    folder: Path,
    planned: list[TrialPlan],
    measure: Measure,
    reporter: Reporter,
    later_s: float = 0.0,
) -> None:
    """Run the trials in order and save after each. An invalid one is run again while the plan's bound allows.

    ``later_s``: what is expected to come after these trials, for the time remaining.
    """
    plan = results.plan

    async def keep(trial: TrialPlan, attempt: int) -> Trial:
        results.trials.append(await measure(trial, attempt))
        await asyncio.to_thread(save, results, folder)
        return results.trials[-1]

    steps = [
        Step(f"{plan.point} {trial.id}", expected_s(plan, trial), plan.max_reruns, partial(keep, trial))
        for trial in planned
    ]
    await run_in_order(steps, reporter, later_s)


def failed_transports(results: Results) -> dict[str, str]:
    """Transports without a single valid main trial, with the reason given last."""
    reasons: dict[str, str] = {}
    for name in results.plan.transports:
        mine = [trial for trial in results.trials if trial.transport == name and trial.purpose == "main"]
        if mine and not any(trial.status == "ok" for trial in mine):
            reasons[name] = "; ".join(mine[-1].reasons)
    return reasons


def remove_if_empty(folder: Path) -> None:
    """Leave no folder of logs behind if nobody said anything."""
    if not any(folder.iterdir()):
        folder.rmdir()


def new_folder(out: Path | None) -> Path:
    """The folder for a run's results: ``out``, or ``results/<time>``.

    Raises ``FileExistsError`` if it already holds results.
    """
    if out is None:
        out = ROOT / "results" / datetime.now().strftime("%Y%m%d-%H%M%S")
        out.mkdir(parents=True)
        return out
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty: name a new folder, results are never mixed or overwritten")
    return out


def point_latest_at(folder: Path) -> None:
    """Let ``latest`` beside a run's folder point at it: only once it has a table, which readers of ``latest`` need."""
    latest = folder.parent / "latest"
    if latest.exists() and not latest.is_symlink():
        return  # somebody's own
    latest.unlink(missing_ok=True)
    latest.symlink_to(folder.name)
