"""The generator: locust starts and stops subscribers, the shipped clients receive.

By hand: ``locust -f bench/locustfile.py --host http://127.0.0.1:8000`` against ``python -m servers TRANSPORT``; with
the web UI or ``--headless``, with ``--processes``, or master and workers on one machine. Within ``python -m bench``
the environment names a trial, which ``bench.generators.driver`` carries out.
"""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # locust imports this file by its path

import gevent
from gevent.event import Event
from locust import User, events, task
from locust.runners import STATE_RUNNING, STATE_SPAWNING, LocalRunner, MasterRunner, WorkerRunner
from locust.stats import CSV_STATS_INTERVAL_SEC

from bench.generators.by_hand import HostError, judge, number_within, record_failure, spec_by_hand
from bench.generators.channel import CHECK_S
from bench.generators.driver import Conductor, Player, ProbesApart
from bench.generators.generator import Generator, WorkerSlot
from bench.generators.spec import SPEC_VARIABLE, load_spec
from clients.core.options import HEADER_SETS
from feed.instruments.clock import NS_PER_S, now_ns
from feed.instruments.tcp import raise_open_files
from feed.rooms import MAX_ROOMS
from feed.sources import MAX_PAYLOAD_BYTES
from feed.transports import TRANSPORTS

SLOT = "pushmark_slot"
SLOT_TAKEN = "pushmark_slot_taken"
DEAL_AGAIN_S = 0.2
CSV_WAIT_S = CSV_STATS_INTERVAL_SEC + 0.5
"""locust writes its CSV files once in an interval and not when it ends; the last failures must be in them."""
WORKERS_TIMEOUT_S = 10.0
"""After that locust goes on looking for workers, and the orchestrator's time-out decides. A worker that has not taken
its share of the subscribers by then ends the test."""
TRIAL = load_spec(Path(os.environ[SPEC_VARIABLE])) if SPEC_VARIABLE in os.environ else None
PROBES, LOADS = (TRIAL.probes, TRIAL.subscribers - TRIAL.probes) if TRIAL else (0, 0)


class Parked(User):
    """One subscriber. Its greenlet only waits; the event loop does the work."""

    abstract = True
    is_probe = False

    def on_start(self) -> None:
        self.generator: Generator | None = self.environment.pushmark_generator
        if self.generator is not None:
            self.index = self.generator.add(self.is_probe)

    def on_stop(self) -> None:
        if self.generator is not None:
            self.generator.thread.call(self.generator.population.remove, self.index)

    @task
    def stay(self) -> None:
        Event().wait()


if TRIAL is None:

    class Subscriber(Parked):
        """A subscriber, for a locust run by hand."""

else:

    class Probe(Parked):
        """A latency subscriber: every delivery to it is a sample."""

        fixed_count = PROBES
        is_probe = True

    if LOADS:

        class Load(Parked):
            """A subscriber for load, completeness, bytes and cost."""

            fixed_count = LOADS


def add_arguments(parser: Any) -> None:
    group = parser.add_argument_group("pushmark")
    group.add_argument(
        "--transport", choices=list(TRANSPORTS), help="Transport of the server at --host  [default: what it says]."
    )
    rooms = number_within(int, 0, MAX_ROOMS)
    group.add_argument(
        "--rooms", type=rooms, default=0, help="Number of rooms to spread subscribers over  [default: all]."
    )
    group.add_argument(
        "--poll-interval-s", type=number_within(float, 0.001, 3600), default=1.0, help="Polling interval."
    )
    group.add_argument("--hold-s", type=number_within(float, 0, 55), default=25.0, help="Hold of long polling.")
    group.add_argument("--headers", choices=HEADER_SETS, default="browser", help="Header set of HTTP requests.")
    payload = number_within(int, 0, MAX_PAYLOAD_BYTES)
    group.add_argument(
        "--payload-bytes",
        type=payload,
        default=256,
        help="Size of an event's data, for locust's content-length column.",
    )


def prepare(environment: Any, runner: Any, **_: Any) -> None:
    raise_open_files()
    environment.pushmark_slot = WorkerSlot()
    environment.pushmark_generator = None
    environment.pushmark_judged = not environment.parsed_options.headless  # a web UI may be opened without a test
    if isinstance(runner, WorkerRunner):
        runner.register_message(SLOT, _on_slot)
    elif isinstance(runner, MasterRunner):
        environment.pushmark_taken, environment.pushmark_deal, environment.pushmark_news = set(), 0, Event()
        runner.register_message(SLOT_TAKEN, _on_slot_taken)
    if TRIAL is not None:
        environment.dispatcher_class = ProbesApart
        if not isinstance(runner, WorkerRunner):
            environment.pushmark_conductor = Conductor(environment, TRIAL)
        if not isinstance(runner, MasterRunner):
            environment.pushmark_player = Player(environment, TRIAL)
        else:
            _await_workers(runner, environment.parsed_options.expect_workers)


