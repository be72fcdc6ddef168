"""The results of a sweep: trials under several loads, by section (docs/results-format.md). Pure."""

import msgspec

from bench.results.observed import RelayCheck
from bench.results.provenance import Provenance
from bench.results.run import Idle, Plan, Trial


class SweepTrial(msgspec.Struct):
    """One trial of a sweep: the section that it belongs to, its load by label, and the trial."""

    section: str
    load: str
    trial: Trial


class SweepResults(Provenance):
    """One run of ``python -m bench cost``, ``generator``, ``sensitivity`` or ``aa``."""

    preset: str
    seed: int
    loads: dict[str, dict[str, Plan]]
    """Section -> label -> the load in full."""
    trials: list[SweepTrial]
    idle: dict[str, Idle] = msgspec.field(default_factory=dict)
    """An idle cycle of each transport; ``sensitivity`` alone measures them."""
    relay_checks: list[RelayCheck] = msgspec.field(default_factory=list)
    """As in ``Results``."""
