"""Run trials in order and report the time remaining. An invalid trial is run again while the run's bound allows."""

import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import NamedTuple

from bench.results.run import Trial
from bench.run.progress import Progress, outcome


class Step(NamedTuple):
    """A trial to come."""

    name: str
    """The name that progress shows."""
    expected_s: float
    max_reruns: int
    """Trials that the run may measure again in all, those before this step included."""
    measure: Callable[[int], Awaitable[Trial]]
    """Carries out an attempt, counted from 1, and saves its record."""


async def run_sequence(steps: Sequence[Step], progress: Progress, later_s: float = 0.0) -> None:
    """Carry out all steps. ``later_s``: expected seconds of what follows them, for the time remaining."""
    left = [*(step.expected_s for step in steps), later_s]
    expected_so_far = taken_so_far = 0.0
    reruns = 0
    for number, step in enumerate(steps):
        for attempt in count(1):
            began = time.monotonic()
            progress.starting(step.name, step.expected_s)
            record = await step.measure(attempt)
            again = record.status == "invalid" and reruns < step.max_reruns
            expected_so_far, taken_so_far = expected_so_far + step.expected_s, taken_so_far + time.monotonic() - began
            to_come = sum(left[number if again else number + 1 :])
            progress.finished(step.name, outcome(record), to_come * taken_so_far / expected_so_far)
            if not again:
                break
            reruns += 1
