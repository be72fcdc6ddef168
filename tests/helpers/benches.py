"""The benchmark as a process, briefly measuring."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.conftest import ROOT

SMALL = (
    "--point",
    "sparse",
    "--subscribers",
    "10",
    "--rooms",
    "10",
    "--rate-hz",
    "40",
    "--duration-s",
    "0.5",
    "--blocks",
    "1",
)


def nothing_left() -> None:
    """No process of a run outlives it."""
    mine = [child for child in psutil.Process().children(recursive=True) if "servers" in " ".join(child.cmdline())]
    assert mine == []


def start_bench(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench", *SMALL, "--out", str(folder), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed_ctrl_c
    )


def heed_ctrl_c() -> None:
    """A shell lets its background jobs ignore SIGINT, and they hand that down: undo it, to be as on a terminal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
