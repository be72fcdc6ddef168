"""Servers that break the contract, each in one way: the preflight must find every one of them."""

from pathlib import Path

import pytest

from clients.contract.feed import CHECKS, ContractError, preflight
from tests.conftest import Start, run, starting
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


@pytest.mark.parametrize(
    ("fault", "transport"), [(fault, transport) for fault, (_, names) in PLANTED.items() for transport in names]
)
def test_what_is_planted_in_a_server_is_found(fault: str, transport: str, tmp_path: Path, forks: Forks) -> None:
    with starting(
        tmp_path, lambda _, arguments, log: forks.start("tests.helpers.planted", [fault, *arguments], log)
    ) as start:
        server = start(transport, "--source", "none")
        with pytest.raises(ContractError, match=PLANTED[fault][0]):
            run(preflight(server.target))


def test_with_nothing_planted_nothing_is_found(tmp_path: Path, forks: Forks) -> None:
    with starting(
        tmp_path, lambda _, arguments, log: forks.start("tests.helpers.planted", ["none", *arguments], log)
    ) as start:
        assert run(preflight(start("websocket", "--source", "none").target)) == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize("transport", ["sse", "polling"])
@pytest.mark.parametrize("fault", INJECTED)
def test_an_injected_fault_is_found_before_a_trial_would_count_it(fault: str, transport: str, start: Start) -> None:
    server = start(transport, "--source", "none", "--inject-fault", fault)
    with pytest.raises(ContractError, match=INJECTED[fault]):
        run(preflight(server.target))
