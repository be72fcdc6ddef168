"""What no honest trial shows makes a trial invalid: each kind of fault is planted in facts and must be named."""

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from bench.plan.presets import make_plan
from bench.plan.trials import TrialPlan, trials
from bench.results.observed import Excess, Observed, Process, SentRequest
from bench.results.run import Idle, Plan
from bench.trial import planned, plausible
from bench.trial.case import Case, Range
from feed.transports import POLLS, TRANSPORTS

PLAN = make_plan("default", "sparse")
FRESH_THRESHOLDS = json.loads(
    subprocess.check_output([sys.executable, "-c", "import gc, json; print(json.dumps(gc.get_threshold()))"])
)
"""Of the collector as this Python begins with it."""
REQUEST = {"polling": "GET /poll", "long_polling": "GET /long-poll", "sse": "GET /sse", "websocket": "GET /ws"}
SIZE = {"GET /poll": (12, 427), "GET /long-poll": (12, 427), "GET /sse": (15, 503), "GET /ws": (11, 391)}


def trial_of(transport: str, plan: Plan = PLAN) -> TrialPlan:
    (found,) = trials(msgspec.structs.replace(plan, transports=[transport], blocks=1))
    return found


SOCKET = {"congestion_control": "cubic", "mss_bytes": 1460}
NETWORK = {"rtt_ms": 40.0, "jitter_ms": 0.0, "bandwidth_mbit_s": 0.0, "loss": 0.0}


def ready(pid: int, transport: str) -> dict[str, Any]:
    options = {"network": NETWORK} if transport == "relay" else {"heartbeat_s": 15.0}
    return {"pid": pid, "transport": transport, "options": options, "socket": SOCKET}


def implausible(case: Case) -> list[str]:
    """Every reason, whichever module has it."""
    return [*plausible.implausible(case), *planned.unplanned(case)]


