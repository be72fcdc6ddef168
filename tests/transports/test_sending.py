"""Subscribers that send while they receive: each request when it is due, and a sample of what became of it."""

import signal
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from bench.generators import channel as steps
from bench.generators.spec import ANSWERED, SPEC_VARIABLE, UNANSWERED, LoadSpec, Records, RequestLoad, load_records
from bench.machine.processes import start_program
from bench.trial.channel import GeneratorChannel
from bench.trial.start import GENERATORS
from clients.control import Control
from feed.instruments.clock import NS_PER_MS, now_ns
from feed.schedule import Schedule, dues
from tests.conftest import Running, Start, run

SUBSCRIBERS = 4
FEED = Schedule("constant", 50.0, limit=20, seed=3)
ECHO = RequestLoad("ask", "call", Schedule("poisson", 40.0, rooms=2, seed=5, limit=12), {"service": "echo", "data": 1})
PUBLISH = RequestLoad(
    "say", "publish", Schedule("poisson", 40.0, rooms=3, seed=6, limit=10), {"room": "feed", "data": {"text": "hello"}}
)
REFUSED = RequestLoad("lost", "call", Schedule("constant", 20.0, limit=3), {"service": "nothing"})
LOADS = [ECHO, PUBLISH, REFUSED]


async def _records(server: Running, generator: str, folder: Path, stalled: bool = False) -> tuple[list[Records], int]:
    """Carry a trial out as the orchestrator does. Returns the records, and when the feed started.

    ``stalled``: the server stands still while the trial runs.
    """
    spec = LoadSpec(
        transport=server.ready["transport"],
        subscribers=SUBSCRIBERS,
        probes=SUBSCRIBERS,
        poll_interval_s=0.1,
        ramp_s=0.1,
        schedule=FEED,
        requests=LOADS,
        socket=str(folder / "channel"),
        records_file=str(folder / "records"),
    )
    (folder / "spec.json").write_bytes(msgspec.json.encode(spec))
    command = [sys.executable, *GENERATORS[generator]]
    command += ["-u", str(SUBSCRIBERS), "-r", str(SUBSCRIBERS)] if generator == "locust" else []
    async with GeneratorChannel(folder / "channel") as channel, Control(server.ready["control_url"]) as control:
        environment = {SPEC_VARIABLE: str(folder / "spec.json")}
        process = await start_program("generator", command, None, folder / "generator.log", **environment)
        try:
            await channel.receive(steps.READY, [process])
            await channel.send(steps.GO, url=server.url)
            await channel.receive(steps.CONNECTED, [process])
            start_ns = await control.start_feed(FEED, 256, now_ns() + 200 * NS_PER_MS)
            await channel.send(steps.WINDOW, start_ns=start_ns)
            if stalled:
                server.process.send_signal(signal.SIGSTOP)
            await channel.receive(steps.RECORDS, [process])
        finally:
            server.process.send_signal(signal.SIGCONT)
            await process.stop()
    return load_records(folder / "records"), start_ns


def _check(records: list[Records], start_ns: int) -> None:
    """Every request was sent from the subscriber and at the time that its schedule says, and none was forgotten."""
    samples = [sample for process in records for sample in process.requests]
    for load in LOADS:
        mine = sorted((one.due_ns, one.subscriber, one.n) for one in samples if one.kind == load.kind)
        assert mine == [(start_ns + due.offset_ns, due.room, due.n) for due in dues(load.schedule)]
    outcomes = Counter((one.kind, one.outcome) for one in samples)
    assert outcomes == {("ask", ANSWERED): 12, ("say", ANSWERED): 10, ("lost", "unknown_service"): 3}
    assert all(one.due_ns <= one.sent_ns <= one.answered_ns for one in samples)
    received = sum(len(process.samples) for process in records) // 32
    assert received == SUBSCRIBERS * FEED.limit, "events alone are deliveries; what subscribers sent is not among them"
    assert not any(process.failures for process in records)


def test_requests_are_sent_when_due_and_answered(start: Start, upstream: str, tmp_path: Path) -> None:
    _check(*run(_records(start(upstream, "--source", "none"), "bare", tmp_path)))


def test_locust_sends_them_too(start: Start, tmp_path: Path) -> None:
    _check(*run(_records(start("websocket", "--source", "none"), "locust", tmp_path)))


def test_without_answers_requests_are_sent_all_the_same(start: Start, tmp_path: Path) -> None:
    """Open loop: a server that stands still delays no request, and no sample is left out."""
    server = start("websocket", "--source", "none")
    records, start_ns = run(_records(server, "bare", tmp_path, stalled=True))
    (process,) = records
    assert {one.outcome for one in process.requests} == {UNANSWERED}
    assert sorted(one.due_ns - start_ns for one in process.requests) == sorted(
        due.offset_ns for load in LOADS for due in dues(load.schedule)
    )


@pytest.mark.parametrize("limit", [0, 10**6 + 1])
def test_the_number_of_samples_is_bounded(limit: int) -> None:
    with pytest.raises(ValueError, match="allowed are 1 to 1000000"):
        RequestLoad("ask", "call", Schedule(limit=limit))


def test_requests_need_a_transport_that_takes_them_and_subscribers_that_exist() -> None:
    with pytest.raises(ValueError, match="raw takes no requests"):
        LoadSpec("raw", subscribers=SUBSCRIBERS, requests=LOADS)
    with pytest.raises(ValueError, match="say: 3 senders among 2 subscribers"):
        LoadSpec("sse", subscribers=2, requests=LOADS)
