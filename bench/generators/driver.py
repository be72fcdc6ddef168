"""A trial inside locust: follows the orchestrator's word, and brings the records of all processes together.

The process that has the runner (locust's master, or the only one) talks to the orchestrator over a Unix socket, one
JSON object a line, and to the generator processes through locust's own messages. See ``docs/method.md``, A trial.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import gevent
import msgspec
from locust.dispatch import UsersDispatcher
from locust.runners import MasterRunner

from bench.generators.generator import Generator
from bench.generators.spec import GeneratorRecords, LoadSpec, Mark, Records
from bench.generators.window import deliveries_of, window
from feed.instruments.clock import NS_PER_S, now_ns

GO: Final = "pushmark_go"
OPENED: Final = "pushmark_opened"
WINDOW: Final = "pushmark_window"
RECORDS: Final = "pushmark_records"
CHECK_S: Final = 0.02


class ProbesApart(UsersDispatcher):
    """Puts all users of class ``Probe`` on the first worker, and all others on the others (on it, if it is alone)."""

    def __init__(self, worker_nodes: list[Any], user_classes: list[Any]) -> None:
        super().__init__(worker_nodes, user_classes)
        self._others = self._worker_nodes[1:] or self._worker_nodes

    def _add_users_on_workers(self) -> dict[str, dict[str, int]]:
        for place, user in enumerate(self._users()):
            node = self._worker_nodes[0] if user == "Probe" else self._others[place % len(self._others)]
            self._users_on_workers[node.id][user] += 1
            self._active_users.append((node, user))
            self._current_user_count += 1
        return self._users_on_workers

    def _users(self) -> Iterator[str]:
        for user_class in self._user_classes:
            for _ in range(user_class.fixed_count):
                yield user_class.__name__


class Conductor:
    """In the process that has the runner."""

    def __init__(self, environment: Any, spec: LoadSpec) -> None:
        self._environment = environment
        self._spec = spec
        self._opened: dict[int, int] = {}
        self._records: list[Records] = []
        runner = environment.runner
        runner.register_message(OPENED, self._on_opened)
        runner.register_message(RECORDS, self._on_records)

    def start(self) -> None:
        """Begin following the orchestrator."""
        gevent.spawn(self._follow)

    def _on_opened(self, environment: Any, msg: Any, **_: Any) -> None:
        self._opened[msg.data["pid"]] = msg.data["opened"]

    def _on_records(self, environment: Any, msg: Any, **_: Any) -> None:
        self._records.append(msgspec.msgpack.decode(msg.data, type=Records))

    def _follow(self) -> None:
        runner, spec = self._environment.runner, self._spec
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(spec.socket)
            orders = line.makefile("r")
            while runner.user_count < spec.subscribers:
                gevent.sleep(CHECK_S)
            say(line, "ready")
            runner.send_message(GO, {"url": hear(orders, "go")["url"]})
            while sum(self._opened.values()) < spec.subscribers:
                gevent.sleep(CHECK_S)
            say(line, "connected")
            runner.send_message(WINDOW, {"start_ns": hear(orders, "window")["start_ns"]})
            processes = len(runner.clients) if isinstance(runner, MasterRunner) else 1
            while len(self._records) < processes:
                gevent.sleep(CHECK_S)
            Path(spec.records_file).write_bytes(msgspec.msgpack.encode(GeneratorRecords(self._records)))
            say(line, "records")
        runner.quit()


class Player:
    """In each process that has subscribers."""

    def __init__(self, environment: Any, spec: LoadSpec) -> None:
        self._environment = environment
        self._spec = spec
        self._marks: list[Mark] = []
        environment.runner.register_message(GO, self._on_go)
        environment.runner.register_message(WINDOW, self._on_window)

    @property
    def _generator(self) -> Generator:
        generator: Generator = self._environment.pushmark_generator
        return generator

    def _on_go(self, environment: Any, msg: Any, **_: Any) -> None:
        self._generator.thread.call(self._generator.population.go, msg.data["url"])
        gevent.spawn(self._tell_opened)

    def _tell_opened(self) -> None:
        population, told = self._generator.population, 0
        while told < len(self._generator.probes) + len(self._generator.loads):
            gevent.sleep(CHECK_S)
            if population.opened != told:
                told = population.opened
                self._environment.runner.send_message(OPENED, {"pid": os.getpid(), "opened": told})

    def _on_window(self, environment: Any, msg: Any, **_: Any) -> None:
        gevent.spawn(self._play, msg.data["start_ns"])

    def _play(self, start_ns: int) -> None:
        spec, generator = self._spec, self._generator
        part = window(spec.schedule, spec.warmup_events, spec.schedule.limit - spec.warmup_events)
        generator.thread.run(self._set_marks, start_ns + part.begin_ns, start_ns + part.end_ns)
        generator.thread.run(generator.population.stop_collecting)
        self._await_deliveries(start_ns + part.end_ns)
        records = generator.finish(*self._marks)
        self._environment.runner.send_message(RECORDS, msgspec.msgpack.encode(records))

    def _await_deliveries(self, end_ns: int) -> None:
        """Until every subscriber of this process has received everything, or the drain is over."""
        spec, generator = self._spec, self._generator
        mine = deliveries_of(spec, [*generator.probes, *generator.loads])
        least_ns = end_ns + round(spec.settle_s * NS_PER_S)
        until_ns = end_ns + round(spec.drain_s * NS_PER_S)
        while now_ns() < least_ns or (now_ns() < until_ns and generator.population.shared.ledger.deliveries < mine):
            gevent.sleep(CHECK_S)

    def _set_marks(self, begin_ns: int, end_ns: int) -> None:
        population = self._generator.population
        timer = population.shared.timer
        timer.call_at(begin_ns, lambda: self._marks.append(population.begin_window()))
        timer.call_at(end_ns, lambda: self._marks.append(population.mark()))


def say(line: socket.socket, event: str) -> None:
    """Tell the orchestrator."""
    line.sendall(json.dumps({"event": event}).encode() + b"\n")


def hear(orders: Any, command: str) -> dict[str, Any]:
    """Wait for the orchestrator's next order, which must be that one."""
    text = orders.readline()
    if not text:
        raise SystemExit("the orchestrator is gone")
    order: dict[str, Any] = json.loads(text)
    if order["command"] != command:
        raise SystemExit(f"expected the order {command!r}, not {order['command']!r}")
    return order
