"""FAKE results of a run that never took place: seeded, with plausible numbers, for the tests of ``reports`` only."""

import numpy as np
from numpy.random import Generator, default_rng

from bench.results.catalogue import LATENCY_PERCENTILES, PERCENTILES
from bench.results.provenance import SCHEMA_VERSION
from bench.results.run import Counts, Plan, Results, Trial

ALL = ("polling", "long_polling", "sse", "websocket", "socketio", "raw")
EVENTS = 210
EXTRA_MS = {"polling": 0.9, "long_polling": 1.0, "sse": 0.9, "websocket": 0.7, "socketio": 0.9, "raw": 0.4}
"""What each transport adds to one transit."""
STREAM_BYTES = {
    "long_polling": (1180.0, 430.0),
    "sse": (92.0, 104.0),
    "websocket": (76.0, 104.0),
    "socketio": (140.0, 104.0),
    "raw": (68.0, 104.0),
}
"""Framing and TCP/IP bytes per event."""
POLL_BYTES = (760.0, 160.0)
"""Framing and TCP/IP bytes per poll."""
HEARTBEAT_BYTES = {"sse": 71.0, "websocket": 36.0, "socketio": 37.0}
CPU_US = {"polling": 900.0, "long_polling": 160.0, "sse": 55.0, "websocket": 34.0, "socketio": 67.0, "raw": 12.0}
PAYLOAD_BYTES = 256
EVENTS_PER_SUBSCRIBER_HZ = 0.1


def fake_plan(blocks: int = 5, rtt_ms: float = 40.0, transports: tuple[str, ...] = ALL) -> Plan:
    """The sparse operating point."""
    return Plan(
        preset="FAKE",
        transports=list(transports),
        subscribers=200,
        probes=200,
        rooms=200,
        rate_hz=20.0,
        payload_bytes=PAYLOAD_BYTES,
        poll_interval_s=1.0,
        hold_s=25.0,
        heartbeat_s=15.0,
        rtt_ms=rtt_ms,
        duration_s=10.5,
        warmup_events=50,
        measured_events=EVENTS,
        ramp_s=0.5,
        blocks=blocks,
        seed=1,
        headers="browser",
        history=1024,
        curve_intervals_s=[0.2, 5.0],
        curve_repeats=1,
        loopback_too=False,
        max_reruns=2,
    )


def fake_trial(
    transport: str,
    block: int = 1,
    *,
    purpose: str = "main",
    rtt_ms: float = 40.0,
    poll_interval_s: float = 1.0,
    attempt: int = 1,
    seed: int = 7,
) -> Trial:
    """One valid trial with made-up numbers."""
    draw = default_rng([seed, ALL.index(transport), block, round(1000 * poll_interval_s)])
    latency_ms = _latency_ms(draw, transport, rtt_ms, poll_interval_s)
    supported = [q for q in PERCENTILES if EVENTS * (1 - q / 100) >= 10]
    percentiles = dict(zip((f"{q:g}" for q in supported), np.percentile(latency_ms, supported).tolist(), strict=True))
    suffix = "" if purpose == "main" else f"-{poll_interval_s:g}s"
    return Trial(
        id=f"b{block}-{transport}{suffix}",
        transport=transport,
        block=block,
        purpose=purpose,
        attempt=attempt,
        seed=10_000 + block,
        rtt_ms=rtt_ms,
        poll_interval_s=poll_interval_s,
        status="ok",
        reasons=[],
        started_at="2026-01-01T00:00:00+00:00",
        duration_s=14.2,
        events=EVENTS,
        subscribers=200,
        probes=200,
        samples="",
        counts=Counts(
            expected=EVENTS, delivered=EVENTS, lost=0, duplicate=0, out_of_order=0, gaps=0, reconnects=0, late=0
        ),
        metrics={
            "latency_ms_mean": float(latency_ms.mean()),
            "latency_ms_max": float(latency_ms.max()),
            "generator_latency_ms_p50": percentiles["50"],
            "generator_latency_ms_p95": percentiles["95"],
            **_byte_metrics(draw, transport, poll_interval_s),
            **_cost_metrics(draw, transport, poll_interval_s),
        },
        latency_ms=percentiles,
        preflight=["events arrive in order", "a cursor resumes"],
        details={},
    )


def fake_results(blocks: int = 5, rtt_ms: float = 40.0, *, finished: bool = True, seed: int = 7) -> Results:
    """All transports over ``blocks`` blocks, two curve trials, an invalid trial and a failed one that were re-run."""
    trials = [fake_trial(name, block, rtt_ms=rtt_ms, seed=seed) for block in range(1, blocks + 1) for name in ALL]
    for interval_s in (0.2, 5.0):
        trials.append(fake_trial("polling", purpose="curve", rtt_ms=rtt_ms, poll_interval_s=interval_s, seed=seed))
    if blocks > 2:
        _spoil(trials)
    return Results(
        schema_version=SCHEMA_VERSION,
        pushmark_version="FAKE",
        created_at="2026-01-01T00:00:00+00:00",
        finished=finished,
        command=["python", "-m", "bench", "--FAKE"],
        plan=fake_plan(blocks, rtt_ms),
        host={"cpu_model": "a made-up processor", "cores": [0, 1], "memory_bytes": 8 << 30, "virtual": True},
        versions={"python": "3.11.0", "uvicorn": "0.54.0"},
        options={"placement": {"server": 0, "relay": 0, "generator": [1]}, "server_gc": "Python's default"},
        idle={},
        trials=trials,
    )


