"""One generator process of locust: an event loop in a thread, the population on it, and locust's statistics."""

from typing import Any, NamedTuple

import gevent

from bench.generators.locust_stats import merge_deliveries
from bench.generators.loop_thread import LoopThread
from bench.generators.population import Population
from bench.generators.spec import MAX_SAMPLES, SAMPLE_FIELDS, LoadSpec, Records
from feed.console.printable import printable
from feed.instruments.clock import run_first

MERGE_INTERVAL_S = 1.0


class WorkerSlot(NamedTuple):
    """The share of one generator process: load subscribers are dealt out to the load processes in turn."""

    turn: int = 0
    """The number of this process among the load processes."""
    of: int = 1
    """The number of load processes."""
    first: bool = False
    """This process has the probes, and others have the load: noting an instant must not queue behind the load."""


class Generator:
    """Subscribers from the start of a test to its end. Call from greenlets."""

    def __init__(self, environment: Any, spec: LoadSpec, slot: WorkerSlot) -> None:
        self.environment = environment
        self.spec = spec
        self.slot = slot
        self.thread = LoopThread()
        self.population: Population = self.thread.run(Population, spec)
        self.scheduling: str = self.thread.run(run_first) if slot.first else "other"
        self.samples = bytearray()
        self.failures: list[str] = []
        self.probes: list[int] = []
        self.loads: list[int] = []
        self._merger = gevent.spawn(self._merge_for_ever)

    def add(self, is_probe: bool) -> int:
        """Add the next subscriber of this process; returns its number, unique over all processes of the test."""
        if is_probe:
            index = len(self.probes)
            self.probes.append(index)
        else:
            index = self.spec.probes + len(self.loads) * self.slot.of + self.slot.turn
            self.loads.append(index)
        self.thread.call(self.population.add, index)
        return index

    def merge(self) -> None:
        """Add what was recorded since the last call to locust's statistics; a trial keeps it as well."""
        self.thread.run(self.population.take)
        while self.population.batches:
            batch = self.population.batches.popleft()
            if self.spec.socket:
                self.samples += batch.tobytes()
            merge_deliveries(self.environment.stats, self.spec.transport, batch, self.spec.payload_bytes)
        while self.population.failures:
            failure = printable(self.population.failures.popleft())
            self.failures.append(failure)
            self.environment.stats.log_error("EVENT", self.spec.transport, failure)
        if len(self.samples) > MAX_SAMPLES * len(SAMPLE_FIELDS) * 8:
            raise MemoryError(f"over {MAX_SAMPLES} deliveries in one generator process: lower the rate or the duration")

    def finish(self) -> Records:
        """Disconnect all subscribers and stop. Returns everything that this process recorded."""
        self._merger.kill()
        records: Records = self.thread.run(self.population.finish)
        self.merge()
        records.probes, records.loads = self.probes, self.loads
        records.samples, records.failures = bytes(self.samples), self.failures
        records.scheduling = self.scheduling
        return records

    def close(self) -> None:
        """Name the subscribers without a connection, disconnect all of them and stop."""
        self._merger.kill()
        self.thread.run(self.population.fail_unconnected)
        self.thread.run(self.population.close)
        self.merge()

    def _merge_for_ever(self) -> None:
        while True:
            gevent.sleep(MERGE_INTERVAL_S)
            self.merge()
