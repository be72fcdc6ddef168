"""Relays are pinged before the first trial of a run and after the last; trials behind a wrong one do not count."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.machine.processes import together
from bench.plan.trials import Planned
from bench.results.observed import RelayCheck
from bench.results.run import Trial
from bench.trial.path import check_relay
from feed.networks import Network

BEFORE: Final = "before the first trial"
AFTER: Final = "after the last trial"


async def check_relays(planned: Sequence[Planned], when: str, core: int, logs: Path) -> list[RelayCheck]:
    """One check for each network of these trials, all at the same time."""
    networks = dict.fromkeys(_network(one) for one in planned if one.trial.rtt_ms)
    checks = [
        check_relay(network, when, core, logs / f"relay-{when.split()[0]}-{number}.log")
        for number, network in enumerate(networks)
    ]
    return await together(*checks)


def _network(one: Planned) -> Network:
    return msgspec.structs.replace(one.plan.between, rtt_ms=one.trial.rtt_ms)


def reasons_by_rtt(checks: Sequence[RelayCheck]) -> dict[float, list[str]]:
    """Round trip -> why its relay is not what is planned."""
    return {check.rtt_ms: check.reasons for check in checks if check.reasons}


def reject(trials: Sequence[Trial], checks: Sequence[RelayCheck]) -> None:
    """Trials behind a relay that is wrong after the last of them are invalid, too."""
    reasons = reasons_by_rtt(checks)
    for trial in trials:
        if trial.status != "failed" and trial.rtt_ms in reasons:
            trial.status = "invalid"
            trial.reasons += reasons[trial.rtt_ms]