def honest(transport: str) -> Case:
    """What an honest trial of a published run looks like."""
    poll, request = transport in POLLS, REQUEST.get(transport)
    seen = Observed(
        earliest_ms=20.4,
        stamp_after_kernel_ms=0.6,
        tick_ms=4.0,
        stamps_recorded=1.0,
        subscribers=200,
        excess=Excess(
            -0.2 if poll else 0.0,
            0.01,
            -0.02 if poll else None,
            0.01,
            0.03 if poll else None,
            plausible.HEAD_B[transport].low if poll else None,
        ),
        requests={request: SentRequest(["x"] * SIZE[request][0], SIZE[request][1])} if request else {},
        heartbeats_most=None if poll else 0,
        heartbeats_least=None if poll else 0,
        life_s=12.5,
        poll_period_s=0.9999 if transport == "polling" else None,
        poll_kuiper=1.3 if transport == "polling" else None,
        holds_s=[25.0] if transport == "long_polling" else [],
        empty_early_s=0.0 if transport == "long_polling" else None,
        generator_collects=False,
        server_collector={"enabled": True, "thresholds": FRESH_THRESHOLDS, "frozen_objects": 0},
        server=Process(11, f"python -m servers {transport} --port 0"),
        relay=Process(12, "python -m servers relay --port 0"),
        begin_pids=[11, 12],
        idle_pid=11,
        idle_share=0.005,
    )
    stream_bytes = {"polling": 743, "long_polling": 760, "sse": 13, "websocket": 16, "socketio": 10, "raw": 4}
    idle = Idle(stream_bytes[transport] + plausible.IDLE_TCP_IP_B[transport], stream_bytes[transport], 6, 15.0)
    setup = {"polling": 1211, "long_polling": 1230, "sse": 1456, "websocket": 1224, "socketio": 3065, "raw": 513}
    metrics = {
        "payload_bytes_per_event": 256.0,
        "framing_bytes_per_event": 61.0,
        "server_user_share": 0.7,
        "setup_bytes_per_connection": float(setup[transport]),
        "latency_ms_p50": 520.0 if transport == "polling" else 21.0,
    }
    return Case(
        PLAN, trial_of(transport), idle, metrics, seen, {"server": ready(11, transport), "relay": ready(12, "relay")}
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_honest_trial_is_plausible(transport: str) -> None:
    assert implausible(honest(transport)) == []


def test_a_trial_of_another_generator_has_no_facts_and_is_not_judged_by_them() -> None:
    case = honest("websocket")
    assert implausible(case._replace(observed=Observed(earliest_ms=20.4), idle=None)) == []


FACTS: list[tuple[str, str, dict[str, Any], str]] = [
    (
        "stamps 10 ms early",
        "websocket",
        {"impossible": 9, "earliest_ms": 10.4},
        "9 deliveries came sooner than possible",
    ),
    (
        "stamps early, a slow host",
        "websocket",
        {"stamp_after_kernel_ms": -6.1},
        "receive times are -6.1 ms",
    ),
    ("stamps 10 ms late", "polling", {"stamp_after_kernel_ms": 6.1}, "receive times are 6.1 ms"),
    ("stamps changed after the socket", "sse", {"stamps_recorded": 0.02}, "are not those of the connections: 2% agree"),
    ("compression", "websocket", {"codings": ["permessage-deflate"]}, "compressed (permessage-deflate)"),
    ("gzip on polls", "polling", {"codings": ["gzip"]}, "compressed (gzip)"),
    ("8 spaces in each event", "sse", {"excess": Excess(8.0)}, "framing: +8.0 B per event"),
    ("8 spaces in each polled event", "polling", {"excess": Excess(7.8)}, "framing: +7.8 B per event"),
    ("smaller events", "raw", {"excess": Excess(-4.0)}, "framing: -4.0 B per event"),
    ("one segment more", "websocket", {"excess": Excess(0.0, 0.5)}, "TCP/IP bytes: +50.0 %"),
    ("acknowledgements not counted", "polling", {"excess": Excess(0.0, -0.4)}, "TCP/IP bytes: -40.0 %"),
    ("more requests", "polling", {"excess": Excess(0.0, 0.0, 0.11)}, "requests: +11.0 %"),
    ("a third of the polls", "polling", {"excess": Excess(0.0, 0.0, -0.33)}, "requests: -33.0 %"),
    ("empty answers", "long_polling", {"excess": Excess(0.0, 0.0, 1.0)}, "requests: +100.0 %"),
    (
        "hidden header",
        "polling",
        {"excess": Excess(0.0, 0.0, 0.0, 0.0, 30.0)},
        "what pollers sent: +30.0 B per request",
    ),
    ("extra header", "polling", {"requests": {"GET /poll": SentRequest(["x"] * 13, 457)}}, "13 headers of 457 B"),
    ("longer header", "sse", {"requests": {"GET /sse": SentRequest(["x"] * 15, 533)}}, "15 headers of 533 B"),
    ("header left out", "websocket", {"requests": {"GET /ws": SentRequest(["x"] * 10, 391)}}, "10 headers"),
    ("heartbeats twice as often", "websocket", {"heartbeats_most": 1}, "0 to 1 heartbeats in 12.5 s"),
    ("no heartbeats", "sse", {"life_s": 50.0, "heartbeats_most": 3}, "0 to 3 heartbeats in 50.0 s"),
    ("heartbeats 10 % short", "raw", {"heartbeat_period_s": 13.5}, "heartbeats came every 13.5 s"),
    ("heartbeats 10 % long", "raw", {"heartbeat_period_s": 16.5}, "heartbeats came every 16.5 s"),
    ("polls 10 % short", "polling", {"poll_period_s": 0.9}, "polls came every 0.9 s"),
    ("polls 10 % long", "polling", {"poll_period_s": 1.1}, "polls came every 1.1 s"),
    ("pollers in phase", "polling", {"poll_kuiper": 14.1}, "pollers are in step"),
    ("hold asked half as long", "long_polling", {"holds_s": [12.5]}, "asked to be held for 12.5 s"),
    ("hold half as long", "long_polling", {"empty_early_s": 12.5}, "a hold ended 12.5 s sooner"),
    ("generator collects", "socketio", {"generator_collects": True}, "the generator's garbage collector was on"),
    (
        "server collects otherwise",
        "raw",
        {"server_collector": {"thresholds": [0, 10, 10]}},
        "at the thresholds [0, 10, 10]",
    ),
    (
        "relay read as server",
        "raw",
        {"server": Process(12, "python -m servers relay")},
        "the server's CPU was read of process 12",
    ),
    (
        "server read as relay",
        "raw",
        {"relay": Process(11, "python -m servers raw")},
        "the relay's CPU was read of process 11",
    ),
    ("idle CPU of the relay", "raw", {"idle_pid": 12}, "idle server was read of process 12"),
    ("a busy server taken for idle", "sse", {"idle_share": 0.2}, "the idle server used 20.00% of a core"),
    ("no CPU read of the idle server", "sse", {"idle_share": 0.0}, "the idle server used 0.00% of a core"),
    ("relay read at first", "sse", {"begin_pids": [12, 12]}, "processes [12, 12] at the beginning"),
    ("fewer subscribers", "sse", {"subscribers": 190}, "there were 190 subscribers; planned are 200"),
    ("relay 5 ms slow on one way", "raw", {"earliest_ms": 25.4}, "the fastest of all deliveries took 25.4 ms"),
    ("held polls stamped late", "long_polling", {"earliest_ms": 220.0}, "the fastest of all deliveries took 220.0 ms"),
    (
        "a header in answers with events",
        "polling",
        {"excess": Excess(head_bytes_per_answer=plausible.HEAD_B["polling"].high + 190)},
        "answers have a head of",
    ),
]


@pytest.mark.parametrize(("name", "transport", "planted", "said"), FACTS, ids=[fact[0] for fact in FACTS])
def test_a_planted_fact_is_named(name: str, transport: str, planted: dict[str, Any], said: str) -> None:
    case = honest(transport)
    (reason,) = implausible(case._replace(observed=msgspec.structs.replace(case.observed, **planted)))
    assert said in reason


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("framing_bytes_per_event", -164.0),
        ("tcp_ip_bytes_per_event", -1.0),
        ("heartbeat_bytes_per_event", -0.1),
        ("wire_bytes_per_event", -3.0),
        ("requests_per_event", -0.5),
        ("server_cpu_share", -0.1),
        ("server_user_share", 1.2),
        ("steal_share", -0.01),
        ("payload_bytes_per_event", 264.0),
        ("payload_bytes_per_event", 255.9),
    ],
)
def test_an_impossible_number_is_named(metric: str, value: float) -> None:
    case = honest("sse")
    (reason,) = implausible(case._replace(metrics={**case.metrics, metric: value}))
    assert metric in reason or "payload" in reason


