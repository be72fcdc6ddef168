"""The valid trials of the cost benchmark, by section and arm. Pure."""

import re
from typing import Final

import msgspec

from bench.results.sweep import SweepResults, SweepTrial
from feed.transports import BASELINE, FLOOR
from reports.spread import over_runs
from reports.statistics import Estimate, estimate
from reports.style import LOOKS

PER_EVENT: Final = "server_cpu_us_per_event"
FLOOR_ARM: Final = f"{BASELINE}:{FLOOR}"
MARKS: Final = {"tls": "TLS", "gc": "tuned collector"}
"""What is behind a ``+`` in an arm's name, in words."""
RATES: Final = {"low_rate": "20", "main": "100"}
"""Sections that are points of the sweep over rates too, and their events per second."""


class Bar(msgspec.Struct, frozen=True):
    """Cost of one arm: in all, of that in user mode, and as a multiple of the baseline and of the floor."""

    arm: str
    total: Estimate
    user: float | None
    ratio: Estimate | None
    of_floor: Estimate | None = None


Found = dict[int, dict[int, float]]
"""A number by run, counted from 1, and block: of each run that measured the section; empty where none is valid."""


class Valid:
    """The valid trials of one run or several, by section and arm.

    An average over one run has the interval over its blocks; over several, that between runs (``reports.spread``).
    """

    def __init__(self, *runs: SweepResults) -> None:
        self._runs = [[one for one in run.trials if one.trial.status == "ok"] for run in runs]
        self._sections = [run.loads.keys() for run in runs]

    def of(self, section: str, arm: str) -> list[SweepTrial]:
        """The trials of an arm, of all runs."""
        return [one for trials in self._runs for one in trials if one.section == section and arm_of(one) == arm]

    def arms(self, section: str) -> list[str]:
        """Arms that were measured, in the order of every table: by transport, the row before its variants."""
        order = list(LOOKS)
        found = {arm_of(one) for trials in self._runs for one in trials if one.section == section}
        return sorted(found, key=lambda arm: (order.index(transport_of(arm)), arm))

    def values(self, section: str, arm: str, metric: str, load: str = "") -> Found:
        """A metric, under one load if the section has several."""
        return {
            run: {
                one.trial.block: one.trial.values[metric]
                for one in trials
                if (one.section, arm_of(one)) == (section, arm) and load in ("", one.load)
                if metric in one.trial.values
            }
            for run, (trials, sections) in enumerate(zip(self._runs, self._sections, strict=True), 1)
            if section in sections
        }

    def ratios(self, section: str, arm: str, metric: str, base: str, load: str = "") -> Found:
        """A metric as a multiple of another arm's, in the same block; none where any is below the noise."""
        of_arm, of_base = (self.values(section, name, metric, load) for name in (arm, base))
        return {
            run: {block: mine[block] / other[block] for block in mine if block in other}
            if min([*mine.values(), *other.values()], default=0.0) > 0
            else {}
            for run, mine in of_arm.items()
            for other in (of_base[run],)
        }

    def average(self, found: Found) -> Estimate | None:
        """The average of what some of the runs have."""
        values = [list(of.values()) for of in found.values() if of]
        if not values:
            return None
        return estimate(values[0]) if len(self._runs) == 1 else over_runs(values).between

    def estimate(self, section: str, arm: str, metric: str, load: str = "") -> Estimate | None:
        """The average of a metric."""
        return self.average(self.values(section, arm, metric, load))

    def ratio(self, section: str, arm: str, metric: str, base: str = BASELINE, load: str = "") -> Estimate | None:
        """The average multiple of another arm, the baseline if none is named; ``None`` for that arm itself."""
        return None if arm == base else self.average(self.ratios(section, arm, metric, base, load))

    def bar(self, section: str, arm: str, metric: str, load: str = "") -> Bar | None:
        """The cost of an arm."""
        total, share = (self.estimate(section, arm, name, load) for name in (metric, "server_user_share"))
        if total is None:
            return None
        ratios = (self.ratio(section, arm, metric, base, load) for base in (BASELINE, FLOOR_ARM))
        return Bar(arm, total, total.value * share.value if share else None, *ratios)

    def bars(self, section: str, metric: str) -> list[Bar]:
        """The arms of a section on one metric."""
        found = (self.bar(section, arm, metric) for arm in self.arms(section))
        return [bar for bar in found if bar is not None]

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


def transport_of(arm: str) -> str:
    """The transport of an arm, of ``arm_of``."""
    return re.split("[:+]", arm)[0]


def arm_name(arm: str) -> str:
    """``websocket:tuned`` as people read it."""
    if arm == FLOOR_ARM:
        return "Floor (pre-framed bytes)"
    served, *marks = arm.split("+")
    transport, _, variant = served.partition(":")
    return ", ".join(filter(None, (LOOKS[transport].name, variant, *(MARKS[mark] for mark in marks))))


def arm_of(one: SweepTrial) -> str:
    """``transport`` or ``transport:variant``; ``+tls`` where it was encrypted, ``+gc`` with a tuned collector."""
    served = f"{one.trial.transport}:{one.trial.variant}".removesuffix(":")
    return served + ("+tls" if one.trial.tls else "") + ("+gc" if one.trial.gc != "default" else "")


def size_of(load: str) -> float:
    """The number a sweep's load is labelled with."""
    return float(load.replace(",", ""))
