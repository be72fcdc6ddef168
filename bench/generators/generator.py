"""One generator process: an event loop in a thread, the population on it, and its link to locust's statistics."""

from typing import Any, NamedTuple

import gevent

from bench.generators.locust_stats import merge_deliveries
from bench.generators.loop_thread import LoopThread
from bench.generators.population import Population
from bench.generators.spec import MAX_SAMPLES, SAMPLE_FIELDS, LoadSpec, Mark, Records
from feed.console.printable import printable
from feed.instruments.clock import run_first

MERGE_INTERVAL_S = 1.0


class Place(NamedTuple):
    """Which of the load processes this one is: subscribers are dealt out to them in turn.

    ``first``: it has the probes, and others have the load. What notes an instant does not queue behind the load.
    """

    turn: int = 0
    of: int = 1
    first: bool = False


class Generator:
    """Made when a test starts, closed when it stops. Call from greenlets."""

    def __init__(self, environment: Any, spec: LoadSpec, place: Place) -> None:
        self.environment = environment
        self.spec = spec
        self.place = place
        self.thread = LoopThread()
        self.population: Population = self.thread.run(Population, spec)
        self.scheduling: str = self.thread.run(run_first) if place.first else "other"
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
            index = self.spec.probes + len(self.loads) * self.place.of + self.place.turn
            self.loads.append(index)
        self.thread.call(self.population.add, index)
        return index

    def merge(self) -> None:
        """Take what was recorded since the last call; add it to locust's statistics and, in a trial, keep it."""
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

    def finish(self, begin: Mark, end: Mark) -> Records:
        """Disconnect all subscribers and stop. Returns everything there is to tell about the trial."""
        self._merger.kill()
        records: Records = self.thread.run(self.population.finish, begin, end)
        self.merge()
        records.probes, records.loads = self.probes, self.loads
        records.samples, records.failures = bytes(self.samples), self.failures
        records.scheduling = self.scheduling
        return records

    def close(self) -> None:
        """Name who has no connection, disconnect all subscribers and stop."""
        self._merger.kill()
        self.thread.run(self.population.fail_unconnected)
        self.thread.run(self.population.close)
        self.merge()

    def _merge_for_ever(self) -> None:
        while True:
            gevent.sleep(MERGE_INTERVAL_S)
            self.merge()
