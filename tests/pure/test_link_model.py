"""The model of a network: pure properties of one direction of one connection, and the presets."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.instruments.clock import NS_PER_MS, NS_PER_S
from feed.networks import CUSTOM, PRESETS, RANGES, Network, NetworkError, make_network
from servers.network.link_model import SEGMENT_BYTES, LinkModel, Release, segments
from tests.conftest import invoke

PURE = settings(deadline=None, derandomize=True, database=None)
NETWORKS = st.builds(
    Network,
    name=st.just("any"),
    rtt_ms=st.floats(0, 500),
    jitter_ms=st.sampled_from([0.0, 5.0, 300.0]),
    bandwidth_mbit_s=st.sampled_from([0.0, 0.1, 9.0]),
    loss=st.sampled_from([0.0, 0.01, 0.1]),
)
TRAFFIC = st.lists(st.tuples(st.integers(0, NS_PER_S), st.integers(0, 20_000)), min_size=1, max_size=30)
"""What arrives: nanoseconds after the piece before, and bytes; 0 is the end of the stream."""


def deliver(network: Network, traffic: list[tuple[int, int]], seed: int = 1) -> list[list[Release]]:
    """What becomes of each piece."""
    link, at_ns, found = LinkModel(network, Random(seed)), 0, []
    for gap_ns, size_bytes in traffic:
        at_ns += gap_ns
        found.append(link.releases(at_ns, size_bytes))
    return found


@PURE
@given(NETWORKS, TRAFFIC, st.integers())
def test_everything_is_delivered_once_in_order_and_never_before_the_one_way_delay(
    network: Network, traffic: list[tuple[int, int]], seed: int
) -> None:
    found = deliver(network, traffic, seed)
    assert found == deliver(network, traffic, seed), "the same seed gives the same network"
    at_ns = last_ns = 0
    for (gap_ns, size_bytes), pieces in zip(traffic, found, strict=True):
        at_ns += gap_ns
        assert sum(piece.size_bytes for piece in pieces) == size_bytes
        for piece in pieces:
            assert piece.at_ns >= last_ns
            assert piece.at_ns >= at_ns + round(network.rtt_ms * NS_PER_MS) // 2
            last_ns = piece.at_ns


@PURE
@given(st.floats(0, 500), TRAFFIC)
def test_a_plain_network_delays_each_piece_by_exactly_half_the_round_trip(
    rtt_ms: float, traffic: list[tuple[int, int]]
) -> None:
    found = deliver(Network("plain", rtt_ms), traffic)
    at_ns = 0
    for (gap_ns, size_bytes), pieces in zip(traffic, found, strict=True):
        at_ns += gap_ns
        assert pieces == [Release(at_ns + round(rtt_ms * NS_PER_MS) // 2, size_bytes)]


def test_segments_are_counted_on_every_network() -> None:
    for network in (Network("plain", 1.0), Network("uneven", 1.0, jitter_ms=1.0)):
        link = LinkModel(network, Random(1))
        for size_bytes in (0, 1, SEGMENT_BYTES, SEGMENT_BYTES + 1):
            link.releases(0, size_bytes)
        assert (link.segments, link.lost, link.stalls) == (4, 0, 0)


@PURE
@given(st.sampled_from([0.05, 1.0, 9.0, 1000.0]), TRAFFIC)
def test_bandwidth_bounds_every_interval(mbit_s: float, traffic: list[tuple[int, int]]) -> None:
    """Between any two deliveries no more bytes come than the link carries in that time; none come before their turn."""
    pieces = [piece for found in deliver(Network("narrow", 20.0, bandwidth_mbit_s=mbit_s), traffic) for piece in found]
    for first in range(len(pieces)):
        carried_bytes = 0
        for last in range(first + 1, len(pieces)):
            carried_bytes += pieces[last].size_bytes
            took_ns = pieces[last].at_ns - pieces[first].at_ns
            assert carried_bytes * 8 <= mbit_s * 1e6 * (took_ns + last - first) / NS_PER_S + 1e-6


@PURE
@given(st.floats(1, 300), st.integers(0, 100))
def test_jitter_is_spread_evenly_up_to_its_bound(jitter_ms: float, seed: int) -> None:
    traffic = [(NS_PER_S, 100)] * 400
    found = deliver(Network("uneven", 10.0, jitter_ms=jitter_ms), traffic, seed)
    extra_ms = [pieces[0].at_ns / NS_PER_MS - 1000 * (i + 1) - 5 for i, pieces in enumerate(found)]
    assert min(extra_ms) >= -1e-6 and max(extra_ms) <= jitter_ms + 1e-6
    assert sum(extra_ms) / len(extra_ms) == pytest.approx(jitter_ms / 2, rel=0.15)


@pytest.mark.parametrize("loss", [0.01, 0.1])
def test_in_the_long_run_the_share_that_is_lost_is_the_one_asked_for(loss: float) -> None:
    link = LinkModel(Network("lossy", 40.0, loss=loss), Random(7))
    for i in range(60_000):
        link.releases(i * NS_PER_S, 1)
    assert link.segments >= 60_000
    assert link.lost / link.segments == pytest.approx(loss, rel=0.12)
    assert 0 < link.stalls <= link.lost


class Chosen(Random):
    """Chance that is no chance: loses these transmissions, counted from 0."""

    def __init__(self, *lost: int) -> None:
        super().__init__(1)
        self._lost, self._count = set(lost), -1

    def random(self) -> float:
        self._count += 1
        return 0.0 if self._count in self._lost else 1.0 - 2**-53


def lost(size_bytes: int, *transmissions: int) -> list[float]:
    """Milliseconds after which each segment is delivered, over 40 ms with a time-out of 240 ms; jitter draws too."""
    link = LinkModel(Network("lossy", 40.0, loss=0.01), Chosen(*transmissions))
    return [piece.at_ns / NS_PER_MS for piece in link.releases(0, size_bytes)]


def test_a_lost_segment_alone_waits_for_the_time_out() -> None:
    assert lost(100) == [20]
    assert lost(100, 0) == [240 + 20]


def test_the_time_out_doubles_each_time_the_copy_is_lost_too() -> None:
    assert lost(100, 0, 1) == [240 + 480 + 20]
    assert lost(100, 0, 1, 2) == [240 + 480 + 960 + 20]


def test_three_segments_behind_it_bring_it_back_after_one_more_round_trip_and_wait_for_it() -> None:
    assert lost(4 * SEGMENT_BYTES, 0) == [40 + 20] * 4
    assert lost(5 * SEGMENT_BYTES, 1) == [20, 60, 60, 60, 60]


def test_two_segments_behind_it_are_too_few() -> None:
    assert lost(3 * SEGMENT_BYTES, 0) == [260] * 3
    assert lost(4 * SEGMENT_BYTES, 0, 1) == [260] * 4, "of those behind it one is lost as well"


def test_what_comes_later_waits_behind_what_was_lost() -> None:
    link = LinkModel(Network("lossy", 40.0, loss=0.01), Chosen(0))
    assert link.releases(0, 10)[0].at_ns == 260 * NS_PER_MS
    assert link.releases(100 * NS_PER_MS, 10)[0].at_ns == 260 * NS_PER_MS
    assert link.releases(100 * NS_PER_MS, 0)[0].at_ns == 260 * NS_PER_MS
    assert link.releases(300 * NS_PER_MS, 10)[0].at_ns == 320 * NS_PER_MS
    assert (link.segments, link.lost, link.stalls) == (4, 1, 1)


@PURE
@given(st.integers(0, 100_000))
def test_segments_are_full_but_the_last(size_bytes: int) -> None:
    sizes = segments(size_bytes)
    assert sum(sizes) == size_bytes and all(size == SEGMENT_BYTES for size in sizes[:-1])
    assert all(0 < size <= SEGMENT_BYTES for size in sizes)


def test_the_presets_are_what_the_documents_say() -> None:
    broadband = make_network()
    assert broadband == PRESETS["broadband"] and broadband.is_plain and broadband.rtt_ms == 40
    assert [PRESETS[name].rtt_ms for name in ("loopback", "lan", "broadband", "mobile")] == [0, 1, 40, 120]
    assert PRESETS["mobile"].jitter_ms > 0
    assert not any(network.loss for network in PRESETS.values()), "loss is asked for, never a default"
    assert PRESETS["mobile"].words == "120 ms round trip, up to 20 ms jitter each way, 9 Mbit/s"


def test_a_changed_preset_has_another_name() -> None:
    assert make_network("mobile", rtt_ms=120.0) == PRESETS["mobile"]
    assert make_network("broadband", rtt_ms=1.0) == PRESETS["lan"]
    changed = make_network("mobile", rtt_ms=50.0, loss=0.01)
    assert (changed.name, changed.rtt_ms, changed.jitter_ms) == (CUSTOM, 50.0, 20.0)
    assert changed.words.endswith("1 % loss (modelled)")


@pytest.mark.parametrize("name", RANGES)
@PURE
@given(st.floats())
def test_a_number_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    low, high = RANGES[name]
    if low <= value <= high:
        assert getattr(make_network(**{name: value}), name) == value
        return
    with pytest.raises(NetworkError, match=f"^{name} .*allowed are {low:g} to {high:g}"):
        make_network(**{name: value})


def test_the_time_out_is_at_least_200_ms_more_than_the_round_trip() -> None:
    assert Network("n", 40.0).retransmission_timeout_ms == 240
    assert Network("n", 120.0, jitter_ms=30.0).retransmission_timeout_ms == 350
    assert Network("n", 120.0, jitter_ms=300.0).retransmission_timeout_ms == 820


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--network", "carrier_pigeon"), "carrier_pigeon"),
        (("--loss", "0.5"), "--loss"),
        (("--jitter-ms", "-1"), "--jitter-ms"),
        (("--bandwidth-mbit-s", "nan"), "--bandwidth-mbit-s"),
    ],
)
def test_a_bad_network_is_named(arguments: tuple[str, str], said: str) -> None:
    done = invoke("servers", "relay", "--to", "127.0.0.1:80", *arguments)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
