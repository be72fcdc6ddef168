"""Facts that differ from the plan: who took part, whose CPU was read, and what served. Pure.

Each reason makes a trial invalid (docs/method.md has the table).
"""

import gc
from collections.abc import Iterator
from typing import Final

from bench.results.observed import Process
from bench.trial.case import JUDGED_BY_THEORY, Case, Range
from feed.instruments.tcp import CONGESTION_CONTROL, MAX_SEGMENT_BYTES

IDLE_SHARE: Final = Range(0.0005, 0.03)
"""Share of a core that a server without connections takes."""
BUSY_SHARE: Final = 0.0005
BUSY_OFF: Final = 0.05
"""How far the CPU of all deliveries may be from the server's beyond its idle share: of a core, and of itself."""
COLLECTOR_THRESHOLDS: Final = {"default": list(gc.get_threshold()), "tuned": [50_000, 10, 10]}
"""Of the server, which the same Python runs (its own begin with 700 or, from 3.13 on, with 2,000). Whether it is on,
and has frozen objects, is in ``bench.trial.validity``."""


def unplanned(case: Case) -> list[str]:
    """What is not as it was planned; empty if all is."""
    rules = (_missing, _collectors, _processes, _cpu, _network, _policies)
    return [reason for rule in rules for reason in rule(case)]


def _missing(case: Case) -> Iterator[str]:
    found, planned = case.observed.subscribers, case.plan.subscribers
    if found is not None and found != planned:
        yield f"there were {found} subscribers; planned are {planned}"


def _collectors(case: Case) -> Iterator[str]:
    """Garbage collection of the generator and the server."""
    if case.observed.generator_collects:
        yield "the generator's garbage collector was on in the measured part; planned is off"
    found, planned = case.observed.server_collector.get("thresholds"), COLLECTOR_THRESHOLDS[case.trial.gc]
    if found is not None and found != planned:
        yield f"the server collects garbage at the thresholds {found}; planned are {planned}"


def _processes(case: Case) -> Iterator[str]:
    """Whose CPU was read, and what serves."""
    seen, trial = case.observed, case.trial
    yield from _is(case, "server", seen.server, trial.transport)
    if trial.rtt_ms:
        yield from _is(case, "relay", seen.relay, "relay")
    ready = case.details.get("server") or {}
    pids = [(case.details.get(name) or {}).get("pid") for name in ("server", "relay")][: len(seen.begin_pids)]
    if seen.begin_pids != pids:
        yield f"CPU was read of the processes {seen.begin_pids} at the beginning; server and relay are {pids}"
    if seen.idle_pid is not None and seen.idle_pid != ready.get("pid"):
        yield f"the CPU of the idle server was read of process {seen.idle_pid}; the server is {ready.get('pid')}"
    if seen.idle_share is not None and seen.idle_share not in IDLE_SHARE:
        yield (
            f"the idle server used {seen.idle_share:.2%} of a core; allowed are {IDLE_SHARE.low:.2%} to "
            f"{IDLE_SHARE.high:.0%}"
        )
    options = case.options("server")
    if options.get("heartbeat_s", case.plan.heartbeat_s) != case.plan.heartbeat_s:
        yield f"the server has heartbeats every {options['heartbeat_s']} s; planned is every {case.plan.heartbeat_s} s"


def _cpu(case: Case) -> Iterator[str]:
    """Was what the idle server uses subtracted, and that once? Under load, edges of the measured part say more."""
    if case.trial.purpose not in JUDGED_BY_THEORY:
        return
    names = ("server_cpu_us_per_event", "received_events_per_s", "server_cpu_share")
    per_event_us, rate_hz, share = (case.metrics.get(name) for name in names)
    if (
        per_event_us is None
        or rate_hz is None
        or share is None
        or share < 0
        or case.observed.idle_share not in IDLE_SHARE
    ):
        return
    assert case.observed.idle_share is not None
    busy, used = per_event_us * rate_hz / 1e6, share - case.observed.idle_share
    if abs(busy - used) > BUSY_SHARE + BUSY_OFF * abs(used):
        yield (
            f"the deliveries cost {busy:.2%} of a core; the server used {used:.2%} beyond what it uses while it is idle"
        )


def _network(case: Case) -> Iterator[str]:
    """What the trial's own relay models, and how the sockets of server and relay send."""
    plan, relay = case.plan, case.options("relay").get("network") or {}
    planned = {
        "rtt_ms": case.trial.rtt_ms,
        "jitter_ms": plan.jitter_ms,
        "bandwidth_mbit_s": plan.bandwidth_mbit_s,
        "loss": plan.loss,
    }
    for name, of in planned.items() if relay and case.trial.rtt_ms else ():
        if relay.get(name) != of:
            yield f"the relay's network has {name} {relay.get(name)}; planned is {of:g}"
    for who in ("server", "relay"):
        sends = (case.details.get(who) or {}).get("socket") or {}
        if sends.get("congestion_control", CONGESTION_CONTROL) != CONGESTION_CONTROL:
            yield f"the {who}'s congestion control is {sends['congestion_control']}; planned is {CONGESTION_CONTROL}"
        if sends.get("mss_bytes", MAX_SEGMENT_BYTES) != MAX_SEGMENT_BYTES:
            yield f"the {who}'s segments have up to {sends['mss_bytes']} B; planned are {MAX_SEGMENT_BYTES}"


def _policies(case: Case) -> Iterator[str]:
    """Probes that have a process of their own run before all others, where the relay may too."""
    processes, allowed = case.details.get("scheduling", []), case.options("relay").get("scheduling")
    probes = [policy for kind, policy in processes if kind == "probes"]
    if allowed and len(processes) > len(probes) and any(policy != allowed for policy in probes):
        yield f"the probes' process has the scheduling policy {probes[0]!r}; the relay's is {allowed!r}"


def _is(case: Case, name: str, process: Process | None, transport: str) -> Iterator[str]:
    """Is this process the one whose ready line was read, and does it serve what was asked?"""
    ready = case.details.get(name) or {}
    if process is None:
        return
    said = ready.get("pid"), ready.get("transport")
    words = process.command.split()
    if said != (process.pid, transport) or "servers" not in words or transport not in words:
        yield (
            f"the {name}'s CPU was read of process {process.pid} ({process.command[:80]}); the {name} is {said[0]}, "
            f"serving {said[1]}"
        )
