"""Where each bound of a plausible trial lies: what is at it is no reason, what is just beyond it is one."""

from typing import Any

import msgspec
import pytest

from bench.results.observed import Excess, Process, SentRequest
from bench.trial.case import Case
from bench.trial.plausible import REQUEST_HEADERS
from tests.pure.test_plausible import NETWORK, PLAN, honest, implausible


def seen(case: Case, **changes: Any) -> list[str]:
    return implausible(case._replace(observed=msgspec.structs.replace(case.observed, **changes)))


AT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("sse", {"stamp_after_kernel_ms": 6.0}, {"stamp_after_kernel_ms": 6.001}),
    ("sse", {"stamp_after_kernel_ms": -6.0}, {"stamp_after_kernel_ms": -6.001}),
    ("sse", {"stamp_after_kernel_ms": 2.0, "tick_ms": None}, {"stamp_after_kernel_ms": 2.001, "tick_ms": None}),
    ("sse", {"stamps_recorded": 0.33}, {"stamps_recorded": 0.329}),
    ("sse", {"excess": Excess(3.0)}, {"excess": Excess(3.001)}),
    ("sse", {"excess": Excess(-3.0)}, {"excess": Excess(-3.001)}),
    ("sse", {"excess": Excess(0.0, 0.25)}, {"excess": Excess(0.0, 0.251)}),
    ("sse", {"excess": Excess(0.0, -0.101)}, {"excess": Excess(0.0, -0.102)}),
    ("polling", {"excess": Excess(0.0, 0.25)}, {"excess": Excess(0.0, 0.251)}),
    ("long_polling", {"excess": Excess(0.0, 0.35)}, {"excess": Excess(0.0, 0.351)}),
    ("polling", {"excess": Excess(0.0, 0.0, 0.06)}, {"excess": Excess(0.0, 0.0, 0.061)}),
    ("polling", {"excess": Excess(0.0, 0.0, -0.25, 0.05)}, {"excess": Excess(0.0, 0.0, -0.251, 0.05)}),
    ("polling", {"excess": Excess(0.0, 0.0, 0.11, 0.05)}, {"excess": Excess(0.0, 0.0, 0.111, 0.05)}),
    ("polling", {"excess": Excess(sent_bytes_per_request=-3.0)}, {"excess": Excess(sent_bytes_per_request=-3.001)}),
    ("polling", {"poll_kuiper": 3.0}, {"poll_kuiper": 3.001}),
    ("polling", {"poll_period_s": 0.9651}, {"poll_period_s": 0.9649}),
    ("polling", {"poll_period_s": 1.035}, {"poll_period_s": 1.0351}),
    ("sse", {"earliest_ms": 23.0}, {"earliest_ms": 23.001}),
    ("long_polling", {"empty_early_s": 0.2}, {"empty_early_s": 0.201}),
    ("raw", {"heartbeat_period_s": 15.7549}, {"heartbeat_period_s": 15.7551}),
    ("raw", {"heartbeat_period_s": 14.2451}, {"heartbeat_period_s": 14.2449}),
    ("raw", {"idle_share": 0.03}, {"idle_share": 0.0301}),
    ("raw", {"idle_share": 0.0005}, {"idle_share": 0.00049}),
    # In 61.6 s, half a second of ramp and one of slack left out, four heartbeats are due, and one may be under way.
    ("websocket", *({"life_s": 61.6, "heartbeats_most": 4, "heartbeats_least": n} for n in (3, 2))),
    ("websocket", *({"life_s": 61.6, "heartbeats_most": n, "heartbeats_least": 3} for n in (4, 5))),
    ("websocket", *({"life_s": s, "heartbeats_most": 2, "heartbeats_least": 2} for s in (61.49, 61.5))),
    ("raw", *({"life_s": 61.6, "heartbeats_most": n, "heartbeats_least": 3} for n in (5, 6))),
]


@pytest.mark.parametrize(("transport", "at", "beyond"), AT)
def test_a_bound_is_allowed_and_what_is_beyond_it_is_not(
    transport: str, at: dict[str, Any], beyond: dict[str, Any]
) -> None:
    case = honest(transport)
    assert seen(case, **at) == []
    assert len(seen(case, **beyond)) == 1


@pytest.mark.parametrize("metric", ["steal_share", "server_user_share"])
def test_a_share_of_all_or_nothing_is_one(metric: str) -> None:
    case = honest("sse")
    for share in (0.0, 1.0):
        assert implausible(case._replace(metrics={**case.metrics, metric: share})) == []
    assert implausible(case._replace(metrics={})) == [], "what was not measured is not judged"


@pytest.mark.parametrize("more", (-3.0, 3.0))
def test_an_idle_cycle_may_be_off_by_its_slack(more: float) -> None:
    case = honest("sse")
    assert case.idle is not None
    idle = msgspec.structs.replace(case.idle, cycle_stream_bytes=case.idle.cycle_stream_bytes + more)
    assert implausible(case._replace(idle=idle)) == []


