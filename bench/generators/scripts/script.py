"""The contract between a population and a script: what its subscribers do, and what is kept of what they receive.

A script runs in the generator's event loop, on shipped clients. It records rows of 64-bit integers by kind; what they
mean is said by ``FIELDS``, and what they amount to is calculated when the trial is over (``bench.scenarios``).
"""

import random
from array import array
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec

from clients.core.client import Client
from feed.envelope import Envelope
from feed.instruments.clock import Timer


class ScriptLoad(msgspec.Struct, frozen=True):
    """A script's part of a ``LoadSpec``: its name and options, and the measured part in seconds from the start."""

    name: str
    options: dict[str, Any] = {}
    begin_s: float = 0.0
    end_s: float = 1.0


class Stage(NamedTuple):
    """What a script is handed."""

    load: ScriptLoad
    seed: int
    clients: Mapping[int, Client]
    """Subscriber -> its client, of those in this process."""
    timer: Timer
    subscribers: int
    """Of all processes."""
    connect: Callable[[int], Client]
    """A client for somebody beyond the subscribers, as theirs but for its user; nothing of it is recorded."""
    cut: Callable[[], None]
    """End all connections of this process at once."""


class Script:
    """Base class. All methods are called in the event loop."""

    FIELDS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Kind of row -> the names of its integers."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.rows: dict[str, array[int]] = {kind: array("q") for kind in self.FIELDS}

    def option(self, name: str) -> Any:
        """An option of the load."""
        return self.stage.load.options[name]

    def draw(self, index: int) -> random.Random:
        """A source of chance for one subscriber, the same for every transport of a block."""
        return random.Random(f"script-{self.stage.seed}-{index}")

    async def enter(self, index: int) -> None:
        """The subscriber is connected: join rooms and get what stands there, before anything is measured."""

    async def act(self, index: int, start_ns: int) -> None:
        """What the subscriber does from ``start_ns`` on; cancelled at the end of the trial."""

    def take(self, index: int, envelope: Envelope, receive_ns: int) -> None:
        """The subscriber has received something, notices left out."""

    def finish(self) -> None:
        """The trial is over, and everything has come that comes: record what stands at the end."""
