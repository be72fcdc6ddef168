"""docs/add-a-section.md, carried out on a toy in a copy of the checkout: it stands in page, Markdown and terminal."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.results.files import save
from tests.conftest import ROOT
from tests.helpers.fake_results import fake_results

SECTION = '''"""How many trials were run. Reads ``results.json``."""

from reports.layout import FigureSpec, Section, Table
from reports.table.run import RunFolder


def build(run: RunFolder) -> list[Section]:
    """One table and one figure."""
    counts = {of.point: len(of.results.trials) for of in run.points}
    if not counts:
        return []
    table = Table("Toy trials", ["Point", "Trials"], [[point, str(count)] for point, count in counts.items()], [])
    figure = FigureSpec("toy_trials", "A toy figure.", "toy.draw", counts)
    return [Section("The toy section", "A toy", [], [table], [figure])]
'''
FIGURE = '''"""Figure: trials per operating point."""

from matplotlib.figure import Figure

from reports.figures.panels import new_figure


def draw(counts: dict[str, int]) -> Figure | None:
    """One bar per point."""
    figure = new_figure("Toy trials")
    figure.subplots().bar(list(counts), list(counts.values()))
    return figure
'''


def _insert(path: Path, before: str, text: str) -> None:
    source = path.read_text()
    assert source.count(before) == 1, f"{path}: {before!r} is where the page says that a section goes"
    path.write_text(source.replace(before, text + before))


def test_a_file_and_a_figure_bring_a_section_everywhere(tmp_path: Path) -> None:
    copy, out = tmp_path / "checkout", tmp_path / "run"
    for room in ("feed", "clients", "bench", "reports"):
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    (copy / "reports/sections/toy.py").write_text(SECTION)
    (copy / "reports/figures/toy.py").write_text(FIGURE)
    _insert(copy / "reports/report.py", "    verdicts,\n)", "    toy,\n")
    _insert(copy / "reports/report.py", "    facts.build,\n", "    toy.build,\n")
    out.mkdir()
    save(fake_results(), out)
    done = subprocess.run(
        [sys.executable, "-m", "reports", str(out), "--details"], cwd=copy, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (done.stdout, (out / "report.md").read_text(), (out / "index.html").read_text()):
        assert "The toy section" in text and "Toy trials" in text
    assert "figures/toy_trials." in (out / "report.md").read_text()
    assert "A toy figure." in (out / "index.html").read_text()
    assert (out / "figures" / "toy_trials.png").stat().st_size > 1000
