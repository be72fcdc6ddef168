"""What every benchmark's command line does around measuring: pin its process, show progress, take Ctrl-C, report."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from rich.console import Console

from bench.machine.host import Placement
from bench.machine.processes import ROOT
from bench.run.progress import Progress, new_progress
from feed.console.command_line import INTERRUPTED, stdout_is_broken


def orchestrate(measure: Callable[[Progress], Coroutine[Any, Any, None]], place: Placement, console: Console) -> bool:
    """Run ``measure`` with progress shown; returns whether Ctrl-C interrupted it.

    It runs on the generator's last core, where it sleeps while the trial's processes work.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {place.generator[-1]})
    interrupted = False
    with new_progress(console) as progress:
        try:
            asyncio.run(measure(progress))
        except KeyboardInterrupt:
            interrupted = True
    os.sched_setaffinity(0, cores)
    if interrupted:
        console.print("[yellow]Interrupted: the results until now are kept.[/]")
    return interrupted


def this_command() -> list[str]:
    """The command line of this process, as results record it."""
    return ["python", "-m", "bench", *sys.argv[1:]]


def report(*arguments: str) -> int:
    """Run ``python -m reports`` with these arguments; returns its exit code.

    It runs in its own session, so that a terminal's Ctrl-C reaches only this process, which then ends it. If this
    process's stdout is broken, the report's output is discarded, but its files are still written.
    """
    command = [sys.executable, "-m", "reports", *arguments]
    output = subprocess.DEVNULL if stdout_is_broken() else None
    try:
        return subprocess.run(command, cwd=ROOT, stdout=output, start_new_session=True, check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