@pytest.mark.parametrize(
    ("transport", "more"), [("polling", 30), ("sse", 4), ("websocket", -8), ("long_polling", -320)]
)
def test_an_idle_cycle_of_another_format_is_named(transport: str, more: int) -> None:
    """A header in each answer, a longer comment, no masking, compressed polls: the prediction would follow them."""
    case = honest(transport)
    assert case.idle is not None
    found = {"cycle_bytes": case.idle.cycle_bytes + more, "cycle_stream_bytes": case.idle.cycle_stream_bytes + more}
    idle = msgspec.structs.replace(case.idle, **found)
    (reason,) = implausible(case._replace(idle=idle))
    assert "an idle cycle has" in reason


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_acknowledgement_more_in_each_idle_cycle_is_named(transport: str) -> None:
    case = honest(transport)
    assert case.idle is not None
    idle = msgspec.structs.replace(case.idle, cycle_bytes=case.idle.cycle_bytes + 52)
    (reason,) = implausible(case._replace(idle=idle))
    assert "of TCP/IP; it has" in reason


@pytest.mark.parametrize(("p50_ms", "reasons"), [(520, 0), (390, 0), (650, 0), (720, 1), (320, 1)])
def test_polls_whose_median_is_not_the_middle_of_an_interval_are_named(p50_ms: float, reasons: int) -> None:
    """200 events: 4 standard deviations are 141 ms. A fifth of a second late is seen, and a fifth early."""
    case = honest("polling")
    found = implausible(case._replace(metrics={**case.metrics, "latency_ms_p50": p50_ms}))
    assert len(found) == reasons and all("median latency of polls" in reason for reason in found)


@pytest.mark.parametrize(("p50_ms", "reasons"), [(120, 0), (165, 0), (175, 1)])
def test_the_middle_of_a_short_interval_is_known_better(p50_ms: float, reasons: int) -> None:
    """Of 0.2 s: 28 ms and 20."""
    case = honest("polling")
    seen = msgspec.structs.replace(case.observed, poll_period_s=0.2)
    short = case._replace(trial=case.trial._replace(poll_interval_s=0.2), observed=seen)
    assert len(implausible(short._replace(metrics={**case.metrics, "latency_ms_p50": p50_ms}))) == reasons


@pytest.mark.parametrize(("pace", "reasons"), [(0.5, 1), (0.8, 0), (1.0, 0), (1.5, 0), (2.0, 1), (None, 0)])
def test_heartbeats_of_an_idle_server_at_another_period_are_named(pace: float | None, reasons: int) -> None:
    """Trials of a busy room are over before a heartbeat is due."""
    case = honest("websocket")
    assert case.idle is not None
    assert len(implausible(case._replace(idle=msgspec.structs.replace(case.idle, pace=pace)))) == reasons


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("more", (-360, 360))
def test_a_longer_or_shorter_handshake_is_named(transport: str, more: int) -> None:
    """By headers of an answer, or segments; with TLS, a variant or other headers it is another one."""
    case = honest(transport)
    metrics = {**case.metrics, "setup_bytes_per_connection": case.metrics["setup_bytes_per_connection"] + more}
    (reason,) = implausible(case._replace(metrics=metrics))
    assert "opening a connection took" in reason
    for other in (case.trial._replace(tls=True), case.trial._replace(variant="x"), case.trial._replace(purpose="cost")):
        assert "opening" not in " ".join(implausible(case._replace(metrics=metrics, trial=other)))
    minimal = msgspec.structs.replace(PLAN, headers="minimal")
    assert "opening" not in " ".join(implausible(case._replace(metrics=metrics, plan=minimal)))


