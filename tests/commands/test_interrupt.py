"""Ctrl-C and other ends: what was measured is kept, and no process is left."""

import asyncio
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.machine.processes import start_program, together
from bench.plan.presets import SPARSE
from bench.results.files import CAPABILITIES_FILE, load
from bench.results.run import Plan
from bench.run.folders import point_latest_at
from bench.run.runner import Batch
from bench.run.shell import report
from bench.trial.conduct import blank
from feed.console.command_line import INTERRUPTED
from tests.conftest import ROOT
from tests.helpers.benches import SMALL, heed_ctrl_c, nothing_left, start_bench

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); signal.pause()"
"""A program that says it is ready and then ends by SIGKILL only."""


def test_ctrl_c_keeps_what_was_measured_and_renders_it(tmp_path: Path) -> None:
    with start_bench(tmp_path / "out", "--transports", "raw,sse,websocket", "--rtt-ms", "0") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("[1/3]"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(60) == 130, rest
    assert "Traceback" not in rest and "Interrupted" in rest and "index.html" in rest
    results = load(tmp_path / "out" / SPARSE)
    assert not results.finished and len(results.trials) == 1 and results.trials[0].metrics
    assert (tmp_path / "out" / "index.html").exists()
    nothing_left()


def test_ctrl_c_while_a_browser_is_tried_says_nothing_but_that(tmp_path: Path) -> None:
    """The terminal sends it to the whole process group, whose members do not all take it kindly."""
    command = [sys.executable, "-m", "bench", *SMALL, "--transports", "sse", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    ) as process:
        _await_descendant(process.pid, "run-driver")
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED and "Interrupted" in said, said
    assert not any(word in said for word in ("Traceback", "Exception", "never retrieved", "is closed")), said
    nothing_left()


def _await_descendant(pid: int, word: str) -> None:
    """Wait until the process has a descendant with that word in its command line."""
    for _ in range(6000):
        for child in psutil.Process(pid).children(recursive=True):
            try:
                if word in child.cmdline():
                    return
            except psutil.Error:
                continue
        time.sleep(0.005)
    raise AssertionError(f"no {word} in time")


@pytest.mark.parametrize("turns", range(6))
def test_a_program_whose_start_is_cancelled_is_ended(tmp_path: Path, turns: int) -> None:
    """However far it came: so many turns of the loop."""

    async def body() -> None:
        starting = asyncio.ensure_future(start_program("sleeper", ["sleep", "3141"], None, tmp_path / "log"))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    asyncio.run(body())
    assert not [child for child in psutil.Process().children() if "3141" in child.cmdline()]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize("turns", range(1, 5))
def test_a_stop_that_is_cancelled_ends_the_program_first(tmp_path: Path, turns: int, beside: bool) -> None:
    """Beside other work, too, which ends at once and must not leave it to a loop that closes."""

    async def body() -> None:
        child = await start_program("stubborn", [sys.executable, "-c", STUBBORN], None, tmp_path / "log")
        await child.await_ready()
        work = together(asyncio.sleep(60), child.stop()) if beside else child.stop()
        stopping = asyncio.ensure_future(work)
        for _ in range(turns + beside):  # together starts it a turn later
            await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert child.process.returncode == -signal.SIGKILL

    asyncio.run(body())


def test_an_error_of_one_waits_for_the_others() -> None:
    ended = []

    async def fails() -> None:
        raise ValueError("the first")

    async def takes_longer() -> None:
        await asyncio.sleep(0)
        ended.append("the second")

    async def body() -> list[Any]:
        with pytest.raises(ValueError, match="the first"):
            await together(fails(), takes_longer())
        return await together(asyncio.sleep(0, 1), asyncio.sleep(0, 2))

    assert asyncio.run(body()) == [1, 2] and ended == ["the second"]


def _press_ctrl_c(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_has_one_exit_code_whatever_it_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cli.make_plans", _press_ctrl_c)
    assert CliRunner().invoke(main, ["run"]).exit_code == INTERRUPTED
    monkeypatch.setattr("subprocess.run", _press_ctrl_c)
    assert report("nowhere") == INTERRUPTED
    monkeypatch.setitem(sys.modules, "bench.cli", SimpleNamespace(main=_press_ctrl_c))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("bench", run_name="__main__")
    assert ended.value.code == INTERRUPTED


@pytest.mark.parametrize("measured", [0, 1])
def test_after_ctrl_c_what_is_there_is_rendered_and_latest_has_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: int
) -> None:
    rendered: list[Path] = []

    async def check(names: list[str], command: list[str], place: object, folder: Path, progress: object) -> None:
        (folder / CAPABILITIES_FILE).touch()

    async def run_batches(batches: list[Batch], place: object, progress: object, idle_of: Plan) -> None:
        for batch in batches:
            batch.folder.mkdir()
            for one in batch.planned[:measured]:
                batch.keep(one, blank(one.plan, one.trial, 1, ""))
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.run.folders.ROOT", tmp_path)
    monkeypatch.setattr("bench.cli.check_all", check)
    monkeypatch.setattr("bench.cli.run_batches", run_batches)
    monkeypatch.setattr("bench.cli.report", lambda folder: rendered.append(Path(folder)) or 0)
    (tmp_path / "results" / "before").mkdir(parents=True)
    point_latest_at(tmp_path / "results" / "before")
    assert CliRunner().invoke(main, []).exit_code == INTERRUPTED
    assert len(rendered) == 1
    assert (tmp_path / "results" / "latest").resolve() == (rendered[0] if measured else tmp_path / "results" / "before")
