"""The facts of one trial (``Observed``), from what its processes recorded. Pure."""

from statistics import median
from typing import Final

import numpy as np

from bench.generators.spec import Records
from bench.plan.trials import TrialPlan
from bench.results.observed import Observed, SentRequest
from bench.results.run import Idle, Plan
from bench.theory.latency import Conditions, poll_cycle_s
from bench.trial.excess import Position, Span, excess
from bench.trial.metrics import Gauges, Samples, totals
from feed.instruments.clock import NS_PER_MS, NS_PER_S
from feed.transports import POLLING

HOST: Final = "{host}"
SAME_READ_NS: Final = 500_000


def observe(
    plan: Plan, trial: TrialPlan, idle: Idle | None, records: list[Records], gauges: Gauges, samples: Samples
) -> Observed:
    """All facts of a trial but those of its processes. ``samples``: the measured deliveries."""
    latency_ms = samples.latency_ms
    found = Observed(
        earliest_ms=float(latency_ms.min()),
        impossible=int(np.count_nonzero(latency_ms < trial.rtt_ms / 2)),
        server_collector=gauges.server_stats.get("collector", {}),
        server=gauges.end.server,
        relay=gauges.end.relay,
        begin_pids=[process.pid for process in (gauges.begin.server, gauges.begin.relay) if process is not None],
        idle_pid=gauges.idle_pid,
        idle_share=gauges.server_idle_share,
    )
    facts = [record.facts for record in records if record.facts is not None]
    if len(facts) == len(records):
        _add_facts(found, plan, trial, records, samples)
    if len(facts) == len(records) and all(record.quiet for record in records):
        found.excess = excess(plan, trial, idle, _span(records))
    return found


def _add_facts(found: Observed, plan: Plan, trial: TrialPlan, records: list[Records], samples: Samples) -> None:
    """What the generator's processes saw."""
    facts = [record.facts for record in records if record.facts is not None]
    heartbeats = [count for of in facts for count in of.heartbeats]
    found.subscribers = len({one for record in records for one in (*record.probes, *record.loads)})
    found.codings = sorted({coding for of in facts for coding in of.codings})
    found.requests = {name: _sent(headers) for of in reversed(facts) for name, headers in of.requests.items()}
    found.heartbeats_most, found.heartbeats_least = max(heartbeats, default=None), min(heartbeats, default=None)
    found.life_s = max(of.age_s for of in facts)
    found.heartbeat_period_s = _median([period_s for of in facts for period_s in of.heartbeat_periods_s])
    polls_ns = [polls for of in facts for polls in of.polls_ns]
    if trial.transport == POLLING and polls_ns:
        cycle_s = poll_cycle_s(Conditions(trial.rtt_ms, 1.0, trial.poll_interval_s, plan.hold_s))
        found.poll_period_s = _median([poll_period_s(polls, cycle_s) for polls in polls_ns if len(polls) > 1])
        found.poll_kuiper = kuiper([polls[-1] / NS_PER_S / cycle_s % 1 for polls in polls_ns])
    found.holds_s = sorted({hold_s for of in facts for hold_s in of.holds_s})
    found.empty_early_s = max(of.empty_early_s for of in facts) if trial.transport == "long_polling" else None
    found.generator_collects = any(of.gc_enabled or of.gc_collections for of in facts)
    probed = [record for record in records if record.probes and record.facts is not None and record.facts.stamps]
    stamps = [pair for record in probed for pair in (record.facts.stamps if record.facts else [])]
    if stamps:
        found.stamp_after_kernel_ms = median(stamp - kernel for stamp, kernel in stamps) / NS_PER_MS
        found.tick_ms = max(of.tick_ns for of in facts) / NS_PER_MS
        found.stamps_recorded = _recorded([stamp for stamp, _ in stamps], samples)


def _recorded(stamps: list[int], samples: Samples) -> float:
    """The share of newest stamps that are those of a delivery; chunked transfer may end after the event."""
    recorded, newest = np.sort(samples.receive_ns), np.array(stamps)
    before = recorded[np.maximum(np.searchsorted(recorded, newest, side="right") - 1, 0)]
    return float(np.mean((newest >= before) & (newest - before <= SAME_READ_NS)))


def _median(values: list[float]) -> float | None:
    return median(values) if values else None


def poll_period_s(polls_ns: list[int], planned_s: float) -> float:
    """Mean time from one tick to the next; a gap over several planned periods counts as ticks that were missed."""
    gaps_s = np.diff(np.array(polls_ns)) / NS_PER_S
    return float(gaps_s.sum() / np.maximum(1, np.round(gaps_s / planned_s)).sum())


def _sent(headers: list[tuple[str, str]]) -> SentRequest:
    """The names of these headers and the bytes of their lines, the server's address left out."""
    address = next((value for name, value in headers if name.lower() == "host"), HOST)
    lines = [f"{name}: {value}\r\n".replace(address, HOST) for name, value in headers]
    return SentRequest(sorted(name.lower() for name, _ in headers), sum(map(len, lines)))


def kuiper(phases: list[float]) -> float:
    """Kuiper's statistic of phases between 0 and 1, made independent of their number (Stephens, 1970).

    It does not depend on where the circle is cut. Even phases exceed 3 once in a million; phases that are all equal
    reach about the square root of their number.
    """
    ordered, n = np.sort(np.array(phases)), len(phases)
    steps = np.arange(n)
    distance = float(np.max((steps + 1) / n - ordered) + np.max(ordered - steps / n))
    return distance * float(n**0.5 + 0.155 + 0.24 / n**0.5)


def _span(records: list[Records]) -> Span:
    """What was moved from before the first event until all were delivered."""
    begin, end = records[0].quiet, records[0].drained
    assert begin is not None and end is not None
    sent = (headers for of in records if of.facts for headers in of.facts.requests.values())
    return Span(
        moved=totals(records, "quiet", "drained"),
        seconds=(end.at_ns - begin.at_ns) / NS_PER_S,
        header_bytes=sum(len(f"{name}: {value}\r\n") for name, value in next(sent, [])),
        positions=[Position(*pair) for record in records if record.facts for pair in record.facts.positions],
    )
