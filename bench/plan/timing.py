"""How long the parts of a trial take, and how late a delivery may be. Pure (docs/method.md, A trial)."""

import math
from typing import Final

from bench.plan.trials import TrialPlan, warmup_of
from bench.results.run import Plan
from feed.transports import POLLING

DRAIN_ROUND_TRIPS: Final = 2
GRACE_S: Final = 1.0
LATE_MS: Final = 100.0
"""How much longer a delivery may take than the protocol and the host's stalls explain. Queueing on a quiet host reached
20 ms at most."""
FANOUT_S: Final = 200e-6
"""Time allowed per subscriber of a room: several times what sending and receiving one delivery takes."""
BOOT_S: Final = 1.3
"""About what starting and stopping a trial's processes takes; it only serves to estimate the time remaining."""
ODDS_OF_A_LONGER_STALL: Final = 1e-6
"""Probability that a modelled stall outlasts the drain. Whatever is missing after the drain counts as lost, so that a
modelled stall must hardly ever last as long."""


def settle_s(plan: Plan, trial: TrialPlan) -> float:
    """Seconds after the last event (two round trips and a fan-out) in which a quiet host serves all but pollers."""
    fanout_s = plan.subscribers / plan.rooms * FANOUT_S
    round_trip_s = (trial.rtt_ms + 2 * plan.jitter_ms) / 1000
    return DRAIN_ROUND_TRIPS * round_trip_s + fanout_s + 0.02


def drain_s(plan: Plan, trial: TrialPlan) -> float:
    """Seconds that a trial waits for deliveries at most: ``settle_s``, a poll interval, modelled stalls and a grace."""
    poll_s = trial.poll_interval_s if trial.transport == POLLING else 0.0
    stall_s = longest_stall_s(plan) if trial.rtt_ms else 0.0
    return settle_s(plan, trial) + poll_s + stall_s + GRACE_S


def latest_ms(plan: Plan, trial: TrialPlan) -> float:
    """The longest delivery latency in ms that protocol, delay and jitter explain (docs/method.md, Theory)."""
    transits = {POLLING: 2, "long_polling": 3}.get(trial.transport, 1)
    poll_ms = trial.poll_interval_s * 1000 if trial.transport == POLLING else 0.0
    late_polls = max(1, math.ceil(trial.rtt_ms / poll_ms)) if poll_ms else 0
    jitter_ms = plan.jitter_ms if trial.rtt_ms else 0.0
    return transits * (trial.rtt_ms / 2 + jitter_ms) + late_polls * poll_ms


def longest_stall_s(plan: Plan) -> float:
    """Seconds that modelled loss delays a segment at most; only a share ``ODDS_OF_A_LONGER_STALL`` takes longer.

    They are the sum of the retransmission time-outs, each twice as long as the one before. 0 without loss.
    """
    if not plan.loss:
        return 0.0
    times = math.ceil(math.log(ODDS_OF_A_LONGER_STALL) / math.log(plan.loss))
    return float(2**times - 1) * plan.between.retransmission_timeout_ms / 1000


def expected_s(plan: Plan, trial: TrialPlan) -> float:
    """About how many seconds a trial takes."""
    events = warmup_of(plan, trial) + plan.measured_events
    first_polls_s = trial.poll_interval_s if trial.transport == POLLING else 0
    drain_about_s = drain_s(plan, trial) - GRACE_S
    return BOOT_S + plan.ramp_s + min(first_polls_s, 0.5) + events / plan.rate_hz + drain_about_s