@pytest.mark.parametrize("network", [{"jitter_ms": 1.0}, {"bandwidth_mbit_s": 1.0}, {"loss": 0.01}])
def test_what_a_network_adds_is_not_predicted(network: dict[str, float]) -> None:
    case = honest("polling")
    assert len(seen(case, excess=Excess(0.0, 0.9, 0.9))) == 2
    relay = {**case.details["relay"], "options": {"network": {**NETWORK, **network}}}
    other = case._replace(plan=msgspec.structs.replace(PLAN, **network), details={**case.details, "relay": relay})
    assert seen(other, excess=Excess(0.0, 0.9, 0.9)) == []
    cost = case._replace(trial=case.trial._replace(purpose="cost"))
    assert seen(cost, excess=Excess(0.0, 0.9, 0.9)) == []


@pytest.mark.parametrize(("interval_s", "judged"), [(0.05, True), (0.0499, False)])
def test_ticks_are_predicted_if_an_answer_comes_well_before_the_next(interval_s: float, judged: bool) -> None:
    case = honest("polling")
    short = case._replace(trial=case.trial._replace(poll_interval_s=interval_s))
    assert bool(seen(short, poll_period_s=0.2, excess=Excess(0.0, 0.0, -0.9))) is judged
    held = honest("long_polling")
    assert seen(held._replace(trial=held.trial._replace(poll_interval_s=0.04)), excess=Excess(0.0, 0.0, 1.0))


def test_a_period_of_polls_is_that_of_polling_only() -> None:
    assert seen(honest("long_polling"), poll_period_s=9.0) == []


@pytest.mark.parametrize("unknown", ["life_s", "heartbeats_most", "heartbeats_least"])
def test_heartbeats_that_were_not_counted_are_not_judged(unknown: str) -> None:
    assert seen(honest("sse"), **{"heartbeats_most": 9, "heartbeats_least": 9, "life_s": 50.0, unknown: None}) == []


def test_another_request_than_recorded_is_judged_unless_tls_or_a_variant_may_send_it() -> None:
    case = honest("websocket")
    other = {"GET /ws": SentRequest(["a", "b"], 9)}
    (said,) = seen(case, requests=other)
    assert said == "GET /ws was sent with 2 headers of 9 B (a, b); planned are 11 of 391 B"
    for changed in (case.trial._replace(tls=True), case.trial._replace(variant="tuned")):
        assert seen(case._replace(trial=changed), requests=other) == []
    assert ("minimal", "GET /ws") not in REQUEST_HEADERS
    assert seen(case._replace(plan=msgspec.structs.replace(PLAN, headers="minimal")), requests=other) == []


def test_reasons_say_what_was_seen_and_what_is_allowed() -> None:
    """Word for word, as the figures in them are computed."""
    polling, sse, held = honest("polling"), honest("sse"), honest("long_polling")
    assert seen(sse, impossible=2, earliest_ms=19.5) == [
        "2 deliveries came sooner than possible: the fastest took 19.500 ms, one transit takes 20 ms"
    ]
    assert seen(polling, excess=Excess(0.0, 0.0, -0.33)) == [
        "requests: -33.0 % from what is predicted, allowed are -20 to +6"
    ]
    assert seen(sse, codings=["br", "gzip"]) == ["answers were compressed (br, gzip); planned is no compression"]
    assert seen(sse, life_s=50.0, heartbeats_most=9, heartbeats_least=2) == [
        "streams had 2 to 9 heartbeats in 50.0 s; one every 15 s makes 2 to 3"
    ]
    assert seen(sse, life_s=12.5, heartbeats_most=1, heartbeats_least=0) == [
        "streams had 0 to 1 heartbeats in 12.5 s; one every 15 s makes 0 to 0"
    ]
    assert seen(held, holds_s=[5.0, 12.5]) == ["long polls asked to be held for 5, 12.5 s; planned is 25 s"]
    assert seen(polling, generator_collects=True) == [
        "the generator's garbage collector was on in the measured part; planned is off"
    ]
    assert seen(sse, idle_pid=99) == ["the CPU of the idle server was read of process 99; the server is 11"]


@pytest.mark.parametrize(
    ("command", "as_expected"),
    [("python -m servers sse", True), ("python -m servers raw", False), ("python -m http sse", False)],
)
def test_a_process_is_known_by_its_command(command: str, as_expected: bool) -> None:
    long = command + " --x" * 40
    said = seen(honest("sse"), server=Process(11, long))
    expected = f"the server's CPU was read of process 11 ({long[:80]}); the server is 11, serving sse"
    assert said == ([] if as_expected else [expected])


def test_a_ready_line_without_options_is_not_judged_by_them() -> None:
    case = honest("sse")
    for ready in ({"pid": 11, "transport": "sse"}, {"pid": 11, "transport": "sse", "options": {}}):
        assert implausible(case._replace(details={**case.details, "server": ready})) == []
