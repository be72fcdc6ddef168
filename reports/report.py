"""The report of a run: which sections it has, in which order, and how it is written."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from reports.layout import Section
from reports.sections import (
    aa,
    breakeven,
    capabilities,
    complexity,
    cost,
    facts,
    faults,
    generator,
    ground_truth,
    objectives,
    point,
    scenarios,
    sensitivity,
    verdicts,
)
from reports.table.run import RunFolder
from reports.table.summary import Summary
from reports.writers import csv, markdown, page

SECTIONS: Final[tuple[Callable[[RunFolder], list[Section]], ...]] = (
    point.build,
    objectives.build,
    verdicts.build,
    breakeven.build,
    capabilities.build,
    scenarios.build,
    cost.build,
    generator.build,
    faults.build,
    sensitivity.build,
    ground_truth.build,
    aa.build,
    complexity.build,
    facts.build,
)
"""In the order of the report. Each builds its sections from a run's files, none where they are missing."""


def build(run: RunFolder) -> list[Section]:
    """Every section of the report. Raises ``ResultsError`` for a file that cannot be read or understood."""
    return [section for build_section in SECTIONS for section in build_section(run)]


def write(sections: list[Section], folder: Path, points: Sequence[Summary] = ()) -> Path:
    """Write every file of the report into ``folder`` and return the page's path. Raises ``OSError``.

    ``points``: the operating points whose numbers become ``results.csv``.
    """
    from reports.figures.draw import draw_all  # matplotlib takes half a second to load, and --json draws nothing

    drawn = draw_all(sections, folder)
    texts = {"report.md": markdown.render(drawn), "index.html": page.render(drawn)}
    if points:
        texts["results.csv"] = csv.to_csv([of.results for of in points])
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return (folder / "index.html").resolve()
