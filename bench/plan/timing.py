"""How long the parts of a trial take, and how late a delivery may be. Pure (docs/method.md, Trials)."""

import math
from typing import Final

from bench.plan.trials import TrialPlan, warmup_of
from bench.results.run import Plan
from feed.transports import POLLING

DRAIN_ROUND_TRIPS: Final = 2
GRACE_S: Final = 1.0
LATE_MS: Final = 100.0
"""Beyond what the protocol allows and the host stalled. No quiet host's queueing came near it (20 ms)."""
FANOUT_S: Final = 200e-6
"""For each subscriber of a room: several times what sending and receiving one delivery takes."""
BOOT_S: Final = 1.3
"""What starting and stopping the processes of a trial takes, about: for the time remaining only."""
ODDS_OF_A_LONGER_STALL: Final = 1e-6
"""What is still missing after a trial's drain counts as lost; modelled loss shall not make anything look so."""


def settle_s(plan: Plan, trial: TrialPlan) -> float:
    """After the last event: two round trips and a fan-out, in which a quiet machine delivers all but to pollers."""
    fanout_s = plan.subscribers / plan.rooms * FANOUT_S
    round_trip_s = (trial.rtt_ms + 2 * plan.jitter_ms) / 1000
    return DRAIN_ROUND_TRIPS * round_trip_s + fanout_s + 0.02


def drain_s(plan: Plan, trial: TrialPlan) -> float:
    """How long deliveries are awaited at most: a poll interval and stalls, modelled and real, more."""
    poll_s = trial.poll_interval_s if trial.transport == POLLING else 0.0
    stall_s = longest_stall_s(plan) if trial.rtt_ms else 0.0
    return settle_s(plan, trial) + poll_s + stall_s + GRACE_S


def latest_ms(plan: Plan, trial: TrialPlan) -> float:
    """The longest delivery latency that protocol, delay and jitter allow (docs/method.md, Theory)."""
    transits = {POLLING: 2, "long_polling": 3}.get(trial.transport, 1)
    poll_ms = trial.poll_interval_s * 1000 if trial.transport == POLLING else 0.0
    late_polls = max(1, math.ceil(trial.rtt_ms / poll_ms)) if poll_ms else 0
    jitter_ms = plan.jitter_ms if trial.rtt_ms else 0.0
    return transits * (trial.rtt_ms / 2 + jitter_ms) + late_polls * poll_ms


def longest_stall_s(plan: Plan) -> float:
    """After so long nearly every segment is there: all time-outs, each twice as long as the one before, of one that
    was lost so often in a row that only ``ODDS_OF_A_LONGER_STALL`` are lost more often. 0 without loss."""
    if not plan.loss:
        return 0.0
    times = math.ceil(math.log(ODDS_OF_A_LONGER_STALL) / math.log(plan.loss))
    return float(2**times - 1) * plan.between.retransmission_timeout_ms / 1000


def expected_s(plan: Plan, trial: TrialPlan) -> float:
    """About how long a trial takes."""
    events = warmup_of(plan, trial) + plan.measured_events
    first_polls_s = trial.poll_interval_s if trial.transport == POLLING else 0
    drain_about_s = drain_s(plan, trial) - GRACE_S
    return BOOT_S + plan.ramp_s + min(first_polls_s, 0.5) + events / plan.rate_hz + drain_about_s