@pytest.mark.parametrize(
    ("transport", "planted"),
    [
        ("polling", {"poll_period_s": 1.02}),
        ("polling", {"poll_kuiper": 2.6}),
        ("long_polling", {"excess": Excess(-0.3, 0.12, -0.28, 0.0, 0.1)}),
        ("polling", {"excess": Excess(0.0, 0.0, 0.11, 0.06)}),
        ("websocket", {"life_s": 15.5, "heartbeats_most": 1}),
        ("raw", {"heartbeats_most": 1, "heartbeats_least": 1}),
    ],
)
def test_what_honest_trials_do_is_no_reason(transport: str, planted: dict[str, Any]) -> None:
    """Jitter of 2 %, a busy room whose answers wait, a heartbeat that was due, one clock for all connections."""
    case = honest(transport)
    assert implausible(case._replace(observed=msgspec.structs.replace(case.observed, **planted))) == []


def test_segments_may_merge_at_a_high_rate_and_ticks_be_missed_at_a_short_interval() -> None:
    stream, poller = honest("raw"), honest("polling")
    merged = msgspec.structs.replace(stream.observed, excess=Excess(0.0, -0.6))
    assert len(implausible(stream._replace(observed=merged))) == 1
    fast = msgspec.structs.replace(PLAN, rate_hz=100.0 * PLAN.rooms)
    assert implausible(stream._replace(observed=merged, plan=fast)) == []
    missed = msgspec.structs.replace(poller.observed, poll_period_s=0.05, excess=Excess(0.0, 0.0, -0.2))
    short = poller.trial._replace(poll_interval_s=0.04)
    assert implausible(poller._replace(observed=missed, trial=short)) == []
    often = msgspec.structs.replace(missed, poll_period_s=0.03)
    assert len(implausible(poller._replace(observed=often, trial=short))) == 1


def test_a_generator_at_its_limit_is_late_but_never_early() -> None:
    case = honest("raw")
    cost = case._replace(trial=case.trial._replace(purpose="cost", rtt_ms=0.0))
    late, early = (msgspec.structs.replace(case.observed, stamp_after_kernel_ms=ms) for ms in (30.0, -6.1))
    assert implausible(cost._replace(observed=late)) == []
    assert len(implausible(cost._replace(observed=early))) == 1


def test_the_bounds_are_these() -> None:
    assert plausible.FRAMING_B == Range(-3.0, 3.0) == plausible.SENT_B
    assert Range(-0.10, 0.25) == plausible.STREAM_TCP_IP
    assert {"polling": Range(-0.25, 0.25), "long_polling": Range(-0.20, 0.35)} == plausible.TCP_IP
    assert {"polling": Range(-0.20, 0.06), "long_polling": Range(-0.75, 0.15)} == plausible.REQUESTS
    assert (plausible.EARLY_TICKS, plausible.LATE_TICKS, plausible.LATE_MS) == (1.5, 1.0, 2.0)
    assert (plausible.LEAST_RECORDED, plausible.MERGED_S) == (0.33, 0.01)
    assert (plausible.PERIOD_SHARE, plausible.POLL_PERIOD_SHARE, plausible.PERIOD_SLACK_S) == (0.05, 0.03, 0.005)
    assert (plausible.EARLIEST_MS, plausible.POLLED_DEVIATIONS, plausible.POLLED_SLACK_MS) == (3.0, 4.0, 20.0)
    assert (planned.BUSY_SHARE, planned.BUSY_OFF) == (0.0005, 0.05)
    tcp_ip = {"polling": 260, "long_polling": 260, "sse": 104, "websocket": 156, "socketio": 156, "raw": 104}
    assert tcp_ip == plausible.IDLE_TCP_IP_B
    assert (plausible.KUIPER, plausible.HOLD_EARLY_S, plausible.IDLE_SLACK_B) == (3.0, 0.2, 3.0)
    assert Range(0.75, 1.7) == plausible.PACE
    assert Range(0.0005, 0.03) == planned.IDLE_SHARE
    assert {name: (of.low, of.high) for name, of in plausible.SETUP_B.items()} == {
        "polling": (1180, 1240),
        "long_polling": (1200, 1260),
        "sse": (1425, 1485),
        "websocket": (1195, 1255),
        "socketio": (2840, 3200),
        "raw": (485, 545),
    }
    assert planned.COLLECTOR_THRESHOLDS == {"default": FRESH_THRESHOLDS, "tuned": [50_000, 10, 10]}
    assert {name: size for (kind, name), size in plausible.REQUEST_HEADERS.items() if kind == "browser"} == {
        **SIZE,
        "GET /socket.io/": (12, 427),
    }
