"""docs/add-a-service.md is true: its blocks, put where it says into a copy of the checkout, make a service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from tests.conftest import ROOT

PAGE: Final = ROOT / "docs" / "add-a-service.md"
NEEDED: Final = ("feed", "servers", "clients", "bench", "tests", "pyproject.toml")
LINES_BEFORE: Final = {
    "with the imports": "from servers.services.tokens import Tokens\n",
    "in SERVICES": '    "tokens": Tokens,\n',
    "in REQUESTS": '        ({"service": "connections"}, ""),\n',
}
"""Place, as the page names it -> the line that the new lines follow."""


class Block(NamedTuple):
    """A block of code: the file it belongs to, and the place in it; without a place it is the whole file."""

    path: str
    place: str
    code: str


def blocks() -> list[Block]:
    """The page's blocks of Python, each of which begins with a comment that says where it belongs."""
    found = re.findall(r"^ *```python\n(.*?)^ *```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    parts = [re.fullmatch(r"   # ([\w/.]+)(?:, (.*?))?\n(.*)", text, re.DOTALL) for text in found]
    assert parts and all(parts)
    return [Block(part[1], part[2] or "", re.sub("^   ", "", part[3], flags=re.MULTILINE)) for part in parts if part]


def carry_out(block: Block, checkout: Path) -> None:
    """Put a block where the page says."""
    path = checkout / block.path
    if not block.place:
        assert not path.exists()
        path.write_text(block.code)
        return
    before, text = LINES_BEFORE[block.place], path.read_text()
    assert text.count(before) == 1, (block.path, before)
    path.write_text(text.replace(before, before + block.code))


def run_in(checkout: Path, *arguments: str) -> None:
    """Run ``python -m ARGUMENTS`` in the copy; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=checkout, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_steps_make_a_service(tmp_path: Path) -> None:
    """The page's own test runs there, against servers of the copy: over a stream and over polls."""
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(source, tmp_path / name)
    for block in blocks():
        carry_out(block, tmp_path)
    run_in(tmp_path, "ruff", "check", "servers/services", "tests/transports")
    run_in(tmp_path, "ruff", "format", "--check", "servers/services", "tests/transports")
    tests = ("tests/transports/test_visits.py", "tests/transports/test_claims.py")
    run_in(tmp_path, "pytest", "-q", *tests, "-k", "(visits and (websocket or long_polling)) or every_service")


def test_the_page_is_short_and_its_words_are_those_of_the_contract() -> None:
    text = PAGE.read_text()
    assert 1 <= len(re.findall(r"^\d+\. ", text, re.MULTILINE)) <= 10
    contract = (ROOT / "servers" / "platform" / "service.py").read_text()
    for word in re.findall("`(joined|left|start|stop|call|self.context)`", text):
        assert word in contract
    for path in re.findall(r"`((?:servers|tests|docs)/[\w/.-]+\.(?:py|md))`", text):
        assert (ROOT / path).exists() or path == "tests/transports/test_visits.py", path
