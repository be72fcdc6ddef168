"""Servers that break the contract, each in one way: the preflight must find every one of them."""

import gc
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from msgspec import Raw

from bench.generators.population import Population
from bench.generators.spec import LoadSpec, Records
from bench.trial.metrics import count, measured_samples
from clients.contract import feed
from clients.contract.feed import CHECKS, EVENTS, PAYLOAD_BYTES, ContractError, preflight
from clients.control import Control
from clients.core.client import Received
from clients.core.options import ClientOptions
from feed.envelope import Envelope
from feed.instruments.clock import NS_PER_MS, now_ns
from feed.schedule import Schedule
from feed.sources import synthetic
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


def came(numbers: Sequence[int], early_ns: int = 0, change: bytes = b"") -> list[Received]:
    """The events of a check with these numbers, received when they were due."""
    items = list(synthetic(feed._schedule(EVENTS + 1), PAYLOAD_BYTES))
    made = [(items[n].offset_ns, items[n].make(items[n].offset_ns)) for n in numbers]
    return [
        Received(Envelope("event", "", "feed", Raw(data.replace(b'"side"', change or b'"side"'))), due_ns - early_ns)
        for due_ns, data in made
    ]


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (came(range(1, EVENTS)), "of 300 events 1 did not come (0)"),
        (came([*range(EVENTS), EVENTS - 1]), "of 300 events 1 came more than once (299)"),
        (came([1, 0, *range(2, EVENTS)]), "of 300 events 1 came after a later one (0)"),
        (came([]), "of 300 events 300 did not come (0, 1, 2, 3, 4 ...)"),
        (came(range(EVENTS + 1)), "301 events came, but 300 were published"),
        (came(range(EVENTS), early_ns=1), "an event came 1 ns before it was due"),
        (came(range(EVENTS), change=b'"side "'), "the data of an event is"),
    ],
)
def test_what_came_otherwise_than_it_was_published_is_named(got: list[Received], said: str) -> None:
    feed.expect_exactly(came(range(EVENTS)), 0)
    with pytest.raises(ContractError, match=re.escape(said)):
        feed.expect_exactly(got, 0)


def test_a_connection_for_each_poll_is_named(share: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "ClientOptions", partial(ClientOptions, keep_alive=False))
    with pytest.raises(ContractError, match=r"delivers_in_order: \d+ connections were opened, not one"):
        run(preflight(share("polling", "--source", "none").target))
