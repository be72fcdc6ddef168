"""The generator on locust's own SocketIOUser: one greenlet a subscriber, one synchronous Socket.IO client each.

A locustfile for trials only: it follows the same steps as ``bench.generators.driver`` and leaves the same records
without byte counts. Its subscribers send no requests.
"""

import gc
import os
import sys
import time
from array import array
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # locust imports this file by its path

import gevent
from gevent.event import Event
from locust import events, task
from locust.contrib.socketio import SocketIOUser

from bench.generators.channel import CHECK_S, follow
from bench.generators.spec import SAMPLE_FIELDS, SPEC_VARIABLE, Mark, Records, load_spec
from feed.instruments.clock import NS_PER_S, now_ns

SPEC = load_spec(Path(os.environ[SPEC_VARIABLE]))


class State:
    """State that the users of this process share."""

    url = ""
    opened = 0
    failure = ""
    samples: "array[int]" = array("q")
    go = Event()
    numbers = count()


class Subscriber(SocketIOUser):
    """Connects at the step ``go``, and records what it receives."""

    fixed_count = SPEC.subscribers
    options = {"reconnection": False}  # noqa: RUF012 - locust declares it per instance, so mypy refuses a ClassVar

    def on_start(self) -> None:
        self.number = next(State.numbers)
        State.go.wait()
        self.sio.on("event", self.on_event)
        self.sio.connect(State.url, transports=["websocket"])
        if self.sio.connected:
            State.opened += 1
        else:  # locust has caught the reason, for its own statistics
            State.failure = f"subscriber {self.number}: locust's Socket.IO client could not connect"

    def on_event(self, envelope: dict[str, Any]) -> None:
        receive_ns, data = now_ns(), envelope["data"]
        State.samples.extend((self.number, data["n"], data["due_ns"], receive_ns))

    @task
    def stay(self) -> None:
        Event().wait()


class Conductor:
    """The steps of a trial."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def start(self) -> None:
        """Follow the orchestrator until the trial is over."""
        follow(SPEC, self)
        self._runner.quit()

    def await_subscribers(self) -> None:
        while self._runner.user_count < SPEC.subscribers:
            gevent.sleep(CHECK_S)

    def connect(self, url: str) -> None:
        State.url = url
        State.go.set()

    @property
    def opened(self) -> int:
        return State.opened

    @property
    def failure(self) -> str:
        return State.failure

    def measure(self, start_ns: int) -> list[Records]:
        gc.collect()  # as our own generators do after the ramp
        gc.freeze()
        gc.disable()
        part = SPEC.window()
        _sleep_until(start_ns + part.begin_ns)
        begin = _mark()
        _sleep_until(start_ns + part.end_ns)
        end = _mark()
        _sleep_until(start_ns + part.end_ns + round(SPEC.drain_s * NS_PER_S))
        records = Records(
            pid=os.getpid(),
            probes=list(range(SPEC.subscribers)),
            loads=[],
            samples=State.samples.tobytes(),
            begin=begin,
            end=end,
            final=_mark(),
            counts=dict.fromkeys(("duplicates", "out_of_order", "gaps", "missed", "reconnects"), 0),
            failures=[],
            loop_lag={},
            gc_pauses={},
        )
        return [records]


def _mark() -> Mark:
    deliveries = len(State.samples) // len(SAMPLE_FIELDS)
    totals = {"deliveries": deliveries, "opened": State.opened, "payload_bytes": deliveries * SPEC.payload_bytes}
    return Mark(totals, time.process_time_ns(), now_ns())


def _sleep_until(at_ns: int) -> None:
    gevent.sleep(max(0.0, (at_ns - now_ns()) / NS_PER_S))


def start(environment: Any, **_: Any) -> None:
    gevent.spawn(Conductor(environment.runner).start)


events.test_start.add_listener(start)
