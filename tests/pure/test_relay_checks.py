"""The relay's delay, held against the plan by pings from outside."""

import asyncio
from pathlib import Path

import pytest

from bench.results.observed import RelayCheck
from bench.run.relay_checks import AFTER, BEFORE, reasons_by_rtt, reject
from bench.trial import path
from bench.trial.path import Ping, check_relay, judge
from feed.networks import Network
from tests.helpers.fake_results import fake_trial

BROADBAND = Network("broadband", 40.0)
MOBILE = Network("mobile", 120.0, 20.0, 9.0)


def pings(up_ms: float, down_ms: float, spread_ms: float = 0.2) -> list[Ping]:
    return [Ping(up_ms + spread_ms * index / 20, down_ms + spread_ms * index / 20) for index in range(20)]


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (BROADBAND, pings(20.17, 20.2)),
        (BROADBAND, pings(20.17, 20.2, 9.0)),
        (MOBILE, pings(60.4, 61.0, 19.0)),
        (Network("custom", 40.0, loss=0.1), [*pings(20.2, 20.2)[:8], *pings(260.0, 20.2)]),
    ],
)
def test_a_relay_that_delays_as_planned_is_right(network: Network, found: list[Ping]) -> None:
    assert judge(network, BEFORE, found).reasons == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pings(15.1, 20.2), "the relay takes 15.10 ms to the server"),
        (pings(20.2, 15.1), "the relay takes 15.10 ms to the client"),
        (pings(20.2, 25.2), "the relay takes 25.20 ms to the client"),
        (pings(25.2, 20.2), "the relay takes 25.20 ms to the server"),
        (pings(19.9, 20.2), "planned are 20 ms"),
        (pings(20.2, 20.2, 12.0), "(median 25."),
    ],
)
def test_a_relay_that_is_off_is_named(found: list[Ping], said: str) -> None:
    reasons = judge(BROADBAND, AFTER, found).reasons
    assert reasons and said in reasons[0] and AFTER in reasons[0]


def test_the_bounds_are_these() -> None:
    assert (path.SLOW_MS, path.USUALLY_SLOW_MS, path.LEAST_PINGS) == (2.0, 5.0, 5)


def test_trials_behind_a_wrong_relay_do_not_count() -> None:
    wrong = RelayCheck(AFTER, 40.0, reasons=["the relay takes 15 ms"])
    assert reasons_by_rtt([RelayCheck(BEFORE, 40.0), wrong, RelayCheck(BEFORE, 5.0)]) == {
        40.0: ["the relay takes 15 ms"]
    }
    behind, failed, beside = fake_trial("sse"), fake_trial("sse"), fake_trial("sse")
    failed.status, beside.rtt_ms = "failed", 0.0
    reject([behind, failed, beside], [wrong])
    assert [trial.status for trial in (behind, failed, beside)] == ["invalid", "failed", "ok"]
    assert behind.reasons == ["the relay takes 15 ms"]


def test_a_real_relay_is_pinged_and_another_delay_is_found(tmp_path: Path) -> None:
    """The relay has a round trip of 20 ms; it is held against 20 and 30 ms."""
    network = Network("custom", 20.0)
    found = asyncio.run(check_relay(network, BEFORE, 0, tmp_path / "log"))
    assert min(found.up_ms_min, found.down_ms_min) >= 10.0, found
    seen = [Ping(found.up_ms_min, found.down_ms_min)]
    assert len(judge(Network("custom", 30.0), BEFORE, seen).reasons) == 2
