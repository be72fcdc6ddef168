"""A run as sections see it: the files of its folder, and what its operating points say."""

from functools import cached_property
from pathlib import Path

from bench.results.capabilities import CapabilityResults
from bench.results.files import CAPABILITIES_FILE, RUN_FILES, SCENARIO_FILE, R, find, load, load_points, read
from bench.results.sweep import SweepResults
from reports.blocks import Blocks, first_arms
from reports.table.summary import Summary, judge, summarize
from reports.table.verdicts import Line


class RunFolder:
    """A folder of results. A file is read when a section first asks for it, which may raise ``ResultsError``."""

    def __init__(self, path: Path) -> None:
        """``path``: the folder, or one operating point's file of results."""
        self.path = path if path.is_dir() else path.parent
        self._given = path

    def read(self, name: str, type_: type[R]) -> R | None:
        """The file of that name (``bench.results.files``), or ``None`` if the folder has none."""
        path = find(self.path, name)
        return None if path is None else read(path, type_)

    @cached_property
    def points(self) -> list[Summary]:
        """Every operating point that was measured, each worked out by itself; none if other benchmarks are here alone.

        A folder without any file of results is an error, which names the file that is missing.
        """
        found = load_points(self._given)
        if not found and not any(find(self.path, name) for name in RUN_FILES):
            found = [load(self._given)]
        return [summarize(of) for of in found]

    @cached_property
    def verdicts(self) -> list[Line]:
        """On the article's claims, at every operating point."""
        capabilities = self.read(CAPABILITIES_FILE, CapabilityResults)
        return judge(self.points, capabilities.checks if capabilities else None, self.scenarios)

    @cached_property
    def scenarios(self) -> dict[str, Blocks]:
        """The valid trials of each scenario's first arm, of those that were measured."""
        results = self.read(SCENARIO_FILE, SweepResults)
        return {} if results is None else first_arms(results)