def put(trial: Trial, values: dict[str, float]) -> None:
    """Let a trial have these numbers, by metric, each where it is stored."""
    for name, value in values.items():
        if name in LATENCY_PERCENTILES:
            trial.latency_ms[LATENCY_PERCENTILES[name]] = value
        else:
            trial.metrics[name] = value


def _spoil(trials: list[Trial]) -> None:
    """Block 2's SSE trial was invalid at first; block 3's long polling failed at first."""
    again = next(trial for trial in trials if (trial.transport, trial.block) == ("sse", 2))
    invalid = fake_trial("sse", 2, seed=99)
    again.attempt = 2
    invalid.status = "invalid"
    invalid.reasons = ["the relay was the bottleneck: p99 released 2140 us late, allowed 1000"]
    put(invalid, {"latency_ms_p50": 31.0, "relay_lateness_us_p99": 2140.0})
    trials.insert(trials.index(again), invalid)
    again = next(trial for trial in trials if (trial.transport, trial.block) == ("long_polling", 3))
    again.attempt = 2
    failed = fake_trial("long_polling", 3)
    trials.insert(trials.index(again), failed)
    failed.status, failed.reasons = "failed", ["the server ended with exit code 1 <before> the feed | began"]
    failed.metrics, failed.latency_ms, failed.counts = {}, {}, None


def _latency_ms(draw: Generator, transport: str, rtt_ms: float, poll_interval_s: float) -> np.ndarray:
    events = rtt_ms / 2 + EXTRA_MS[transport] + draw.normal(0, 0.08) + draw.gamma(2.0, 0.12, EVENTS)
    if transport == "polling":
        waits = (np.arange(EVENTS) + draw.uniform(0, 1, EVENTS)) / EVENTS
        return np.asarray(events + waits * poll_interval_s * 1000)
    if transport == "long_polling":
        return np.asarray(events + draw.uniform(0, rtt_ms, EVENTS) * (draw.uniform(0, 1, EVENTS) < 0.04))
    return np.asarray(events)


def _polls_per_event(poll_interval_s: float) -> float:
    return 1 / (EVENTS_PER_SUBSCRIBER_HZ * poll_interval_s)


def _byte_metrics(draw: Generator, transport: str, poll_interval_s: float) -> dict[str, float]:
    noise = float(np.exp(draw.normal(0, 0.004)))
    if transport == "polling":
        polls = _polls_per_event(poll_interval_s)
        framing, tcp_ip = (POLL_BYTES[0] * polls + 60) * noise, POLL_BYTES[1] * polls * noise
    else:
        framing, tcp_ip = (part * noise for part in STREAM_BYTES[transport])
    found = {
        "payload_bytes_per_event": float(PAYLOAD_BYTES),
        "framing_bytes_per_event": framing,
        "tcp_ip_bytes_per_event": tcp_ip,
        "setup_bytes_per_connection": {"raw": 330.0}.get(transport, 1650.0),
        "closing_bytes_per_connection": 156.0,
        "idle_bytes_per_s": {"polling": 920.0 / poll_interval_s, "long_polling": 66.0}.get(transport, 7.1),
    }
    if transport in HEARTBEAT_BYTES:
        found["heartbeat_bytes_per_event"] = HEARTBEAT_BYTES[transport]
    parts = ("payload", "framing", "tcp_ip", "heartbeat")
    wire = sum(found.get(f"{part}_bytes_per_event", 0.0) for part in parts)
    return {**found, "wire_bytes_per_event": wire, "life_bytes_per_event": wire * 1.4}


def _cost_metrics(draw: Generator, transport: str, poll_interval_s: float) -> dict[str, float]:
    requests = {"polling": _polls_per_event(poll_interval_s), "long_polling": 1.02}.get(transport, 0.0)
    cpu_us = CPU_US[transport] * float(np.exp(draw.normal(0, 0.05)))
    answered = {"events_per_response": 1 / requests, "server_cpu_us_per_request": cpu_us / requests} if requests else {}
    return {
        **answered,
        "server_cpu_us_per_event": cpu_us,
        "requests_per_event": requests,
        "connections_per_event": 0.0,
        "rss_bytes_per_connection": draw.uniform(20e3, 45e3),
        "kernel_bytes_per_connection": 4200.0,
        "generator_cpu_share": draw.uniform(0.05, 0.2),
        "relay_cpu_share": draw.uniform(0.02, 0.1),
        "server_cpu_share": draw.uniform(0.02, 0.2),
        "publisher_lateness_us_p50": draw.uniform(40, 90),
        "publisher_lateness_us_p99": draw.uniform(150, 400),
        "relay_lateness_us_p50": draw.uniform(50, 90),
        "relay_lateness_us_p99": draw.uniform(150, 400),
        "server_loop_lag_us_p99": draw.uniform(150, 900),
        "probe_loop_lag_us_p99": draw.uniform(150, 900),
        "server_gc_pause_ms_max": draw.uniform(1, 4),
        "generator_gc_pause_ms_max": 0.0,
        "hiccup_ms_p99": draw.uniform(0.1, 0.5),
        "hiccup_ms_max": draw.uniform(1, 6),
    }