def _await_workers(runner: MasterRunner, processes: int) -> None:
    """Wait for the workers here: locust looks for them once per second only, which would lengthen every trial."""
    until_ns = now_ns() + round(WORKERS_TIMEOUT_S * NS_PER_S)
    while len(runner.clients.ready) < processes and now_ns() < until_ns:
        gevent.sleep(CHECK_S)


def _on_slot(environment: Any, msg: Any, **_: Any) -> None:
    environment.pushmark_slot = WorkerSlot(msg.data["turn"], msg.data["of"], msg.data["first"])
    cores = TRIAL.cores if TRIAL is not None else []
    if cores:
        os.sched_setaffinity(0, {cores[msg.data["process"] % len(cores)]})
    environment.runner.send_message(SLOT_TAKEN, msg.data["deal"])


def _on_slot_taken(environment: Any, msg: Any, **_: Any) -> None:
    if msg.data == environment.pushmark_deal:
        environment.pushmark_taken.add(msg.node_id)
        environment.pushmark_news.set()


def start(environment: Any, **_: Any) -> None:
    if TRIAL is None:
        _start_by_hand(environment)
    elif isinstance(environment.runner, MasterRunner):
        _deal_slots(environment)
    else:
        environment.pushmark_generator = Generator(environment, TRIAL, environment.pushmark_slot)
        if isinstance(environment.runner, LocalRunner) and TRIAL.cores:
            os.sched_setaffinity(0, {TRIAL.cores[0]})
    if TRIAL is not None and not isinstance(environment.runner, WorkerRunner):
        environment.pushmark_conductor.start()


def _start_by_hand(environment: Any) -> None:
    """Without a server, record the failure; the process that has the runner then ends the test."""
    runner = environment.runner
    environment.pushmark_judged, environment.pushmark_generator = False, None
    try:
        spec = spec_by_hand(environment.parsed_options, environment.host)
    except HostError as error:
        record_failure(environment, str(error))
        if not isinstance(runner, WorkerRunner):
            gevent.spawn(runner.quit if environment.parsed_options.headless else runner.stop)
        return
    if isinstance(runner, MasterRunner):
        _deal_slots(environment)
    else:
        generator = environment.pushmark_generator = Generator(environment, spec, environment.pushmark_slot)
        generator.thread.call(generator.population.connect, environment.host)


def stop(environment: Any, **_: Any) -> None:
    if environment.pushmark_generator is not None and TRIAL is None:
        environment.pushmark_generator.close()


def stopped(environment: Any, **_: Any) -> None:
    """A test has ended. The last statistics of workers that still run arrive only while the master quits."""
    runner = environment.runner
    if not isinstance(runner, MasterRunner) or not runner.user_count:
        _judge_once(environment)


def quitting(environment: Any, **_: Any) -> None:
    """End a test that a signal stops before locust makes its exit code, not after."""
    if TRIAL is None and environment.runner.state in (STATE_SPAWNING, STATE_RUNNING):
        environment.runner.stop()
    _judge_once(environment)
    if environment.parsed_options.csv_prefix and environment.runner.errors:
        gevent.sleep(CSV_WAIT_S)


def _judge_once(environment: Any) -> None:
    if TRIAL is None and not isinstance(environment.runner, WorkerRunner) and not environment.pushmark_judged:
        environment.pushmark_judged = True
        judge(environment)


def _deal_slots(environment: Any) -> None:
    """Give each worker its share of the load subscribers. The first worker has the probes, if there are others.

    A worker is ready for locust before it is for our messages, and would lose its share: it is sent again until the
    worker says that it has it. Only then do users spawn.
    """
    runner, slots = environment.runner, _slots(sorted(environment.runner.clients))
    environment.pushmark_taken.clear()
    environment.pushmark_deal += 1
    until_ns = now_ns() + round(WORKERS_TIMEOUT_S * NS_PER_S)
    while waiting := [one for one in slots if one not in environment.pushmark_taken and one in runner.clients]:
        if now_ns() > until_ns:
            sys.exit(
                f"{len(waiting)} workers have not taken their share of the subscribers for {WORKERS_TIMEOUT_S:g} s"
            )
        environment.pushmark_news.clear()
        for one in waiting:
            runner.send_message(SLOT, {**slots[one], "deal": environment.pushmark_deal}, one)
        environment.pushmark_news.wait(DEAL_AGAIN_S)


def _slots(workers: list[str]) -> dict[str, dict[str, Any]]:
    """Worker -> its share."""
    probes_apart = TRIAL is not None and len(workers) > 1
    loads = workers[1:] if probes_apart else workers
    return {
        one: {
            "turn": loads.index(one) if one in loads else 0,
            "of": len(loads),
            "first": probes_apart and not process,
            "process": process,
        }
        for process, one in enumerate(workers)
    }


events.init_command_line_parser.add_listener(add_arguments)
events.init.add_listener(prepare)
events.test_start.add_listener(start)
events.test_stopping.add_listener(stop)
events.test_stop.add_listener(stopped)
events.quitting.add_listener(quitting)
