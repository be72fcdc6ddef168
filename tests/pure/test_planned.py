"""Facts that differ from the plan make a trial invalid: whose CPU was read, what served, and how it sent."""

from typing import Any

import msgspec
import pytest

from tests.pure.test_plausible import NETWORK, SOCKET, honest, implausible, ready


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ({"server_cpu_us_per_event": 750.0}, True),
        ({"server_cpu_us_per_event": 250.0}, True),
        ({"server_cpu_us_per_event": 540.0}, False),
        ({"server_cpu_us_per_event": -20.0, "server_cpu_share": 0.0047}, False),
        ({"server_cpu_us_per_event": 500.0, "server_cpu_share": 0.0}, True),
        ({"server_cpu_us_per_event": 500.0, "server_cpu_share": -0.01}, False),
    ],
)
def test_idle_cpu_that_was_not_subtracted_or_twice_is_named(metrics: dict[str, float], names: bool) -> None:
    case = honest("sse")
    usual = {"server_cpu_us_per_event": 500.0, "received_events_per_s": 20.0, "server_cpu_share": 0.015}
    found = implausible(case._replace(metrics={**case.metrics, **usual, **metrics}))
    assert [reason for reason in found if reason.startswith("the deliveries cost")] == found[-1:] * names
    assert len(found) == names or metrics["server_cpu_share"] < 0


@pytest.mark.parametrize("left_out", ["server_cpu_us_per_event", "received_events_per_s", "server_cpu_share"])
def test_cpu_that_was_not_measured_is_not_judged(left_out: str) -> None:
    case = honest("sse")
    wrong = {"server_cpu_us_per_event": 5000.0, "received_events_per_s": 20.0, "server_cpu_share": 0.015}
    del wrong[left_out]
    assert implausible(case._replace(metrics={**case.metrics, **wrong})) == []


@pytest.mark.parametrize("name", NETWORK)
def test_a_relay_with_another_network_than_planned_is_named(name: str) -> None:
    case = honest("sse")
    options = {"network": {**NETWORK, name: 50.0}}
    relay = {**case.details["relay"], "options": options}
    (reason,) = implausible(case._replace(details={**case.details, "relay": relay}))
    assert f"{name} 50.0; planned is {NETWORK[name]:g}" in reason


@pytest.mark.parametrize("who", ["server", "relay"])
@pytest.mark.parametrize(("name", "value"), [("congestion_control", "bbr"), ("mss_bytes", 65483)])
def test_sockets_that_send_otherwise_than_planned_are_named(who: str, name: str, value: object) -> None:
    case = honest("sse")
    other = {**case.details[who], "socket": {**SOCKET, name: value}}
    (reason,) = implausible(case._replace(details={**case.details, who: other}))
    assert reason.startswith(f"the {who}'s") and str(value) in reason


def test_another_server_than_asked_for_is_named() -> None:
    case = honest("sse")
    other = case._replace(details={**case.details, "server": ready(11, "websocket")})
    assert any("serving websocket" in reason for reason in implausible(other))
    often = {**ready(11, "sse"), "options": {"heartbeat_s": 7.5}}
    assert any(
        "every 7.5 s" in reason for reason in implausible(case._replace(details={**case.details, "server": often}))
    )


def test_probes_that_run_behind_the_load_are_named_where_they_need_not() -> None:
    case = honest("sse")
    relay = {**case.details["relay"], "options": {"scheduling": "fifo", "network": NETWORK}}

    def with_policies(*processes: list[str], **details: Any) -> list[str]:
        return implausible(case._replace(details={**case.details, "relay": relay, "scheduling": processes, **details}))

    load, behind, first = ["load", "other"], ["probes", "other"], ["probes", "fifo"]
    assert with_policies(first, load) == []
    (reason,) = with_policies(load, behind)
    assert "policy 'other'" in reason and "'fifo'" in reason
    assert with_policies(behind) == [], "one process: there is no load that it could wait for"
    forbidden = {**relay, "options": {"scheduling": "other"}}
    assert with_policies(load, behind, relay=forbidden) == [], "this machine does not allow it"


def test_a_tuned_collector_is_no_difference_if_it_was_asked_for() -> None:
    case = honest("raw")
    tuned = case._replace(
        observed=msgspec.structs.replace(case.observed, server_collector={"thresholds": [50_000, 10, 10]})
    )
    assert implausible(tuned._replace(trial=case.trial._replace(gc="tuned"))) == []
    assert len(implausible(tuned)) == 1
