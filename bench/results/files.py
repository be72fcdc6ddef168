"""Files of results: their names, how they are written, and how they are read and checked.

A file of schema version 1 is upgraded when it is read (``bench.results.upgrade``); any other version is refused.
Importing this loads neither locust nor a client.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from bench.results.capabilities import CapabilityResults
from bench.results.catalogue import LATENCY_PERCENTILES, METRICS, PERCENTILES
from bench.results.provenance import SCHEMA_VERSION, Provenance
from bench.results.reliability import ATTACKS, FAULTS, FaultResults, SoakResults
from bench.results.run import GENERATORS, PURPOSES, STATUSES, Results, Trial
from bench.results.sweep import SweepResults
from bench.results.upgrade import upgraded
from bench.results.verify import VerifyResults
from feed.transports import TRANSPORTS

RESULTS_FILE: Final = "results.json"
COST_FILE: Final = "cost.json"
GENERATOR_FILE: Final = "generator.json"
FAULTS_FILE: Final = "faults.json"
SOAK_FILE: Final = "soak.json"
CAPABILITIES_FILE: Final = "capabilities.json"
SENSITIVITY_FILE: Final = "sensitivity.json"
VERIFY_FILE: Final = "verify.json"
AA_FILE: Final = "aa.json"
SCENARIO_FILE: Final = "scenario.json"

RUN_FILES: Final[dict[str, type[Provenance]]] = {
    RESULTS_FILE: Results,
    COST_FILE: SweepResults,
    GENERATOR_FILE: SweepResults,
    FAULTS_FILE: FaultResults,
    SOAK_FILE: SoakResults,
    CAPABILITIES_FILE: CapabilityResults,
    SENSITIVITY_FILE: SweepResults,
    VERIFY_FILE: VerifyResults,
    AA_FILE: SweepResults,
    SCENARIO_FILE: SweepResults,
}
"""Every file of results by name, and what it holds."""

OLD_NAMES: Final = {CAPABILITIES_FILE: "probes.json"}
"""What a file was called in schema version 1, where it had another name."""

MAX_RESULTS_BYTES: Final = 256 << 20

R = TypeVar("R", bound=Provenance)

Names = Iterator[tuple[str, Iterable[str], Collection[str]]]
"""Kind of name, the names in a file, and those that this pushmark knows."""


class ResultsError(ValueError):
    """A results file that cannot be read or understood; the message names the file and the reason."""


class _Versioned(msgspec.Struct):
    schema_version: int


def save(results: Provenance, folder: Path, name: str = RESULTS_FILE) -> Path:
    """Write ``results.json``, or another file, so that a reader never sees half of it."""
    path = folder / name
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    part.replace(path)
    return path


def find(folder: Path, name: str) -> Path | None:
    """The file of that name in a run's folder, or the one that schema version 1 gave it; ``None`` without either."""
    paths = (folder / known for known in (name, OLD_NAMES.get(name, name)))
    return next((path for path in paths if path.exists()), None)


def point_files(folder: Path) -> list[Path]:
    """The ``results.json`` of every operating point of a run: a folder each. In a run of schema version 1 the first
    point's file is in the run's own folder."""
    return [path for path in (folder / RESULTS_FILE, *sorted(folder.glob(f"*/{RESULTS_FILE}"))) if path.exists()]


def load_points(run: Path) -> list[Results]:
    """All operating points of a run, in the order in which they were measured; of a file, the one in it.

    Raises ``ResultsError``, as ``read`` does.
    """
    found = [read(path, Results) for path in (point_files(run) if run.is_dir() else [run])]
    return sorted(found, key=lambda results: min((trial.started_at for trial in results.trials), default="~"))


def load(folder: Path) -> Results:
    """Read the ``results.json`` of an operating point, given its folder or the file. Raises ``ResultsError``."""
    return read(folder / RESULTS_FILE if folder.is_dir() else folder, Results)


def read(path: Path, type_: type[R]) -> R:
    """Read a file of results. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, _bytes(path), type_)
    for kind, names, known in KNOWN_NAMES[type_](results):
        unknown = sorted(set(names).difference(known))
        if unknown:
            raise ResultsError(f"{path}: unknown {kind} {', '.join(unknown)[:200]}: allowed are {', '.join(known)}")
    return results


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ResultsError(f"{path}: not a file of results")  # reading a pipe or a device may never end
        with path.open("rb") as file:
            text = file.read(MAX_RESULTS_BYTES + 1)
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    if len(text) > MAX_RESULTS_BYTES:
        raise ResultsError(f"{path}: over the bound of {MAX_RESULTS_BYTES} bytes")
    return text


def _decoded(path: Path, text: bytes, type_: type[R]) -> R:
    try:
        version = msgspec.json.decode(text, type=_Versioned).schema_version
        if version == 1:
            return msgspec.convert(upgraded(msgspec.json.decode(text), type_), type_)
        if version != SCHEMA_VERSION:
            raise ResultsError(f"{path}: schema version {version}; this pushmark reads versions 1 and {SCHEMA_VERSION}")
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultsError(f"{path}: {error}") from error


def _run_names(results: Results) -> Names:
    plan = results.plan
    yield "transports", [*plan.transports, *plan.inject_fault, *results.idle], TRANSPORTS
    yield from _trial_names(results.trials)


def _sweep_names(results: SweepResults) -> Names:
    yield from _trial_names([one.trial for one in results.trials])


def _verify_names(results: VerifyResults) -> Names:
    yield "transports", chain.from_iterable(plan.transports for plan in results.plans), TRANSPORTS
    yield "operating points", [one.point for one in results.trials], [plan.point for plan in results.plans]
    yield from _trial_names([one.trial for one in results.trials])


def _fault_names(results: FaultResults) -> Names:
    yield "transports", [one.transport for one in results.trials], TRANSPORTS
    yield "transports", [one.transport for one in results.hostile], TRANSPORTS
    yield "faults", [one.fault for one in results.trials], FAULTS
    yield "attacks", [one.attack for one in results.hostile], ATTACKS


def _soak_names(results: SoakResults) -> Names:
    yield "transports", [one.transport for one in results.servers], TRANSPORTS


def _capability_names(results: CapabilityResults) -> Names:
    yield "transports", [one.transport for one in results.checks], TRANSPORTS


def _trial_names(trials: Collection[Trial]) -> Names:
    yield "metrics", chain.from_iterable(trial.metrics for trial in trials), STORED_METRICS
    yield "percentiles", chain.from_iterable(trial.latency_ms for trial in trials), STORED_PERCENTILES
    yield "transports", [trial.transport for trial in trials], TRANSPORTS
    yield "purposes", [trial.purpose for trial in trials], PURPOSES
    yield "statuses", [trial.status for trial in trials], STATUSES
    yield "generators", [trial.generator for trial in trials], GENERATORS


STORED_METRICS: Final = [name for name in METRICS if name not in LATENCY_PERCENTILES]
STORED_PERCENTILES: Final = [f"{q:g}" for q in PERCENTILES]

KNOWN_NAMES: Final[dict[type[Provenance], Callable[[Any], Names]]] = {
    Results: _run_names,
    SweepResults: _sweep_names,
    FaultResults: _fault_names,
    SoakResults: _soak_names,
    CapabilityResults: _capability_names,
    VerifyResults: _verify_names,
}
"""What a file holds -> the names in it that are checked when it is read."""
