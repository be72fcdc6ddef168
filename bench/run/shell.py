"""What every benchmark's command line does around its measuring: pin, show progress, take Ctrl-C, say what is next."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
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


def say_next(console: Console, *commands: str) -> None:
    """What to do with what was measured: commands, one a line, each with its purpose as a comment."""
    lines = "\n".join(f"  {command}" for command in commands)
    console.print(f"\nNext:\n{lines}", highlight=False, markup=False, soft_wrap=True)


def say_what_is_next(console: Console, folder: Path) -> None:
    """What to do after a benchmark that adds a part to a report."""
    say_next(
        console,
        f"python -m reports {folder}  # render the report again",
        "python -m bench  # the table of all transports",
    )


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
