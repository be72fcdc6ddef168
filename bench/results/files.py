"""Files of results: their names, how they are written, and how they are read and checked.

Importing this loads neither locust nor a client.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from bench.results.capabilities import ProbeResults
from bench.results.catalogue import METRICS, PERCENTILES
from bench.results.provenance import SCHEMA_VERSION
from bench.results.reliability import FAULTS, SIEGES, FaultResults, SoakResults
from bench.results.run import GENERATORS, PURPOSES, STATUSES, Results, Trial
from bench.results.sweep import CostResults
from bench.results.verify import VerifyResults
from feed.transports import TRANSPORTS

RESULTS_FILE: Final = "results.json"

COST_FILE: Final = "cost.json"

GENERATOR_FILE: Final = "generator.json"

FAULTS_FILE: Final = "faults.json"

SOAK_FILE: Final = "soak.json"

PROBES_FILE: Final = "probes.json"

SENSITIVITY_FILE: Final = "sensitivity.json"

VERIFY_FILE: Final = "verify.json"

AA_FILE: Final = "aa.json"

RUN_FILES: Final = (
    RESULTS_FILE,
    COST_FILE,
    GENERATOR_FILE,
    FAULTS_FILE,
    SOAK_FILE,
    PROBES_FILE,
    SENSITIVITY_FILE,
    VERIFY_FILE,
    AA_FILE,
)

MAX_RESULTS_BYTES: Final = 256 << 20


class ResultsError(ValueError):
    """A results file that cannot be read or understood; the message names the file and the reason."""


Run = Results | CostResults | FaultResults | SoakResults | ProbeResults | VerifyResults
"""Whatever a results file holds."""


def save(results: Run, folder: Path, name: str = RESULTS_FILE) -> Path:
    """Write ``results.json``, or another file, so that a reader never sees half of it."""
    path = folder / name
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    part.replace(path)
    return path


def load(folder: Path) -> Results:
    """Read a run's results. Raises ``ResultsError`` naming the file and what is wrong with it."""
    path = folder / RESULTS_FILE if folder.is_dir() else folder
    results = _decoded(path, Results)
    _check_names(path, results.trials, [*results.plan.transports, *results.plan.sabotage, *results.idle])
    return results


def load_cost(path: Path) -> CostResults:
    """Read a ``cost.json``, ``generator.json`` or ``sensitivity.json``.

    Raises ``ResultsError`` naming the file and what is wrong with it.
    """
    results = _decoded(path, CostResults)
    _check_names(path, [one.trial for one in results.trials])
    return results


def load_faults(path: Path) -> FaultResults:
    """Read a ``faults.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, FaultResults)
    _check_known(path, "transports", (of.transport for of in results.trials), TRANSPORTS)
    _check_known(path, "transports", (of.transport for of in results.sieges), TRANSPORTS)
    _check_known(path, "faults", (of.fault for of in results.trials), FAULTS)
    _check_known(path, "sieges", (of.siege for of in results.sieges), SIEGES)
    return results


def load_probes(path: Path) -> ProbeResults:
    """Read a ``probes.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, ProbeResults)
    _check_known(path, "transports", (of.transport for of in results.probes), TRANSPORTS)
    return results


def load_soak(path: Path) -> SoakResults:
    """Read a ``soak.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, SoakResults)
    _check_known(path, "transports", (of.transport for of in results.servers), TRANSPORTS)
    return results


def load_verify(path: Path) -> VerifyResults:
    """Read a ``verify.json``. Raises ``ResultsError`` naming the file and what is wrong with it."""
    results = _decoded(path, VerifyResults)
    _check_names(path, [one.trial for one in results.trials], results.plan.transports)
    return results


R = TypeVar("R")


def _decoded(path: Path, type_: type[R]) -> R:
    try:
        if path.exists() and not path.is_file():
            raise ResultsError(f"{path}: not a file of results")  # reading a pipe or a device may never end
        with path.open("rb") as file:
            text = file.read(MAX_RESULTS_BYTES + 1)
        if len(text) > MAX_RESULTS_BYTES:
            raise ResultsError(f"{path}: over the bound of {MAX_RESULTS_BYTES} bytes")
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    try:
        version = msgspec.json.decode(text, type=_Versioned).schema_version
        if version != SCHEMA_VERSION:
            raise ResultsError(f"{path}: schema version {version}; this pushmark reads version {SCHEMA_VERSION}")
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultsError(f"{path}: {error}") from error


def _check_names(path: Path, trials: list[Trial], transports: Iterable[str] = ()) -> None:
    """Raise ``ResultsError`` for names that this pushmark does not know."""
    _check_known(path, "metrics", (name for trial in trials for name in trial.metrics), METRICS)
    _check_known(
        path, "percentiles", (name for trial in trials for name in trial.latency_ms), map("{:g}".format, PERCENTILES)
    )
    _check_known(path, "transports", (*transports, *(trial.transport for trial in trials)), TRANSPORTS)
    _check_known(path, "purposes", (trial.purpose for trial in trials), PURPOSES)
    _check_known(path, "statuses", (trial.status for trial in trials), STATUSES)
    _check_known(path, "generators", (trial.generator for trial in trials), GENERATORS)


def _check_known(path: Path, kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    allowed = list(known)
    unknown = sorted(set(names) - set(allowed))
    if unknown:
        raise ResultsError(f"{path}: unknown {kind} {', '.join(unknown)[:200]}: allowed are {', '.join(allowed)}")


class _Versioned(msgspec.Struct):
    schema_version: int
