"""The generator without locust: the same subscribers in a bare uvloop process, which shows what locust adds.

``python -m bench.generators.bare`` takes its trial from the environment and follows the same steps as
``bench.generators.driver``.
"""

import asyncio
import os
from pathlib import Path

import uvloop

from bench.generators.channel import follow
from bench.generators.population import Population
from bench.generators.spec import SPEC_VARIABLE, LoadSpec, Records, load_spec
from feed.instruments.clock import NS_PER_S
from feed.instruments.tcp import raise_open_files


class Bare:
    """The steps of a trial, called from a thread that mostly waits; the population stays on the event loop."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._population = Population(spec)
        self._loop = asyncio.get_running_loop()

    def await_subscribers(self) -> None:
        asyncio.run_coroutine_threadsafe(self._add(), self._loop).result()

    def connect(self, url: str) -> None:
        self._loop.call_soon_threadsafe(self._population.connect, url)

    @property
    def opened(self) -> int:
        return self._population.opened

    @property
    def failure(self) -> str:
        return next(iter(self._population.failures), "")

    def measure(self, start_ns: int) -> list[Records]:
        return [asyncio.run_coroutine_threadsafe(self._measure(start_ns), self._loop).result()]

    async def _add(self) -> None:
        for index in range(self._spec.subscribers):
            self._population.add(index)

    async def _measure(self, start_ns: int) -> Records:
        spec, population = self._spec, self._population
        population.begin(start_ns)
        drained_ns = start_ns + spec.window().end_ns + round(spec.drain_s * NS_PER_S)
        await population.shared.timer.sleep_until(drained_ns)
        records = await population.finish()
        records.probes = list(range(spec.subscribers))
        records.samples = b"".join(batch.tobytes() for batch in population.batches)
        records.failures = list(population.failures)
        return records


async def main() -> None:
    """Be the generator of one trial."""
    spec = load_spec(Path(os.environ[SPEC_VARIABLE]))
    await asyncio.to_thread(follow, spec, Bare(spec))


if __name__ == "__main__":
    raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
