"""The valid trials of the cost benchmark, by section and arm. Pure."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from bench.results.sweep import SweepTrial
from feed.transports import BASELINE
from reports.statistics import Estimate, estimate
from reports.style import LOOKS

PER_EVENT: Final = "server_cpu_us_per_event"
RATES: Final = {"low_rate": "20", "main": "100"}
"""Sections that are points of the sweep over rates too, and their events per second."""


class Bar(msgspec.Struct, frozen=True):
    """Cost of one arm: in all, of that in user mode, and as a multiple of the baseline."""

    arm: str
    total: Estimate
    user: float | None
    ratio: Estimate | None


class Valid:
    """The valid trials by section and arm."""

    def __init__(self, trials: Sequence[SweepTrial]) -> None:
        self._trials = [one for one in trials if one.trial.status == "ok"]

    def of(self, section: str, arm: str) -> list[SweepTrial]:
        """The trials of an arm."""
        return [one for one in self._trials if one.section == section and arm_of(one) == arm]

    def arms(self, section: str) -> list[str]:
        """Arms that were measured, in the order of every table: by transport, the row before its variants."""
        order = list(LOOKS)
        found = {arm_of(one) for one in self._trials if one.section == section}
        return sorted(found, key=lambda arm: (order.index(re.split("[:+]", arm)[0]), arm))

    def values(self, section: str, arm: str, metric: str, load: str = "") -> dict[int, float]:
        """A metric by block, under one load if the section has several."""
        return {
            one.trial.block: one.trial.values[metric]
            for one in self.of(section, arm)
            if metric in one.trial.values and load in ("", one.load)
        }

    def estimate(self, section: str, arm: str, metric: str, load: str = "") -> Estimate | None:
        """Its average over blocks."""
        values = self.values(section, arm, metric, load)
        return estimate(list(values.values())) if values else None

    def ratio(self, section: str, arm: str, metric: str, base: str = BASELINE) -> Estimate | None:
        """As a multiple of another arm, the baseline if none is named, in the same block."""
        mine, others = self.values(section, arm, metric), self.values(section, base, metric)
        shared = [(mine[block], others[block]) for block in mine if block in others]
        if not shared or arm == base or min(map(min, shared)) <= 0:  # below the noise there are no ratios
            return None
        return estimate([own / other for own, other in shared])

    def bars(self, section: str, metric: str) -> list[Bar]:
        """The arms of a section on one metric."""
        bars = []
        for arm in self.arms(section):
            total, share = self.estimate(section, arm, metric), self.estimate(section, arm, "server_user_share")
            if total is not None:
                user = total.value * share.value if share else None
                bars.append(Bar(arm, total, user, self.ratio(section, arm, metric)))
        return bars

    def growth(self, sweep: str) -> dict[str, dict[str, float]]:
        """Arm -> load -> microseconds per event; the order of the loads is that of their size."""
        found: dict[str, dict[str, float]] = {}
        for arm in self.arms(sweep):
            loads = dict.fromkeys(one.load for one in self.of(sweep, arm))
            of = {load: self.estimate(sweep, arm, PER_EVENT, load) for load in loads}
            if sweep == "rate":
                of |= {rate: self.estimate(section, arm, PER_EVENT) for section, rate in RATES.items()}
            known = {load: mean.value for load, mean in of.items() if mean is not None}
            found[arm] = dict(sorted(known.items(), key=lambda item: size_of(item[0])))
        return found


def arm_name(arm: str) -> str:
    """``websocket:tuned`` as people read it."""
    served, _, secured = arm.partition("+")
    transport, _, variant = served.partition(":")
    return LOOKS[transport].name + "".join(f", {word}" for word in (variant, secured and "TLS") if word)


def arm_of(one: SweepTrial) -> str:
    """``transport`` or ``transport:variant``, and ``+tls`` where it was encrypted."""
    return f"{one.trial.transport}:{one.trial.variant}".removesuffix(":") + ("+tls" if one.trial.tls else "")


def size_of(load: str) -> float:
    """The number a sweep's load is labelled with."""
    return float(load.replace(",", ""))
