"""What a ticker shows: quotes of instruments that walk at random, each at its own rate. Pure.

Rates follow Zipf's law: instrument k, counted from 1, changes ``hot_hz / k`` times a second on average, at random
moments (a Poisson process). The same seed gives the same quotes at the same times, so a reader can know what it should
show at any moment.
"""

import bisect
import itertools
import random
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec

from feed.instruments.clock import NS_PER_S


class TickerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which quotes there are, and how often they change."""

    instruments: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    hot_hz: Annotated[float, msgspec.Meta(ge=0.01, le=1000.0)] = 10.0
    """Changes per second of the first instrument."""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32)] = 1


class Quote(NamedTuple):
    """A new state of one instrument. Prices in hundredths, ``offset_ns`` from the ticker's start."""

    instrument: int
    n: int
    """Counts the changes of this instrument, from 1."""
    bid: int
    ask: int
    size: int
    offset_ns: int


def symbol(instrument: int) -> str:
    """The name of an instrument, counted from 0."""
    return f"SYM{instrument + 1:03}"


def rates_hz(options: TickerOptions) -> list[float]:
    """Changes per second of each instrument."""
    return [options.hot_hz / rank for rank in range(1, options.instruments + 1)]


def quotes(options: TickerOptions) -> Iterator[Quote]:
    """All changes in their order, without end."""
    draw = random.Random(f"ticker-{options.seed}")
    reached = list(itertools.accumulate(rates_hz(options)))
    bids = [draw.randrange(1_000, 100_000) for _ in range(options.instruments)]
    counts = [0] * options.instruments
    offset_s = 0.0
    while True:
        offset_s += draw.expovariate(reached[-1])
        instrument = min(bisect.bisect(reached, draw.random() * reached[-1]), options.instruments - 1)
        counts[instrument] += 1
        bids[instrument] = max(100, bids[instrument] + draw.randint(-5, 5))
        bid = bids[instrument]
        ask = bid + draw.randint(1, 3)
        yield Quote(instrument, counts[instrument], bid, ask, draw.randint(1, 9999), round(offset_s * NS_PER_S))
