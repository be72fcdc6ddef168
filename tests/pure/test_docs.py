"""The pages under docs/ and the README: every option of their commands exists, and their links lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bench.cli import main as bench
from clients.cli import main as clients
from reports.cli import main as reports
from servers.process.cli import main as servers

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "clients").glob("*.md")])
COMMANDS: dict[str, click.Command] = {"bench": bench, "clients": clients, "reports": reports, "servers": servers}
LINE = re.compile(r"python -m (bench|clients|reports|servers)\b([^\n`|#]*)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


def _spoken(page: Path) -> Iterator[tuple[str, click.Command, str]]:
    """Every command line of a page: as written, the command it calls, and its arguments."""
    for module, arguments in LINE.findall(page.read_text()):
        command = COMMANDS[module]
        for word in arguments.split():
            if not isinstance(command, click.Group) or word not in command.commands:
                break
            command = command.commands[word]
        else:
            word = ""
        if isinstance(command, click.Group) and (default := {bench: "run", reports: "render"}.get(command)):
            command = command.commands.get(default, command)
        yield f"python -m {module}{arguments}", command, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_of_every_command_line_exists(page: Path) -> None:
    for line, command, arguments in _spoken(page):
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        used = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", re.sub(r"'[^']*'", "", arguments)))
        assert used <= {*known, "--help", "-h"}, f"{page.name}: {line}: unknown {sorted(used - known)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor and found.suffix == ".md":
            heads = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            anchors = {"#" + re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in anchors, f"{page.name}: {target}{anchor}"


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_published_results_name_no_folder_of_a_machine() -> None:
    results = [*(ROOT / "docs" / "runs").rglob("*.json")]
    assert results
    for file in results:
        found = re.findall(r'"(?:[^"]* )?/(?:home|root|tmp|usr|work|opt)/[^"]*"', file.read_text())
        assert not found, f"{file}: {found[:3]}"
