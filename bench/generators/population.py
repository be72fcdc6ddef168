"""The subscribers of one generator process: shipped clients on one event loop, and what they record.

Runs in the event loop's thread and knows nothing of locust. Every delivery is appended to one flat array of 64-bit
integers; ``take`` hands the array over and starts a new one. Some subscribers may send as well (``RequestLoad``).
"""

import asyncio
import gc
import math
import os
import random
import time
from array import array
from collections import deque
from contextlib import aclosing
from functools import partial

from bench.generators.facts import facts_of
from bench.generators.scripts.registry import SCRIPTS
from bench.generators.scripts.script import Script, Stage
from bench.generators.sending import Sending
from bench.generators.spec import MAX_REPEATS, REPEAT_FIELDS, LoadSpec, Mark, Records
from clients.core.client import Client, State, new_client, new_shared
from clients.core.options import ClientOptions
from feed.envelope import Envelope, decode_stamp
from feed.instruments.clock import NS_PER_S, now_ns
from feed.instruments.meters import GcPauses, Lateness, measure_loop_lag
from feed.rooms import room_name


class Population:
    """Subscribers of one process. Create and call inside the event loop; counters may be read from any thread."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.shared = new_shared(spec.seed)
        self.opened = 0
        self.failures: deque[str] = deque(maxlen=100)
        self.batches: deque[array[int]] = deque()
        """Deliveries handed over by ``take``, each as ``SAMPLE_FIELDS`` in a row."""
        self.loop_lag = Lateness()
        self.gc_pauses = GcPauses()
        self._samples: array[int] = array("q")
        self._repeats: array[int] = array("q")
        self._left_out = 0
        """What clients left out because it had come before, in whichever room."""
        self._clients: dict[int, Client] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sending = Sending(self._clients, self.shared.timer, self.failures)
        self._script = self._script_of(spec)
        self._marks: list[Mark] = []
        self._quiet: Mark | None = None
        self._stamps: list[tuple[int, int]] = []
        self._collecting = False
        self._ramp_reconnects = 0
        self._window_ns = 0
        self._go = asyncio.Event()
        self._url = ""
        self._ramp_start_ns = 0
        self._lag_task = asyncio.ensure_future(measure_loop_lag(self.shared.timer, self.loop_lag))

    def add(self, index: int) -> None:
        """Add subscriber ``index``; it connects at its instant of the ramp, which ``connect`` begins."""
        self._tasks[index] = asyncio.ensure_future(self._subscribe(index))

    def remove(self, index: int) -> None:
        """Disconnect subscriber ``index``."""
        task = self._tasks.pop(index, None)
        if task is not None:
            task.cancel()

    def connect(self, url: str) -> None:
        """Begin the ramp, to the server at ``url``."""
        self._url = url
        self._ramp_start_ns = now_ns()
        self._go.set()

    def begin(self, start_ns: int) -> None:
        """The feed starts at ``start_ns``: counters are read at both ends of the measured part, requests sent when due.

        From now on no garbage collection interrupts the process.
        """
        self._ramp_reconnects = self._counts()["reconnects"]
        mark = self._mark()
        self._quiet = mark if now_ns() < start_ns else None
        part, timer = self.spec.window(), self.shared.timer
        self._window_ns = start_ns + part.begin_ns
        timer.call_at(self._window_ns, self._begin_window)
        timer.call_at(start_ns + part.end_ns, self._note)
        self._sending.begin(self.spec.requests, start_ns)
        if self._script is not None:
            self._sending.act(self._script, start_ns)
        gc.collect()
        gc.freeze()
        gc.disable()

    def take(self) -> None:
        """Move what was recorded since the last call to ``batches``."""
        self.batches.append(self._samples)
        self._samples = array("q")

    def _counts(self) -> dict[str, int]:
        clients = self._clients.values()
        return {
            "duplicates": sum(client.session.duplicates for client in clients),
            "out_of_order": sum(client.session.out_of_order for client in clients),
            "gaps": sum(client.session.gaps for client in clients),
            "missed": sum(client.session.missed for client in clients),
            "reconnects": sum(client.reconnects for client in clients) - self._ramp_reconnects,
            "left_out": self._left_out,
        }

    def fail_unconnected(self) -> None:
        """At the end of a test, name the subscribers that still try to connect and have not failed yet."""
        for index, task in self._tasks.items():
            client = self._clients.get(index)
            if client is not None and client.state is State.RECONNECTING and not task.done():
                self.failures.append(f"subscriber {index}: without a connection at the end: {client.last_failure}")

    async def finish(self) -> Records:
        """Disconnect all subscribers after the measured part.

        Returns the records without samples, failures and the subscribers' numbers, which the caller collects.
        """
        self._note()
        begin, end, drained = self._marks
        loop_lag, gc_pauses, counts = self.loop_lag.summary(), self.gc_pauses.summary(), self._counts()
        age_s = (drained.at_ns - self._ramp_start_ns) / NS_PER_S
        facts = facts_of(self._clients, self.shared.ledger.sightings, age_s)
        facts.stamps, facts.gc_enabled, facts.gc_collections = self._stamps, self._collecting, self.gc_pauses.count
        if self._script is not None:
            self._script.finish()
        await self.close()
        return Records(
            pid=os.getpid(),
            probes=[],
            loads=[],
            samples=b"",
            begin=begin,
            end=end,
            final=self._mark(),
            counts=counts,
            failures=[],
            loop_lag=loop_lag,
            gc_pauses=gc_pauses,
            requests=self._sending.samples,
            quiet=self._quiet,
            drained=drained,
            facts=facts,
            repeats=self._repeats.tobytes(),
            ports=list(self.shared.ledger.ports),
            rows={} if self._script is None else {kind: rows.tobytes() for kind, rows in self._script.rows.items()},
        )

    async def close(self) -> None:
        """Disconnect all subscribers and wait until the kernel has counted the last segments."""
        await self._sending.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.shared.ledger.settle()
        self.take()
        self._lag_task.cancel()
        gc.enable()

    def _note_repeat(self, index: int, envelope: Envelope) -> None:
        self._left_out += 1
        if envelope.type == "event" and len(self._repeats) < MAX_REPEATS * len(REPEAT_FIELDS):
            self._repeats.extend((index, decode_stamp(envelope.data).n))

    def _begin_window(self) -> None:
        self.loop_lag.reset()
        self.gc_pauses.reset()
        self._note()

    def _note(self) -> None:
        """Read every counter and stamp, and whether garbage is collected."""
        self._marks.append(self._mark())
        # Before that, all clients connect together, and their process is late.
        self._stamps += [pair for pair in self.shared.ledger.stamps() if pair[0] >= self._window_ns]
        self._collecting = self._collecting or gc.isenabled()

    def _mark(self) -> Mark:
        return Mark(self.shared.ledger.totals()._asdict(), time.process_time_ns(), now_ns())

    async def _subscribe(self, index: int) -> None:
        draw = random.Random(f"subscriber-{self.spec.seed}-{index}")
        ramp_share, phase = draw.random(), draw.random()
        await self._go.wait()
        await self.shared.timer.sleep_until(self._ramp_start_ns + round(ramp_share * self.spec.ramp_s * NS_PER_S))
        connected = False
        try:
            client = self._clients[index] = self._new_client(index, phase)
            client.duplicate_listeners.append(partial(self._note_repeat, index))
            async with aclosing(client.events()) as stream:
                async for envelope, receive_ns in stream:
                    if envelope.type == "event":
                        stamp = decode_stamp(envelope.data)
                        self._samples.extend((index, stamp.n, stamp.due_ns, receive_ns))
                    elif envelope.type == "welcome" and not connected:
                        connected = True
                        self._sending.spawn(self._enter(index))
                    elif self._script is not None:
                        self._script.take(index, envelope, receive_ns)
        except Exception as error:  # whatever ended it, the trial must know
            self.failures.append(f"subscriber {index}: {type(error).__name__} {error}")

    def _new_client(self, index: int, phase: float = 0.0) -> Client:
        spec = self.spec
        options = ClientOptions(
            room=room_name(index % spec.rooms),
            token=spec.tokens[index] if spec.tokens else "",
            headers=spec.headers,
            variant=spec.variant,
            ca_file=spec.ca_file,
            poll_interval_s=spec.poll_interval_s,
            poll_phase_s=phase * spec.poll_interval_s,
            hold_s=spec.hold_s,
            first_hold_s=residual_hold_s(phase, spec.hold_s, spec.schedule.rate_hz / spec.rooms),
        )
        return new_client(spec.transport, self._url, options, self.shared)

    def _script_of(self, spec: LoadSpec) -> Script | None:
        if spec.script is None:
            return None
        timer, cut = self.shared.timer, self.shared.ledger.cut
        stage = Stage(spec.script, spec.seed, self._clients, timer, spec.subscribers, self._new_client, cut)
        return SCRIPTS[spec.script.name](stage)

    async def _enter(self, index: int) -> None:
        """The subscriber is connected, and does what its script has to do before anything is measured."""
        try:
            if self._script is not None:
                await self._script.enter(index)
            self.opened += 1
        except Exception as error:
            self.failures.append(f"subscriber {index}: {type(error).__name__} {error}")


def residual_hold_s(draw: float, hold_s: float, rate_hz: float) -> float:
    """What is left of a hold at a random moment of the long run; ``draw`` is uniform over [0, 1).

    A hold ends at an event (Poisson, ``rate_hz`` per room) or after ``hold_s``, so its age at a random moment has the
    exponential distribution cut off at ``hold_s`` (renewal theory: density proportional to survival).
    """
    age_s = -math.log1p(draw * math.expm1(-rate_hz * hold_s)) / rate_hz
    return max(0.0, hold_s - age_s)
