"""What every benchmark's command line does around its measuring: pin, show progress, take Ctrl-C kindly."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final

from rich.console import Console

from bench.host import Placement
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
