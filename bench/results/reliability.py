"""The results of breaking things, and of long use (docs/results-format.md). Pure."""

from typing import Final

import msgspec

from bench.results.provenance import Provenance

FAULTS: Final = ("kill", "cut", "stall")

ATTACKS: Final = ("half_open_handshake", "slowloris", "non_reading", "reset_mid_message")
"""What hostile clients do to a server."""


class FaultTrial(msgspec.Struct):
    """One fault, once: many clients, and what became of them. Times in seconds."""

    transport: str
    fault: str
    repeat: int
    clients: int
    outage_s: float
    """From the fault until the server could be reached again."""
    recover_s: list[float]
    """Per client: from then until it heard from the server again."""
    undisturbed: int
    """Clients whose connection outlived the fault."""
    never_back: int
    handshakes_per_s_peak: int
    """Most clients that came back within one second."""
    delivered: int
    silently_lost: int
    duplicates: int
    gaps: int
    """Clients that were told of a gap."""
    resumed: int
    """Clients that were told that nothing is missing."""


class HostileTrial(msgspec.Struct):
    """One attack, once: hostile clients next to good clients on one server. Latencies are those of the good ones."""

    transport: str
    attack: str
    repeat: int
    hostile_clients: int
    """At once; of ``reset_mid_message``, new ones per second."""
    baseline_ms_p99: float
    """99th percentile of latency without hostile clients."""
    attack_ms_p99: float
    """99th percentile of latency under attack."""
    rss_bytes_per_hostile_client: float
    """Growth of the server's resident memory under attack."""
    delivered: int
    expected: int


class FaultResults(Provenance):
    """One run of ``python -m bench faults``."""

    seed: int
    rate_hz: float
    window_events: int
    """Events of each window of a hostile trial: one window at baseline, one under attack."""
    trials: list[FaultTrial]
    hostile: list[HostileTrial]


class SoakSample(msgspec.Struct):
    """One reading of a server while clients come and go."""

    at_s: float
    rss_bytes: int
    open_files: int
    tasks: int
    connections: int


class SoakResult(msgspec.Struct):
    """One transport's soak: before, during, and after every client has left."""

    transport: str
    before: SoakSample
    samples: list[SoakSample]
    after: SoakSample
    lives: int
    """Clients that came and went."""
    requests: int
    failures: list[str]


class SoakResults(Provenance):
    """One run of ``python -m bench soak``."""

    seed: int
    duration_s: float
    clients: int
    servers: list[SoakResult]


def kept(result: SoakResult) -> list[str]:
    """What a server has not let go, in words; empty: everything returned to where it was."""
    names = ("open_files", "tasks")
    pairs = [(name, getattr(result.before, name), getattr(result.after, name)) for name in names]
    return [
        f"{name.replace('_', ' ')} {before} before, {after} after" for name, before, after in pairs if after > before
    ]


def slope_bytes_per_min(result: SoakResult) -> float:
    """Growth of resident memory over the second half, by least squares: the first half fills caches and histories."""
    samples = result.samples[len(result.samples) // 2 :]
    if len(samples) < 3:
        return 0.0
    mean_t = sum(sample.at_s for sample in samples) / len(samples)
    mean_y = sum(sample.rss_bytes for sample in samples) / len(samples)
    over = sum((sample.at_s - mean_t) * (sample.rss_bytes - mean_y) for sample in samples)
    return 60.0 * over / sum((sample.at_s - mean_t) ** 2 for sample in samples)
