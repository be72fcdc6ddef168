"""What the orchestrator tells the generator about one trial, and what the generator sends back. Plain data.

The generator's processes get the path of a ``LoadSpec`` file in the environment (``SPEC_VARIABLE``).
"""

from pathlib import Path
from typing import Final

import msgspec

from feed.schedule import Schedule

SPEC_VARIABLE: Final = "PUSHMARK_LOAD_SPEC"
MAX_SAMPLES: Final = 20_000_000
SAMPLE_FIELDS: Final = ("subscriber", "n", "due_ns", "receive_ns")
"""One delivery is these four 64-bit integers in a row."""


class LoadSpec(msgspec.Struct, frozen=True):
    """The address is not in it: it comes with the order to begin, so that locust can boot while the server does.

    Subscribers ``0 .. probes-1`` are probes, in a process of their own if there are others; subscriber i is in
    room ``i mod rooms``."""

    transport: str
    variant: str = ""
    ca_file: str = ""
    """Authority to trust, for TLS."""
    rooms: int = 1
    subscribers: int = 1
    probes: int = 0
    poll_interval_s: float = 1.0
    hold_s: float = 25.0
    headers: str = "browser"
    seed: int = 1
    ramp_s: float = 0.5
    drain_s: float = 1.0
    """At most so long is awaited what has not come yet ..."""
    settle_s: float = 0.0
    """... and at least so long, in which the connections stay as they are."""
    warmup_events: int = 0
    schedule: Schedule = Schedule()
    payload_bytes: int = 256
    cores: list[int] = []
    """Cores of the generator's processes, in turn; the probes' first."""
    socket: str = ""
    """Unix socket of the orchestrator; empty when locust is run by hand."""
    records_file: str = ""


class Mark(msgspec.Struct):
    """Counters of one process at one instant: the ledger's totals and CPU time."""

    totals: dict[str, int]
    cpu_ns: int
    at_ns: int
    """When they were read: a busy event loop comes to it late."""


class Records(msgspec.Struct):
    """Everything one generator process has to tell after a trial."""

    pid: int
    probes: list[int]
    loads: list[int]
    samples: bytes
    """``SAMPLE_FIELDS`` as consecutive native 64-bit integers."""
    begin: Mark
    end: Mark
    final: Mark
    counts: dict[str, int]
    """Sums over sessions: duplicates, out_of_order, gaps, missed, reconnects."""
    failures: list[str]
    loop_lag: dict[str, float]
    gc_pauses: dict[str, float]
    scheduling: str = "other"
    """Of the thread that receives: ``fifo`` if it runs before all others (``feed.instruments.clock.run_first``)."""


class GeneratorRecords(msgspec.Struct):
    """The records of all processes of one trial."""

    processes: list[Records]


def load_records(path: Path) -> list[Records]:
    """What every process recorded: MessagePack, or JSON from a generator that is not Python."""
    data = path.read_bytes()
    decode = msgspec.json.decode if data[:1] == b"{" else msgspec.msgpack.decode
    return decode(data, type=GeneratorRecords).processes


def load_spec(path: Path) -> LoadSpec:
    """Read a spec file. Raises ``OSError`` and ``msgspec.DecodeError``."""
    return msgspec.json.decode(path.read_bytes(), type=LoadSpec)
