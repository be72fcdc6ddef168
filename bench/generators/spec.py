"""The load of one trial, from orchestrator to generator, and the records that the generator sends back. Plain data.

The generator's processes get the path of a ``LoadSpec`` file in the environment (``SPEC_VARIABLE``).
"""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.generators.facts import Facts
from bench.generators.scripts.script import ScriptLoad
from bench.generators.window import Window, window
from feed.instruments.clock import NS_PER_S
from feed.schedule import Schedule, dues
from feed.transports import TRANSPORTS

SPEC_VARIABLE: Final = "PUSHMARK_LOAD_SPEC"
MAX_SAMPLES: Final = 20_000_000
MAX_REQUESTS: Final = 1_000_000
"""Requests of one kind in one trial: each is kept until the trial ends."""
METHOD: Final = "EVENT"
"""What locust's statistics show as the method of a delivery."""
SAMPLE_FIELDS: Final = ("subscriber", "n", "due_ns", "receive_ns")
"""One delivery is these four 64-bit integers in a row."""
REPEAT_FIELDS: Final = ("subscriber", "n")
"""One delivery that a client left out as a duplicate, likewise."""
MAX_REPEATS: Final = 1_000_000
"""Most duplicates that a process records of one trial."""
UNANSWERED: Final = "unanswered"
"""Outcome of a request that still waited for its answer when the trial ended."""
ANSWERED: Final = "ok"


class RequestLoad(msgspec.Struct, frozen=True):
    """Requests of one kind, sent when they are due, whether or not earlier ones are answered (open loop).

    ``schedule`` counts from the start of the feed. Its rooms stand for the senders: a request that is due in room i is
    sent by subscriber i. Raises ``ValueError`` for a schedule without a limit, or with more than ``MAX_REQUESTS``.
    """

    kind: str
    """The name of these requests in the records."""
    type: str
    """The request's ``type`` (docs/protocol.md, Requests)."""
    schedule: Schedule
    fields: dict[str, Any] = {}
    """The other fields of each request."""

    def __post_init__(self) -> None:
        if not 1 <= self.schedule.limit <= MAX_REQUESTS:
            raise ValueError(f"{self.kind}: {self.schedule.limit} requests; allowed are 1 to {MAX_REQUESTS}")


class LoadSpec(msgspec.Struct, frozen=True):
    """One trial from the generator's side.

    The server's address is not in it: it comes with the command to connect, so that locust can boot while the server
    does. Subscribers ``0 .. probes-1`` are probes, in a process of their own if there are others; subscriber i is in
    room ``i mod rooms``. Raises ``ValueError`` for requests on a transport without any, or by subscribers that do not
    exist.
    """

    transport: str
    variant: str = ""
    ca_file: str = ""
    """Certificate authority to trust, for TLS."""
    rooms: int = 1
    subscribers: int = 1
    probes: int = 0
    """Latency subscribers: every delivery to one of them is a sample."""
    poll_interval_s: float = 1.0
    hold_s: float = 25.0
    headers: str = "browser"
    seed: int = 1
    ramp_s: float = 0.5
    drain_s: float = 1.0
    """Longest wait for missing deliveries and answers after the last event ..."""
    settle_s: float = 0.0
    """... and shortest time after it until connections are closed."""
    warmup_events: int = 0
    schedule: Schedule = Schedule()
    """Warm-up and measured events of the feed."""
    payload_bytes: int = 256
    requests: list[RequestLoad] = []
    """Requests of subscribers; empty: every subscriber only receives."""
    script: ScriptLoad | None = None
    """What subscribers do in a scenario, in place of receiving a feed."""
    tokens: list[str] = []
    """Of each subscriber, and of those whom its script connects; empty: all are anonymous."""
    cores: list[int] = []
    """Cores of the generator's processes, in turn; the probes' first."""
    socket: str = ""
    """Unix socket of the orchestrator; empty when locust is run by hand."""
    records_file: str = ""

    def __post_init__(self) -> None:
        if self.script is not None and not TRANSPORTS[self.transport].takes_requests:
            raise ValueError(f"{self.script.name}: {self.transport} takes no requests")
        for load in self.requests:
            if not TRANSPORTS[self.transport].takes_requests:
                raise ValueError(f"{load.kind}: {self.transport} takes no requests")
            if load.schedule.rooms > self.subscribers:
                raise ValueError(f"{load.kind}: {load.schedule.rooms} senders among {self.subscribers} subscribers")

    def window(self) -> Window:
        """The measured part of the schedule, or of the script."""
        if self.script is not None:
            return Window(round(self.script.begin_s * NS_PER_S), round(self.script.end_s * NS_PER_S), [])
        return window(self.schedule, self.warmup_events, self.schedule.limit - self.warmup_events)

    def deliveries_to(self, subscribers: list[int]) -> int:
        """The number of events of the feed due to these subscribers, warm-up included."""
        per_room = Counter(due.room for due in dues(self.schedule))
        return sum(per_room[index % self.rooms] for index in subscribers)


class Mark(msgspec.Struct):
    """Counters of one process at one instant: the ledger's totals and CPU time."""

    totals: dict[str, int]
    cpu_ns: int
    at_ns: int
    """When they were read; a busy event loop reads them late."""


class RequestSample(msgspec.Struct, array_like=True):
    """One request. All instants on CLOCK_MONOTONIC, nanoseconds."""

    kind: str
    subscriber: int
    n: int
    """Its number among the requests of its kind and subscriber."""
    due_ns: int
    sent_ns: int
    """When it was handed to the client."""
    answered_ns: int = 0
    """When its answer was handed to the application; 0 for one without an answer."""
    outcome: str = UNANSWERED
    """``ok``, the code of the server's refusal (docs/protocol.md), the name of the client's error, or
    ``unanswered``."""


class Records(msgspec.Struct):
    """Everything that one generator process recorded during a trial."""

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
    """Policy of the receiving thread: ``fifo`` if it runs before all others (``feed.instruments.clock.run_first``)."""
    requests: list[RequestSample] = []
    """In the order in which they were sent."""
    quiet: Mark | None = None
    """Before the first event: no delivery is under way. ``None`` if the host was too slow for that, and from a
    generator that is not ours."""
    drained: Mark | None = None
    """When all events were delivered, and all clients still connected."""
    facts: Facts | None = None
    repeats: bytes = b""
    """``REPEAT_FIELDS`` as ``samples``; empty from a generator whose samples hold duplicates as well."""
    rows: dict[str, bytes] = {}
    """What the script recorded: kind -> rows of its ``FIELDS``."""
    ports: list[int] = []
    """The connections' local ports; empty from a generator that is not ours."""


class GeneratorRecords(msgspec.Struct):
    """The records of all processes of one trial."""

    processes: list[Records]


def save_records(records: list[Records], path: Path) -> None:
    """Write the records of every process. Raises ``OSError``."""
    path.write_bytes(msgspec.msgpack.encode(GeneratorRecords(records)))


def load_records(path: Path) -> list[Records]:
    """The records of every process: MessagePack, or JSON from a generator that is not Python."""
    data = path.read_bytes()
    decode = msgspec.json.decode if data[:1] == b"{" else msgspec.msgpack.decode
    return decode(data, type=GeneratorRecords).processes


def load_spec(path: Path) -> LoadSpec:
    """Read a spec file. Raises ``OSError`` and ``msgspec.DecodeError``."""
    return msgspec.json.decode(path.read_bytes(), type=LoadSpec)
