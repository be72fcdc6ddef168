"""The ticker's quotes: seeded, at Zipf's rates, and each instrument's in order; options of services."""

from collections import Counter
from itertools import islice, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.instruments.clock import NS_PER_S
from feed.ticker import TickerOptions, quotes, rates_hz, symbol
from servers.services.registry import OPTION_NAMES, parse_options
from servers.services.ticker import RATES_HZ, ROOM, room_of

options = st.builds(TickerOptions, st.integers(1, 1000), st.floats(0.01, 1000.0), st.integers(0, 2**32))


@given(options)
def test_quotes_are_seeded_and_in_order(wanted: TickerOptions) -> None:
    some = list(islice(quotes(wanted), 200))
    assert some == list(islice(quotes(wanted), 200))
    assert all(a.offset_ns <= b.offset_ns for a, b in pairwise(some)) and some[0].offset_ns >= 0
    seen = Counter[int]()
    for quote in some:
        seen[quote.instrument] += 1
        assert quote.n == seen[quote.instrument] and 0 <= quote.instrument < wanted.instruments
        assert 100 <= quote.bid < quote.ask and quote.size > 0


def test_rates_follow_zipf() -> None:
    wanted = TickerOptions()
    some = list(islice(quotes(wanted), 50_000))
    over_s = some[-1].offset_ns / NS_PER_S
    counts = Counter(quote.instrument for quote in some)
    for instrument, rate_hz in list(enumerate(rates_hz(wanted)))[:10]:
        assert counts[instrument] / over_s == pytest.approx(rate_hz, rel=0.1)
    assert len(counts) == wanted.instruments and symbol(0) == "SYM001"


def test_every_room_has_a_name_that_says_its_rate() -> None:
    assert [room_of(rate_hz) for rate_hz in RATES_HZ][:3] == ["ticker-0.2hz", "ticker-0.5hz", "ticker-1hz"]
    assert ROOM not in map(room_of, RATES_HZ)


def test_options_of_services_are_read_with_their_defaults() -> None:
    assert parse_options({})["ticker"] == TickerOptions()
    found = parse_options({"ticker.hot_hz": "20", "ticker.seed": "7"})["ticker"]
    assert found == TickerOptions(hot_hz=20.0, seed=7)
    assert msgspec.to_builtins(found) == {"instruments": 100, "hot_hz": 20.0, "seed": 7}


@pytest.mark.parametrize("name", ["ticker", "ticker.", "ticker.cold_hz", "chat.page", ".hot_hz", ""])
def test_what_is_no_option_is_refused_with_all_that_are(name: str) -> None:
    with pytest.raises(ValueError, match="is no option of a service") as caught:
        parse_options({name: "1"})
    assert all(option in str(caught.value) for option in OPTION_NAMES)


@pytest.mark.parametrize("value", ["0", "-1", "1001", "nan", "inf", "many", ""])
def test_a_value_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"ticker.hot_hz="):
        parse_options({"ticker.hot_hz": value})
