"""The page that adds a transport, carried out: its code serves, receives, is measured and predicted."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.contract.feed import CHECKS
from clients.contract.platform import PLATFORM_CHECKS
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "add-a-transport.md"
FOLDERS = ("feed", "servers", "clients", "bench", "reports", "docs", "tests")
NEW_FILE = re.compile(r"New file `(?P<path>[^`]+)`.*?```python\n(?P<code>.*?)```", re.DOTALL)
INSERTION = re.compile(
    r"In `(?P<path>[^`]+)`, above the line `(?P<line>[^`]+)`:\n\n```\w+\n(?P<code>.*?)```", re.DOTALL
)
COMMANDS = re.compile(r"```sh\n(.*?)```", re.DOTALL)
COUNT_AS_VALID = """
from pathlib import Path
from bench.results.files import load, save
from bench.theory.predict import predict

folder = Path("results/ndjson/broadcast")
results = load(folder)
trial = results.trials[-1]
trial.status = "ok"
save(results, folder)
name = "wire_bytes_per_event"
print(trial.metrics[name] / predict(trial.transport, results.plan, results.idle, trial)[name])
print(trial.observed.excess.framing_bytes_per_event)
"""
"""Counts the last trial as valid, as tests share the machine. Prints its measured bytes over the predicted, and by how
many bytes its framing exceeds the predicted one, from before the first event until all were delivered; ``None`` if the
machine was too busy for a reading before the first event."""


def commands() -> list[str]:
    return COMMANDS.findall(PAGE.read_text())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout with everything that the page says is written there."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    page = PAGE.read_text()
    for found in NEW_FILE.finditer(page):
        (copy / found["path"]).write_text(found["code"])
    for found in INSERTION.finditer(page):
        insert(copy / found["path"], found["line"], found["code"])
    yield copy
    shutil.rmtree(copy)


def insert(path: Path, above: str, code: str) -> None:
    """Insert code above the one line that begins so, as far to the right; a function with two blank lines after it."""
    lines = path.read_text().splitlines(keepends=True)
    (at,) = [number for number, line in enumerate(lines) if line.lstrip().startswith(above)]
    indentation = lines[at][: -len(lines[at].lstrip())]
    blank = "\n\n" if code.startswith("def ") else ""
    path.write_text("".join([*lines[:at], textwrap.indent(code, indentation), blank, *lines[at:]]))


def run_in(checkout: Path, *command: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command in the copy, where ``python`` is this one. Returns what it printed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        command, cwd=checkout, capture_output=True, text=True, timeout=250, env=environment, check=False
    )
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_at_most_ten_steps() -> None:
    steps = [int(number) for number in re.findall(r"^\*\*(\d+)\.", PAGE.read_text(), re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) <= 10


def test_the_walls_stand_and_the_code_is_clean(checkout: Path) -> None:
    walls, _, _ = commands()
    assert "0 broken" in run_in(checkout, "sh", "-ec", walls)
    for command in (("check",), ("format", "--check")):
        run_in(checkout, "ruff", *command, "feed", "servers", "clients", "bench/theory")


def test_the_contract_holds(checkout: Path) -> None:
    _, contract, _ = commands()
    printed = run_in(checkout, "sh", "-ec", contract)
    passed = re.search(r"(\d+) passed", printed)
    assert passed is not None and int(passed[1]) > len(CHECKS) + len(PLATFORM_CHECKS), printed


def test_it_is_measured_and_predicted(checkout: Path) -> None:
    _, _, measurement = commands()
    run_in(checkout, "sh", "-ec", measurement, codes=(0, 1))  # 1: next to other tests, no trial need be valid
    ratio, framing = run_in(checkout, "python", "-c", COUNT_AS_VALID).split()
    assert float(ratio) == pytest.approx(1, rel=0.3), "an edge of a short trial cuts much on a busy machine"
    assert framing == "None" or float(framing) == pytest.approx(0, abs=0.5)
    run_in(checkout, "python", "-m", "reports", "results/ndjson")
    report = (checkout / "results" / "ndjson" / "report.md").read_text()
    assert re.search(r"NDJSON.* B/event", report)
