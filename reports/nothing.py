"""Whether files of results hold any measurement at all: to have measured nothing is no success."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.results.capabilities import CapabilityResults
from bench.results.files import (
    AA_FILE,
    CAPABILITIES_FILE,
    COST_FILE,
    FAULTS_FILE,
    GENERATOR_FILE,
    RESULTS_FILE,
    SCENARIO_FILE,
    SENSITIVITY_FILE,
    SOAK_FILE,
    VERIFY_FILE,
    find,
    load,
    point_files,
    read,
)
from bench.results.reliability import FaultResults, SoakResults
from bench.results.run import Trial
from bench.results.sweep import SweepResults
from bench.results.verify import VerifyResults


def _counts(trial: Trial) -> bool:
    delivered_nothing = trial.counts is not None and not trial.counts.delivered
    return trial.status == "ok" and bool(trial.values) and not delivered_nothing


def _run(path: Path) -> bool:
    return any(map(_counts, load(path).trials))


def _sweep(path: Path) -> bool:
    return any(_counts(one.trial) for one in read(path, SweepResults).trials)


def _faults(path: Path) -> bool:
    found = read(path, FaultResults)
    return any(one.delivered for one in found.trials) or any(one.delivered for one in found.hostile)


def _soak(path: Path) -> bool:
    return any(one.lives for one in read(path, SoakResults).servers)


def _verify(path: Path) -> bool:
    return any(_counts(one.trial) for one in read(path, VerifyResults).trials)


def _checks(path: Path) -> bool:
    return any(one.holds is not None for one in read(path, CapabilityResults).checks)


MEASURED: Final[dict[str, Callable[[Path], bool]]] = {
    RESULTS_FILE: _run,
    COST_FILE: _sweep,
    GENERATOR_FILE: _sweep,
    AA_FILE: _sweep,
    SCENARIO_FILE: _sweep,
    SENSITIVITY_FILE: _sweep,
    FAULTS_FILE: _faults,
    SOAK_FILE: _soak,
    VERIFY_FILE: _verify,
    CAPABILITIES_FILE: _checks,
}
"""File -> whether something in it counts: a valid trial, a delivery, a client that came and went, a check tried."""


def empty_files(results_dir: Path) -> list[str]:
    """The files of a run, further operating points included, that hold no measurement. Raises ``ResultsError``."""
    if not results_dir.is_dir():
        return [] if _run(results_dir) else [str(results_dir)]
    others = {name: measured for name, measured in MEASURED.items() if name != RESULTS_FILE}
    found: list[tuple[Path, Callable[[Path], bool]]] = [(path, _run) for path in point_files(results_dir)]
    found += [(path, measured) for name, measured in others.items() if (path := find(results_dir, name))]
    return [str(path) for path, measured in found if not measured(path)]
