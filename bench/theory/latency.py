"""The delivery latency that each protocol itself causes, from round trip, poll interval, hold and rate. Pure.

Latencies are in ms, from due time to receipt. One transit is half the round trip; computing, queueing and fan-out take
no time in this model, so what is measured above a prediction is what the implementation adds. Events come to a room as
a Poisson process, as in the benchmark. docs/method.md derives each formula.
"""

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray


class Conditions(msgspec.Struct, frozen=True):
    """What one subscriber of one room experiences. ``rate_hz``: events per second in that room."""

    rtt_ms: float
    rate_hz: float
    poll_interval_s: float
    hold_s: float

    @property
    def transit_ms(self) -> float:
        return self.rtt_ms / 2


class Prediction(msgspec.Struct, frozen=True):
    """A distribution of latency: one transit with probability ``1 - late``, else uniform over the ``spread_ms`` that
    follow it."""

    transit_ms: float
    late: float
    spread_ms: float

    def quantile_ms(self, q: ArrayLike) -> NDArray[np.float64]:
        """The latency in ms that a share ``q`` (0 to 1) of events does not exceed."""
        share = np.asarray(q, dtype=float)
        if not self.late:
            return np.full(share.shape, self.transit_ms)
        return self.transit_ms + self.spread_ms * np.clip((share - (1 - self.late)) / self.late, 0, 1)

    @property
    def mean_ms(self) -> float:
        return self.transit_ms + self.late * self.spread_ms / 2


def predict_latency(transport: str, of: Conditions) -> Prediction:
    """The distribution for a transport; every transport that does not poll is a stream."""
    if transport == "polling":
        return Prediction(of.transit_ms, 1.0, poll_cycle_s(of) * 1000)
    if transport == "long_polling":
        return Prediction(of.transit_ms, gap_share(of), of.rtt_ms)
    return Prediction(of.transit_ms, 0.0, 0.0)


def poll_cycle_s(of: Conditions) -> float:
    """Seconds between polls: the interval, or the lowest multiple of it that a round trip fits into."""
    return of.poll_interval_s * max(1, math.ceil(of.rtt_ms / 1000 / of.poll_interval_s - 1e-9))


def gap_share(of: Conditions) -> float:
    """Share of events that fall between an answer and the next request's arrival (RFC 6202, section 2.2).

    A cycle is one wait, ended by an event or by the hold, and the gaps after it. Each gap takes a round trip; if it
    had an event, the next request is answered at once and another gap follows. With rate l, round trip R and hold H a
    cycle has exp(l R) gaps on average, each with l R events, and 1 - exp(-l H) events that ended the wait.
    """
    in_gaps = _gaps(of) * of.rate_hz * of.rtt_ms / 1000
    return in_gaps / (in_gaps + _ended_by_event(of))


def requests_per_event(transport: str, of: Conditions) -> float:
    """HTTP requests per delivered event: one per cycle for polling, one per answer for long polling, 0 on a stream."""
    if transport == "polling":
        return 1 / (of.rate_hz * poll_cycle_s(of))
    if transport == "long_polling":
        return _gaps(of) / (_gaps(of) * of.rate_hz * of.rtt_ms / 1000 + _ended_by_event(of))
    return 0.0


def _gaps(of: Conditions) -> float:
    """Mean number of gaps, and so of answers, in a cycle."""
    return math.exp(min(of.rate_hz * of.rtt_ms / 1000, 500.0))


def _ended_by_event(of: Conditions) -> float:
    """Probability that an event, not the hold, ends a wait."""
    return -math.expm1(-of.rate_hz * of.hold_s)
