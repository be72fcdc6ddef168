"""From schema version 1 to 2: the one place that knows the old names. Pure.

Version 1 stored the median and two more percentiles of latency twice, and had other words for several things. An
upgrade changes names and leaves every number as it is. It checks nothing: what is wrong with a file is found when the
upgraded one is converted to its type.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from bench.results.capabilities import CapabilityResults
from bench.results.catalogue import LATENCY_PERCENTILES
from bench.results.provenance import SCHEMA_VERSION
from bench.results.reliability import FaultResults, SoakResults
from bench.results.run import Results
from bench.results.sweep import SweepResults
from bench.results.verify import VerifyResults

Raw = dict[str, Any]

ATTACKS_V1: Final = {
    "unfinished": "half_open_handshake",
    "slow": "slowloris",
    "stalled": "non_reading",
    "torn": "reset_mid_message",
}
SECTIONS_V1: Final = {"fewer": "low_rate"}


def upgraded(raw: Raw, type_: type) -> Raw:
    """A decoded file of version 1 as one of version 2, changed in place."""
    with suppress(AttributeError, KeyError, TypeError):  # it lacks what every version must have
        UPGRADES[type_](raw)
    raw["schema_version"] = SCHEMA_VERSION
    return raw


def _rename(raw: Raw, **names: str) -> None:
    for old, new in names.items():
        if old in raw:
            raw[new] = raw.pop(old)


def _trial(raw: Raw) -> None:
    for name, percentile in LATENCY_PERCENTILES.items():
        if name in raw["metrics"]:
            raw["latency_ms"].setdefault(percentile, raw["metrics"].pop(name))


def _plan(raw: Raw) -> None:
    _rename(raw, sabotage="inject_fault")


def _run(raw: Raw) -> None:
    _plan(raw["plan"])
    for trial in raw["trials"]:
        _trial(trial)


def _sweep(raw: Raw) -> None:
    _rename(raw["loads"], **SECTIONS_V1)
    for loads in raw["loads"].values():
        for plan in loads.values():
            _plan(plan)
    for one in raw["trials"]:
        one["section"] = SECTIONS_V1.get(one["section"], one["section"])
        _trial(one["trial"])


def _verify(raw: Raw) -> None:
    _plan(raw["plan"])
    for one in raw["trials"]:
        _trial(one["trial"])


def _faults(raw: Raw) -> None:
    _rename(raw, siege_events="window_events", sieges="hostile")
    for one in raw["hostile"]:
        _rename(
            one,
            siege="attack",
            peers="hostile_clients",
            calm_ms_p99="baseline_ms_p99",
            siege_ms_p99="attack_ms_p99",
            rss_bytes_per_peer="rss_bytes_per_hostile_client",
        )
        one["attack"] = ATTACKS_V1.get(one["attack"], one["attack"])


def _soak(raw: Raw) -> None:
    for one in raw["servers"]:
        for sample in (one["before"], *one["samples"], one["after"]):
            _rename(sample, peers="connections")


def _capabilities(raw: Raw) -> None:
    _rename(raw, probes="checks")
    for one in raw["checks"]:
        _rename(one, probe="check")


UPGRADES: Final[dict[type, Callable[[Raw], None]]] = {
    Results: _run,
    SweepResults: _sweep,
    FaultResults: _faults,
    SoakResults: _soak,
    CapabilityResults: _capabilities,
    VerifyResults: _verify,
}
