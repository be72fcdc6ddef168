"""What every benchmark's command line does around its measuring: pin, show progress, take Ctrl-C, say what is next."""

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
    """Run it on the generator's last core, where the orchestrator sleeps while others work. Was it interrupted?"""
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
        console.print("[yellow]Interrupted: what was measured until now is kept.[/]")
    return interrupted


def this_command() -> list[str]:
    """The command line that runs, as results record it."""
    return ["python", "-m", "bench", *sys.argv[1:]]


def report(*arguments: str) -> int:
    """Have ``python -m reports`` do something; its exit code.

    In a session of its own, so that a terminal's Ctrl-C reaches only us, who end it and say that it was interrupted.
    What we could not write, it could not either; its files are wanted all the same.
    """
    command = [sys.executable, "-m", "reports", *arguments]
    output = subprocess.DEVNULL if stdout_is_broken() else None
    try:
        return subprocess.run(command, cwd=ROOT, stdout=output, start_new_session=True, check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
