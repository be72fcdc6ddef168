"""What every benchmark's command line does around its measuring: pin, show progress, take Ctrl-C kindly."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from rich.console import Console

from bench.host import Placement
from bench.processes import ROOT
from bench.progress import Reporter, new_reporter

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""


def orchestrate(measure: Callable[[Reporter], Coroutine[Any, Any, None]], place: Placement, console: Console) -> bool:
    """Run it on the generator's last core, where the orchestrator sleeps while others work. Was it interrupted?"""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {place.generator[-1]})
    interrupted = False
    with new_reporter(console) as reporter:
        try:
            asyncio.run(measure(reporter))
        except KeyboardInterrupt:
            interrupted = True
    os.sched_setaffinity(0, cores)
    if interrupted:
        console.print("[yellow]Interrupted: what was measured until now is kept.[/]")
    return interrupted


def report(*arguments: str) -> int:
    """Have ``python -m reports`` do something; its exit code.

    In a session of its own, so that a terminal's Ctrl-C reaches only us, who end it and say that it was interrupted.
    """
    command = [sys.executable, "-m", "reports", *arguments]
    try:
        return subprocess.run(command, cwd=ROOT, start_new_session=True, check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
