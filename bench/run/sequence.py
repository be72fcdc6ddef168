"""Run trials in order and report the time remaining. An invalid trial is run again while the run's bound allows; after
the last trial, more may follow."""

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


def no_more() -> list[Step]:
    """Nothing follows."""
    return []


async def run_sequence(
    steps: Sequence[Step], progress: Progress, later_s: float = 0.0, more: Callable[[], list[Step]] = no_more
) -> None:
    """Carry out all steps. ``later_s``: expected seconds of what follows them, for the time remaining.

    ``more``: called whenever no step is left; the steps that it returns follow.
    """
    to_come = list(steps)
    expected_so_far = taken_so_far = 0.0
    reruns = 0
    while to_come:
        step = to_come.pop(0)
        for attempt in count(1):
            began = time.monotonic()
            progress.starting(step.name, step.expected_s)
            record = await step.measure(attempt)
            again = record.status == "invalid" and reruns < step.max_reruns
            expected_so_far, taken_so_far = expected_so_far + step.expected_s, taken_so_far + time.monotonic() - began
            if not again and not to_come and (to_come := more()):
                progress.more(sum(step.expected_s for step in to_come), len(to_come))
            left_s = later_s + sum(of.expected_s for of in [*([step] if again else []), *to_come])
            progress.finished(step.name, outcome(record), left_s * taken_so_far / expected_so_far)
            if not again:
                break
            reruns += 1
