"""What is known of one trial when it is judged, and how bounds are written. Plain data."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bench.plan.trials import TrialPlan
from bench.results.observed import Observed
from bench.results.run import Idle, Plan

JUDGED_BY_THEORY: Final = ("main", "curve", "loopback", "sensitivity", "aa")
"""Purposes of trials whose load is low enough for theory; in others, requests wait and segments merge."""


class Range(NamedTuple):
    """Allowed values, both ends included."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, float | int) and self.low <= value <= self.high


class Case(NamedTuple):
    """One trial to judge."""

    plan: Plan
    trial: TrialPlan
    idle: Idle | None
    metrics: Mapping[str, float]
    observed: Observed
    details: Mapping[str, Any]
    """The ready lines of ``server`` and ``relay``."""

    def options(self, name: str) -> dict[str, Any]:
        """The options in the ready line of ``server`` or ``relay``."""
        found: dict[str, Any] = (self.details.get(name) or {}).get("options", {})
        return found
