"""Servers that break the contract, each in one way: the preflight must find every one of them."""

import gc
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bench.generators.population import Population
from bench.generators.spec import LoadSpec, Records
from bench.trial.metrics import count, measured_samples
from clients.contract.feed import CHECKS, ContractError, preflight
from clients.control import Control
from feed.instruments.clock import NS_PER_MS, now_ns
from feed.schedule import Schedule
from tests.conftest import Running, Start, run, starting, until
from tests.helpers.forks import Forks

PLANTED = {
    "twice": (r"delivers_in_order: repeated: 30\d$", ("websocket", "polling")),
    "hundredth_twice": (r"delivers_in_order: repeated: 3$", ("sse", "long_polling")),
    "one_dropped": (r"delivers_in_order: left out: 1$", ("websocket", "socketio")),
    "two_swapped": (r"delivers_in_order: out of order: 1$", ("sse", "socketio")),
    "resumed_early": (r"resumes_without_loss: repeated: 1$", ("websocket", "raw")),
    "resumed_late": (r"resumes_without_loss: left out: 1$", ("sse", "socketio")),
    "resumed_early_in_traffic": (r"resumes_in_traffic: repeated: 1$", ("websocket", "sse")),
    "padded": (r"delivers_in_order: the data of an event is", ("websocket", "polling")),
}
INJECTED = {
    "repeat": r"delivers_in_order: of 300 events 3 came more than once \(99, 199, 299\)",
    "drop": r"delivers_in_order: of 300 events 3 did not come \(99, 199, 299\)",
    "reorder": r"delivers_in_order: of 300 events 1 did not come \(299\), 2 came after a later one \(99, 199\)",
}
"""By ``--inject-fault``, above the history: their ids are as they should be, and their numbers are not."""


def planted(fault: str, folder: Path, forks: Forks) -> AbstractContextManager[Start]:
    """Servers with a fault of ``tests.helpers.planted``."""
    return starting(folder, lambda _, arguments, log: forks.start("tests.helpers.planted", [fault, *arguments], log))


@pytest.mark.parametrize(
    ("fault", "transport"), [(fault, transport) for fault, (_, names) in PLANTED.items() for transport in names]
)
def test_what_is_planted_in_a_server_is_found(fault: str, transport: str, tmp_path: Path, forks: Forks) -> None:
    with planted(fault, tmp_path, forks) as start:
        server = start(transport, "--source", "none")
        with pytest.raises(ContractError, match=PLANTED[fault][0]):
            run(preflight(server.target))


def test_with_nothing_planted_nothing_is_found(tmp_path: Path, forks: Forks) -> None:
    with planted("none", tmp_path, forks) as start:
        assert run(preflight(start("websocket", "--source", "none").target)) == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize("transport", ["sse", "polling"])
@pytest.mark.parametrize("fault", INJECTED)
def test_an_injected_fault_is_found_before_a_trial_would_count_it(fault: str, transport: str, start: Start) -> None:
    server = start(transport, "--source", "none", "--inject-fault", fault)
    with pytest.raises(ContractError, match=INJECTED[fault]):
        run(preflight(server.target))


def test_duplicates_are_counted_over_the_same_events_as_deliveries(tmp_path: Path, forks: Forks) -> None:
    """A client leaves them out; of 30 events that come twice, the 20 measured ones count."""
    spec = LoadSpec("websocket", warmup_events=10, schedule=Schedule("constant", 500.0, limit=30))

    async def body(server: Running) -> list[Records]:
        population = Population(spec)
        population.add(0)
        population.connect(server.url)
        await until(lambda: population.opened == 1, "the subscriber's welcome")
        async with Control(server.ready["control_url"]) as control:
            population.begin(await control.start_feed(spec.schedule, spec.payload_bytes, now_ns() + 50 * NS_PER_MS))
            await until(lambda: population._counts()["duplicates"] == 30, "all events twice", 30)
            await until(lambda: len(population._marks) == 2, "the end of the measured part")
        records = await population.finish()
        records.samples = b"".join(batch.tobytes() for batch in population.batches)
        return [records]

    with planted("twice", tmp_path, forks) as start:
        records = run(body(start("websocket", "--source", "none")))
    gc.unfreeze()
    part = spec.window()
    counts = count(measured_samples(records, part, 1), records, part, 1, 1, None)
    assert records[0].counts["duplicates"] == 30
    assert (counts.expected, counts.delivered, counts.duplicate) == (20, 20, 20)
