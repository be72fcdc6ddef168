"""What latency the protocols themselves allow, from round trip, poll interval, hold and rate. Pure; no implementation.

All latencies are delivery latencies in ms, due time to receipt. One transit is half the round trip; computing,
queueing and fan-out take no time here, so what is measured above a prediction is what the implementation adds.
Events come to a room as a Poisson process, as they do in the benchmark. docs/method.md derives each formula.
"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray


class Conditions(msgspec.Struct, frozen=True):
    """Of one subscriber of one room. ``rate_hz``: events per second in that room."""

    rtt_ms: float
    rate_hz: float
    poll_interval_s: float
    hold_s: float

    @property
    def transit_ms(self) -> float:
        return self.rtt_ms / 2


class Prediction(msgspec.Struct, frozen=True):
    """One transit with probability ``1 - late``; else uniform over the ``spread_ms`` that follow it."""

    transit_ms: float
    late: float
    spread_ms: float

    def quantile_ms(self, q: ArrayLike) -> NDArray[np.float64]:
        """Latency that a share ``q`` (0 to 1) of events stays below."""
        share = np.asarray(q, dtype=float)
        if not self.late:
            return np.full(share.shape, self.transit_ms)
        return self.transit_ms + self.spread_ms * np.clip((share - (1 - self.late)) / self.late, 0, 1)

    @property
    def mean_ms(self) -> float:
        return self.transit_ms + self.late * self.spread_ms / 2


def predict_latency(transport: str, of: Conditions) -> Prediction:
    """The distribution for a transport; everything that is not a poll is a stream."""
    if transport == "polling":
        return Prediction(of.transit_ms, 1.0, poll_cycle_s(of) * 1000)
    if transport == "long_polling":
        return Prediction(of.transit_ms, gap_share(of), of.rtt_ms)
    return Prediction(of.transit_ms, 0.0, 0.0)


def poll_cycle_s(of: Conditions) -> float:
    """Seconds between polls: the cadence, of which as many beats are left out as one poll takes longer."""
    return of.poll_interval_s * max(1, math.ceil(of.rtt_ms / 1000 / of.poll_interval_s - 1e-9))


def gap_share(of: Conditions) -> float:
    """Share of events that fall between an answer and the next request's arrival (RFC 6202, section 2.2).

    A cycle is one wait, ended by an event or by the hold, and the gaps after it: each takes a round trip, and another
    follows as long as something happened in the last. With rate l, round trip R and hold H a cycle has exp(l R) gaps
    on average, l R events in each, and one event that ended the wait with probability 1 - exp(-l H).
    """
    in_gaps = _gaps(of) * of.rate_hz * of.rtt_ms / 1000
    return in_gaps / (in_gaps + _ended_by_event(of))


def requests_per_event(transport: str, of: Conditions) -> float:
    """HTTP requests per delivered event: by the clock for polling, per answer for long polling, none on a stream."""
    if transport == "polling":
        return 1 / (of.rate_hz * poll_cycle_s(of))
    if transport == "long_polling":
        return _gaps(of) / (_gaps(of) * of.rate_hz * of.rtt_ms / 1000 + _ended_by_event(of))
    return 0.0


def _gaps(of: Conditions) -> float:
    """Mean number of gaps, and so of answers, in a cycle."""
    return math.exp(min(of.rate_hz * of.rtt_ms / 1000, 500.0))


def _ended_by_event(of: Conditions) -> float:
    return -math.expm1(-of.rate_hz * of.hold_s)
