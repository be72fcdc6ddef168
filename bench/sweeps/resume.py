"""Going on with an interrupted run: what was measured stays, and only what is missing is measured."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench.plan.trials import Planned
from bench.results.files import ResultsError, find, read
from bench.results.sweep import SweepResults

SAME: Final = ("preset", "seed", "loads", "versions", "options")
"""What must be as it was, besides the processor: other numbers would not belong together."""


def interrupted_run(out: Path | None, name: str) -> SweepResults | None:
    """The results of a run that was interrupted, if this folder has any. Raises ``UsageError`` for a broken file."""
    path = None if out is None else find(out, name)
    if path is None:
        return None
    try:
        found = read(path, SweepResults)
    except ResultsError as error:
        raise click.UsageError(str(error)) from error
    return None if found.finished else found


def continued(earlier: SweepResults, now: SweepResults, planned: list[Planned]) -> tuple[SweepResults, list[Planned]]:
    """The earlier results, and the trials that they lack. Raises ``UsageError`` if this would be another run."""
    other = [name for name in SAME if _written(getattr(earlier, name)) != _written(getattr(now, name))]
    other += ["processor"] if earlier.host.get("cpu_model") != now.host.get("cpu_model") else []
    if other:
        raise click.UsageError(
            f"the interrupted run in this folder had other {', '.join(other)}: name a new folder, or measure as it did"
        )
    measured = {one.trial.id for one in earlier.trials}
    missing = [one for one in planned if one.trial.id not in measured]
    if not missing:
        raise click.UsageError("nothing is missing in this folder")
    return earlier, missing


def _written(value: Any) -> Any:
    """As it is read back from a file."""
    return msgspec.json.decode(msgspec.json.encode(value))
