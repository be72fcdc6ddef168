"""What the clients of one generator process saw besides their deliveries. Taken once, when all were delivered."""

from collections.abc import Mapping

import msgspec

from clients.core.client import Client
from clients.core.sightings import Sightings
from feed.instruments.clock import tick_ns


class Facts(msgspec.Struct):
    """Observed on the wire, to be compared with the plan (``bench.trial.plausible``)."""

    age_s: float
    """Since the first client began to connect."""
    requests: dict[str, list[tuple[str, str]]] = {}
    """Method and path -> the headers of the first such request, as they were sent."""
    codings: list[str] = []
    """Content codings and WebSocket extensions that answers named."""
    heartbeats: list[int] = []
    """Heartbeats of each stream."""
    heartbeat_periods_s: list[float] = []
    """Mean period of each stream that had two or more."""
    polls_ns: list[list[int]] = []
    """Each poller's newest polls (CLOCK_MONOTONIC), its first one left out."""
    holds_s: list[float] = []
    """Holds that long polls asked for, without those of first polls."""
    empty_early_s: float = 0.0
    """How much sooner than asked an empty answer ended a hold, at most."""
    positions: list[tuple[int, int]] = []
    """Each subscriber, and the sequence number of its newest event."""
    stamps: list[tuple[int, int]] = []
    """When the newest bytes of each connection came in the measured part, at its end and after it: by the client, and
    by the kernel."""
    tick_ns: int = 0
    """How far the kernel's times may be off (``Meter.stamps``)."""
    gc_enabled: bool = False
    """Was the garbage collector on at either end of the measured part?"""
    gc_collections: int = 0
    """Collections from the beginning of the measured part on."""


def facts_of(by_index: Mapping[int, Client], seen: Sightings, age_s: float) -> Facts:
    """The facts that clients hold, without stamps and collector."""
    clients = by_index.values()
    pollers = [client for client in clients if client.transport.is_poll and client.polls.count]
    streams = [client for client in clients if not client.transport.is_poll]
    return Facts(
        age_s=age_s,
        tick_ns=tick_ns(),
        requests={name: list(headers) for name, headers in seen.requests.items()},
        codings=sorted(seen.codings),
        heartbeats=[client.heartbeats.count for client in streams],
        heartbeat_periods_s=[of for client in streams if (of := client.heartbeats.period_s) is not None],
        polls_ns=[list(client.polls.newest) for client in pollers],
        positions=[(index, of.session.cursor.seq) for index, of in by_index.items() if of.session.cursor],
        holds_s=sorted(seen.holds_s),
        empty_early_s=seen.empty_early_s,
    )
