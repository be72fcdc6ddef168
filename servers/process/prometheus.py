"""Metrics for Prometheus: the figures of ``/stats``, with names and units by Prometheus' conventions.

Nothing is counted here: each scrape reads the existing counters, so metrics cost nothing between scrapes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from feed.instruments.clock import NS_PER_S
from feed.instruments.meters import Lateness
from servers.gate.watchdog import ConnectionWatchdog
from servers.hub.stats import Stats

QUANTILES: Final = (0.5, 0.99, 1.0)
_US_PER_S: Final = 1_000_000

_GAUGES: Final = {
    "connections_now": ("connections", "Open TCP connections."),
    "peers": ("peers", "Connected clients over all namespaces; polls without a session are not counted."),
    "users": ("users", "Users with at least one connection, over all namespaces."),
    "rooms": ("rooms", "Rooms over all namespaces, inboxes included."),
    "sessions": ("sessions", "Sessions, for transports whose requests come by another connection than events."),
}
_COUNTERS: Final = {
    "connections_total": ("connections_opened", "TCP connections accepted."),
    "wire_bytes": ("wire_bytes", "Bytes on the wire in both directions, headers of TCP and IP included."),
    "aborted_slow_readers": (
        "aborted_slow_readers",
        "Connections reset because the peer did not read.",
    ),
    "request_timeouts": ("request_timeouts", "Requests that were not complete in time."),
    "events": ("events", "Events published, over all namespaces."),
    "deliveries": ("deliveries", "Events handed to subscribers."),
    "requests": ("requests", "Polls answered and streams begun."),
    "gaps": ("gaps", "Times a subscriber was told that events are missing."),
    "requests_acknowledged": ("requests_acknowledged", "Requests of clients that were carried out."),
    "requests_refused": ("requests_refused", "Requests of clients that were answered with an error."),
}


def exposition(
    transport: str, stats: Stats, watchdog: ConnectionWatchdog, counts: Mapping[str, int]
) -> tuple[bytes, str]:
    """The text that Prometheus scrapes, and its content type. ``counts``: sums of ``Namespace.counts``."""
    registry = CollectorRegistry(auto_describe=False)
    values = {**watchdog.summary(), **stats.summary(), **counts}
    registry.register(_Figures(transport, stats, values))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Figures(Collector):
    def __init__(self, transport: str, stats: Stats, values: Mapping[str, Any]) -> None:
        self._transport = transport
        self._stats = stats
        self._values = values

    def collect(self) -> Iterable[Metric]:
        for key, (name, help_) in _GAUGES.items():
            yield self._one(GaugeMetricFamily(f"pushmark_{name}", help_, labels=["transport"]), self._values[key])
        for key, (name, help_) in _COUNTERS.items():
            yield self._one(CounterMetricFamily(f"pushmark_{name}", help_, labels=["transport"]), self._values[key])
        yield from self._since_reset()

    def _since_reset(self) -> Iterator[Metric]:
        """Metrics that ``POST /stats/reset`` starts over, as a restart of the server would."""
        stats = self._stats
        late = "Time from when an event was due to when it was published."
        yield self._summary("publisher_lateness_seconds", late, stats.publisher_lateness)
        yield self._summary("loop_lag_seconds", "Lateness of a timer on the event loop.", stats.loop_lag)
        pauses = Metric("pushmark_gc_pause_seconds", "Pauses of the process by Python's garbage collector.", "summary")
        labels = {"transport": self._transport}
        pauses.add_sample("pushmark_gc_pause_seconds_count", labels, stats.gc_pauses.count)
        pauses.add_sample("pushmark_gc_pause_seconds_sum", labels, stats.gc_pauses.total_ns / NS_PER_S)
        yield pauses

    def _one(self, family: GaugeMetricFamily | CounterMetricFamily, value: float) -> Metric:
        family.add_metric([self._transport], value)
        return family

    def _summary(self, name: str, help_: str, lateness: Lateness) -> Metric:
        metric = Metric(f"pushmark_{name}", help_, "summary")
        labels = {"transport": self._transport}
        for quantile in QUANTILES:
            value_s = lateness.value_us(quantile) / _US_PER_S
            metric.add_sample(f"pushmark_{name}", {**labels, "quantile": f"{quantile:g}"}, value_s)
        metric.add_sample(f"pushmark_{name}_count", labels, lateness.count)
        metric.add_sample(f"pushmark_{name}_sum", labels, lateness.total_us / _US_PER_S)
        return metric
