"""A trial inside locust: its steps, carried out by one or several generator processes.

The process that has the runner (locust's master, or the only one) follows the orchestrator (``channel``), and passes
each step on to the generator processes in locust's own messages. See ``docs/method.md``, A trial.
"""

import os
from collections.abc import Iterator
from typing import Any, Final

import gevent
import msgspec
from locust.dispatch import UsersDispatcher
from locust.runners import MasterRunner

from bench.generators.channel import CHECK_S, follow
from bench.generators.generator import Generator
from bench.generators.spec import LoadSpec, Records
from feed.instruments.clock import NS_PER_S, now_ns

CONNECT: Final = "pushmark_connect"
OPENED: Final = "pushmark_opened"
MEASURE: Final = "pushmark_measure"
RECORDS: Final = "pushmark_records"


class ProbesApart(UsersDispatcher):
    """Puts users of class ``Probe`` on the first worker, and all other users on the other workers if there are any."""

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
    """The steps of a trial, in the process that has the runner."""

    def __init__(self, environment: Any, spec: LoadSpec) -> None:
        self._runner = environment.runner
        self._spec = spec
        self.failure = ""
        self._opened: dict[int, int] = {}
        self._records: list[Records] = []
        self._runner.register_message(OPENED, self._on_opened)
        self._runner.register_message(RECORDS, self._on_records)

    def start(self) -> None:
        """Begin to follow the orchestrator."""
        gevent.spawn(self._follow)

    def await_subscribers(self) -> None:
        while self._runner.user_count < self._spec.subscribers:
            gevent.sleep(CHECK_S)

    def connect(self, url: str) -> None:
        self._runner.send_message(CONNECT, {"url": url})

    @property
    def opened(self) -> int:
        return sum(self._opened.values())

    def measure(self, start_ns: int) -> list[Records]:
        self._runner.send_message(MEASURE, {"start_ns": start_ns})
        processes = len(self._runner.clients) if isinstance(self._runner, MasterRunner) else 1
        while len(self._records) < processes:
            gevent.sleep(CHECK_S)
        return self._records

    def _on_opened(self, environment: Any, msg: Any, **_: Any) -> None:
        self._opened[msg.data["pid"]] = msg.data["opened"]
        self.failure = self.failure or msg.data["failure"]

    def _on_records(self, environment: Any, msg: Any, **_: Any) -> None:
        self._records.append(msgspec.msgpack.decode(msg.data, type=Records))

    def _follow(self) -> None:
        follow(self._spec, self)
        self._runner.quit()


class Player:
    """The same steps in each process that has subscribers."""

    def __init__(self, environment: Any, spec: LoadSpec) -> None:
        self._environment = environment
        self._spec = spec
        environment.runner.register_message(CONNECT, self._on_connect)
        environment.runner.register_message(MEASURE, self._on_measure)

    @property
    def _generator(self) -> Generator:
        generator: Generator = self._environment.pushmark_generator
        return generator

    def _on_connect(self, environment: Any, msg: Any, **_: Any) -> None:
        self._generator.thread.call(self._generator.population.connect, msg.data["url"])
        gevent.spawn(self._report_opened)

    def _report_opened(self) -> None:
        generator, reported, failure = self._generator, 0, ""
        while reported < len(generator.probes) + len(generator.loads) and not failure:
            gevent.sleep(CHECK_S)
            failure = next(iter(generator.failures), "")
            if generator.population.opened != reported or failure:
                reported = generator.population.opened
                found = {"pid": os.getpid(), "opened": reported, "failure": failure}
                self._environment.runner.send_message(OPENED, found)

    def _on_measure(self, environment: Any, msg: Any, **_: Any) -> None:
        gevent.spawn(self._measure, msg.data["start_ns"])

    def _measure(self, start_ns: int) -> None:
        self._generator.thread.run(self._generator.population.begin, start_ns)
        self._await_deliveries(start_ns + self._spec.window().end_ns)
        records = self._generator.finish()
        self._environment.runner.send_message(RECORDS, msgspec.msgpack.encode(records))

    def _await_deliveries(self, end_ns: int) -> None:
        """Wait until every subscriber of this process has received everything, or the drain is over.

        Where requests are sent, the whole drain is waited for: messages of other subscribers count as deliveries, too.
        """
        spec, generator = self._spec, self._generator
        mine = spec.deliveries_to([*generator.probes, *generator.loads])
        least_ns = end_ns + round(spec.settle_s * NS_PER_S)
        until_ns = end_ns + round(spec.drain_s * NS_PER_S)
        ledger = generator.population.shared.ledger
        sends = bool(spec.requests or spec.script)
        while now_ns() < least_ns or (now_ns() < until_ns and (sends or ledger.deliveries < mine)):
            gevent.sleep(CHECK_S)
