"""What a server says to Prometheus: the figures of ``/stats``, named and with units as its conventions ask.

Nothing is counted here. A collector reads the counters that there are whenever somebody scrapes, so that metrics cost
nothing between two scrapes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from feed.instruments.clock import NS_PER_S
from feed.instruments.meters import Lateness
from servers.gate.guard import Guard
from servers.hub.stats import Stats

QUANTILES: Final = (0.5, 0.99, 1.0)
_US_PER_S: Final = 1_000_000

_GAUGES: Final = {
    "connections_now": ("connections", "Open TCP connections."),
    "peers": ("peers", "Connected clients over all namespaces; a stateless poll is none."),
    "users": ("users", "Users with at least one connection, over all namespaces."),
    "rooms": ("rooms", "Rooms over all namespaces, inboxes included."),
    "sessions": ("sessions", "Receiving sides whose requests come by another connection."),
}
_COUNTERS: Final = {
    "connections_total": ("connections_opened", "TCP connections accepted."),
    "wire_bytes": ("wire_bytes", "Bytes on the wire in both directions, headers of TCP and IP included."),
    "aborted_slow_readers": ("aborted_slow_readers", "Connections cut because the peer took nothing for too long."),
    "request_timeouts": ("request_timeouts", "Requests that were not complete in time."),
    "events": ("events", "Events published, over all namespaces."),
    "deliveries": ("deliveries", "Events handed to subscribers."),
    "requests": ("requests", "Polls answered and streams begun."),
    "gaps": ("gaps", "Times a subscriber was told that events are missing."),
    "requests_acknowledged": ("requests_acknowledged", "Requests of clients that were carried out."),
    "requests_refused": ("requests_refused", "Requests of clients that were answered with an error."),
}


def exposition(transport: str, stats: Stats, guard: Guard, counts: Mapping[str, int]) -> tuple[bytes, str]:
    """The text that Prometheus scrapes, and its content type. ``counts``: what ``Namespace.counts`` gives, added up."""
    registry = CollectorRegistry(auto_describe=False)
    values = {**guard.summary(), **stats.summary(), **counts}
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
        """What ``POST /stats/reset`` lets begin again, as a restart of the server would."""
        stats = self._stats
        late = "How much later than due an event was published."
        yield self._summary("publisher_lateness_seconds", late, stats.publisher_lateness)
        yield self._summary("loop_lag_seconds", "How late a timer fires on the event loop.", stats.loop_lag)
        pauses = Metric(
            "pushmark_gc_pause_seconds", "How long Python's garbage collector stopped the process.", "summary"
        )
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
