"""The generator without locust: the same subscribers in a bare uvloop process, which shows what locust adds.

``python -m bench.generators.bare`` takes its trial from the environment and follows the same orders as
``bench.generators.driver``.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.generators.population import Population
from bench.generators.spec import SPEC_VARIABLE, GeneratorRecords, LoadSpec, Mark, load_spec
from bench.generators.window import window
from feed.instruments.clock import NS_PER_S
from feed.instruments.tcp import raise_open_files

CHECK_S = 0.02


async def follow(spec: LoadSpec) -> None:
    """Carry out one trial as the orchestrator orders it, and leave the records in ``spec.records_file``."""
    reader, writer = await asyncio.open_unix_connection(spec.socket)

    async def hear(command: str) -> dict[str, Any]:
        order: dict[str, Any] = json.loads(await reader.readline() or "{}")
        if order.get("command") != command:
            raise SystemExit(f"expected the order {command!r}, not {order}")
        return order

    def say(event: str) -> None:
        writer.write(json.dumps({"event": event}).encode() + b"\n")

    population = Population(spec)
    for index in range(spec.subscribers):
        population.add(index)
    say("ready")
    population.go((await hear("go"))["url"])
    while population.opened < spec.subscribers:  # noqa: ASYNC110 - a counter that locust reads from another thread, so it wakes no task
        await asyncio.sleep(CHECK_S)
    say("connected")
    await _play(spec, population, (await hear("window"))["start_ns"])
    say("records")
    await writer.drain()
    writer.close()


async def _play(spec: LoadSpec, population: Population, start_ns: int) -> None:
    part = window(spec.schedule, spec.warmup_events, spec.schedule.limit - spec.warmup_events)
    timer, marks = population.shared.timer, list[Mark]()
    timer.call_at(start_ns + part.begin_ns, lambda: marks.append(population.begin_window()))
    timer.call_at(start_ns + part.end_ns, lambda: marks.append(population.mark()))
    population.stop_collecting()
    await timer.sleep_until(start_ns + part.end_ns + round(spec.drain_s * NS_PER_S))
    records = await population.finish(*marks)
    records.probes = list(range(spec.subscribers))
    records.samples = b"".join(batch.tobytes() for batch in population.batches)
    records.failures = list(population.failures)
    await asyncio.to_thread(Path(spec.records_file).write_bytes, msgspec.msgpack.encode(GeneratorRecords([records])))


if __name__ == "__main__":
    raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(follow(load_spec(Path(os.environ[SPEC_VARIABLE]))))
