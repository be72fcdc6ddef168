"""Trials of `python -m bench sensitivity`: a grid of settings, in their seeded order. Pure."""

import random
from typing import Final, NamedTuple

from bench.plan.presets import make_plan
from bench.plan.trials import Planned, TrialPlan
from bench.results.run import Plan
from feed.transports import POLLING

SECTION: Final = "sensitivity"


class Grid(NamedTuple):
    """All combinations of round trip and rate; for polling also of poll interval, which affects no other transport."""

    rtts_ms: tuple[float, ...]
    poll_intervals_s: tuple[float, ...]
    subscribers: dict[float, int]
    """Events per second for each subscriber -> number of subscribers, each in a room of its own. High rates have few,
    so that the setting is rated and not a busy server."""
    duration_s: float
    """Seconds of the measured part; polling's lasts at least one interval."""
    warmup_events: int


PRESETS: Final[dict[str, Grid]] = {
    "default": Grid((1.0, 40.0, 120.0), (0.2, 1.0, 5.0), {0.1: 200, 1.0: 100, 10.0: 20}, 3.0, 20),
    # Everything once, to see that it works.
    "smoke": Grid((4.0, 40.0), (0.2,), {5.0: 10}, 0.6, 10),
}


def sensitivity_trials(preset: str, transports: list[str], seed: int) -> list[Planned]:
    """One trial per setting and transport, shuffled, so that a drift of the host follows no axis of the grid."""
    grid = PRESETS[preset]
    planned = [
        _trial(grid, name, rtt_ms, rate_hz, interval_s, seed)
        for rtt_ms in grid.rtts_ms
        for rate_hz in grid.subscribers
        for name in transports
        for interval_s in (grid.poll_intervals_s if name == POLLING else grid.poll_intervals_s[:1])
    ]
    random.Random(f"sensitivity-{seed}").shuffle(planned)
    return planned


def idle_plan(transports: list[str], seed: int) -> Plan:
    """The plan by which the bytes of idle cycles are measured, before the trials."""
    return make_plan("default", transports=transports, seed=seed)


def _trial(grid: Grid, name: str, rtt_ms: float, rate_hz: float, interval_s: float, seed: int) -> Planned:
    subscribers = grid.subscribers[rate_hz]
    plan = make_plan(
        "default",
        transports=[name],
        subscribers=subscribers,
        rooms=subscribers,
        rate_hz=rate_hz * subscribers,
        rtt_ms=rtt_ms,
        poll_interval_s=interval_s,
        duration_s=max(grid.duration_s, interval_s) if name == POLLING else grid.duration_s,
        warmup_events=grid.warmup_events,
        blocks=1,
        seed=seed,
    )
    label = f"{rtt_ms:g} ms, {rate_hz:g}/s" + (f", every {interval_s:g} s" if name == POLLING else "")
    id_ = f"{rtt_ms:g}ms-{rate_hz:g}hz-{name}" + (f"-{interval_s:g}s" if name == POLLING else "")
    trial = TrialPlan(id_, name, 1, SECTION, seed * 10_000 + 1, rtt_ms, interval_s)
    return Planned(SECTION, label, plan, trial)
