"""The results of a sweep: trials of several loads, by section (docs/results-format.md). Pure."""

import msgspec

from bench.results.provenance import Provenance
from bench.results.run import Idle, Plan, Trial


class CostTrial(msgspec.Struct):
    """One trial of the cost benchmark: the section it belongs to, its load by label, and the trial."""

    section: str
    load: str
    trial: Trial


class CostResults(Provenance):
    """One run of ``python -m bench cost``, ``generator`` or ``sensitivity``. ``loads``: per section and label the
    load in full."""

    preset: str
    seed: int
    loads: dict[str, dict[str, Plan]]
    trials: list[CostTrial]
    idle: dict[str, Idle] = msgspec.field(default_factory=dict)
    """Of ``sensitivity``: an idle cycle of each transport."""
