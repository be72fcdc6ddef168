"""The context of a run, which all its trials share, and the processes of one trial."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from bench.generators.spec import LoadSpec
from bench.machine.hiccup import Hiccups
from bench.machine.host import Placement
from bench.machine.processes import Child
from bench.results.run import Idle, Plan
from bench.trial.channel import GeneratorChannel


class IdleCpu(NamedTuple):
    """CPU of the server without connections, as a share of a core, and the process that it was read of."""

    share: float
    pid: int


class TrialProcesses(NamedTuple):
    """The processes of one trial, all of them running."""

    server: Child
    relay: Child | None
    generator: Child
    channel: GeneratorChannel
    spec: LoadSpec
    """The generator's task; it leaves its records in ``spec.records_file``."""
    url: str
    """Where the generator connects: the server's address, or that of what stands in front of it."""
    server_idle: IdleCpu

    @property
    def all(self) -> list[Child]:
        """Every process, the generator first."""
        return [child for child in (self.generator, self.server, self.relay) if child is not None]

    async def receive(self, event: str, timeout_s: float) -> None:
        """Wait until the generator reports ``event``; raises what ``GeneratorChannel.receive`` raises."""
        await self.channel.receive(event, self.all, timeout_s)


Watch = Callable[[TrialProcesses], AbstractAsyncContextManager[object]]
"""Entered before the generator connects, left when it has recorded its last segment and all others still run."""


class RunContext(NamedTuple):
    """Plan, folder, placement and meters, which all trials of a run share."""

    plan: Plan
    folder: Path
    placement: Placement
    hiccups: Hiccups
    idle: dict[str, Idle]
    watch: Watch = nullcontext
    evaluate: Callable[..., None] | None = None
    """Fills a trial's record in place of ``bench.trial.evaluate.evaluate``, with the same parameters."""
    relay_reasons: Mapping[float, list[str]] = MappingProxyType({})
    """Round trip -> why a relay with it is not what it should be, as seen from outside."""
