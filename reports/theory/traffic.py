"""Wire bytes per second and subscriber by event rate, from measured coefficients, and where two rates break even. Pure.

A stream moves its bytes per event and its heartbeats. A poller moves one cycle per interval, whatever happens, and what
events add to its answers. A long poller moves one cycle per answer; theory predicts the number of answers (RFC 6202).
"""

import math
from typing import Final

import msgspec

from bench.results.run import Idle, Plan, Results, Trial
from bench.theory.bytes import beyond_envelopes, envelope_bytes, relay_bytes
from bench.theory.latency import Conditions, predict_latency, requests_per_event
from feed.transports import POLLING, POLLS
from reports.blocks import Blocks
from reports.statistics import Estimate, estimate

LOWEST_HZ: Final = 1e-4
HIGHEST_HZ: Final = 1e3
"""Break-evens are searched between these event rates of a room."""
MONTH_S: Final = 365.25 / 12 * 86_400
RADIO_SLEEPS_AFTER_S: Final = 10.0
"""A phone's radio stays awake about this long after use (developer.android.com, Optimize network access)."""


class Traffic(msgspec.Struct, frozen=True):
    """One transport's coefficients, in wire bytes, both directions.

    ``per_event``: what an event adds; in a poll's answer its envelope alone. ``per_cycle``: an empty poll, or the
    heartbeat that a stream sends every ``period_s``.
    """

    transport: str
    per_event: float
    per_cycle: float
    period_s: float
    rtt_ms: float
    hold_s: float

    def bytes_per_s(self, rate_hz: float, poll_interval_s: float) -> float:
        """Wire bytes per second of one subscriber of a room with ``rate_hz`` events per second."""
        of = Conditions(self.rtt_ms, rate_hz, poll_interval_s, self.hold_s)
        if self.transport in POLLS:
            requests = requests_per_event(self.transport, of)
            beyond = beyond_envelopes(1 / requests, self.per_event) if self.transport == POLLING else 0.0
            return rate_hz * (requests * (self.per_cycle + beyond) + self.per_event)
        return rate_hz * self.per_event + self.per_cycle / self.period_s

    def latency_ms(self, rate_hz: float, poll_interval_s: float) -> float:
        """Predicted median delivery latency in ms."""
        of = Conditions(self.rtt_ms, rate_hz, poll_interval_s, self.hold_s)
        return float(predict_latency(self.transport, of).quantile_ms(0.5))


def traffic_of(transport: str, plan: Plan, idle: Idle, trial: Trial) -> Traffic | None:
    """The coefficients that one trial gives; ``None`` if it lacks a number, or one of them comes out as 0 or less."""
    wire = trial.values.get("wire_bytes_per_event")
    if wire is None:
        return None
    per_event, per_cycle = wire - trial.values.get("heartbeat_bytes_per_event", 0.0), idle.cycle_bytes
    if transport in POLLS:  # an event adds its envelope to an answer; the cycles moved the rest
        per_event = float(envelope_bytes(plan.payload_bytes, plan.rooms // 2, 1))
        requests = trial.values.get("requests_per_event", 0.0)
        per_cycle = (wire - per_event) / requests if requests else 0.0
        if transport == POLLING and requests:
            per_cycle -= beyond_envelopes(1 / requests, per_event) + relay_bytes(plan.rtt_ms)
    if min(per_event, per_cycle) <= 0:
        return None
    return Traffic(transport, per_event, per_cycle, idle.period_s, plan.rtt_ms, plan.hold_s)


def traffic(results: Results, blocks: Blocks, transport: str) -> dict[int, Traffic]:
    """Block -> a transport's coefficients, for the blocks whose trial gives them."""
    idle = results.idle.get(transport)
    if idle is None or transport not in blocks.trials:
        return {}
    found = {
        block: traffic_of(transport, results.plan, idle.of_block(block), of)
        for block, of in blocks.trials[transport].items()
    }
    return {block: of for block, of in found.items() if of is not None}


def average(found: dict[int, Traffic]) -> Traffic:
    """Geometric means of the coefficients over blocks. Raises ``ValueError`` without a block."""
    per_event, per_cycle = (
        estimate([getattr(of, name) for of in found.values()]).value for name in ("per_event", "per_cycle")
    )
    return msgspec.structs.replace(next(iter(found.values())), per_event=per_event, per_cycle=per_cycle)


def break_even_hz(a: Traffic, b: Traffic, poll_interval_s: float) -> float | None:
    """The event rate above which ``a`` moves fewer bytes than ``b``; ``None``: no such rate in the searched range."""

    def difference(log_rate: float) -> float:
        rate_hz = math.exp(log_rate)
        return a.bytes_per_s(rate_hz, poll_interval_s) - b.bytes_per_s(rate_hz, poll_interval_s)

    from scipy.optimize import brentq  # takes a quarter of a second to load, and most commands need none

    low, high = math.log(LOWEST_HZ), math.log(HIGHEST_HZ)
    if difference(low) <= 0 or difference(high) >= 0:
        return None
    return math.exp(brentq(difference, low, high))


def break_even(a: dict[int, Traffic], b: dict[int, Traffic], poll_interval_s: float) -> Estimate | None:
    """The break-even rate with its interval over blocks; ``None`` unless every common block has one."""
    shared = sorted(a.keys() & b.keys())
    found = [break_even_hz(a[block], b[block], poll_interval_s) for block in shared]
    solved = [rate for rate in found if rate is not None]
    return estimate(solved) if solved and len(solved) == len(found) else None


def month_mb(idle_bytes_per_s: float) -> float:
    """Megabytes that an idle subscriber moves in a month."""
    return idle_bytes_per_s * MONTH_S / 1e6


def wake_ups_per_hour(period_s: float) -> float | None:
    """Bursts per hour that wake a sleeping radio; ``None``: they follow so closely that it never sleeps."""
    return 3600 / period_s if period_s > RADIO_SLEEPS_AFTER_S else None
