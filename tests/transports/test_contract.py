"""One body of checks over every transport and variant, over real sockets."""

import time
from collections.abc import Awaitable, Callable

import pytest

from clients.contract.feed import CHECKS, NEED_HISTORY, Bench, ContractError, Target, preflight, run_check
from clients.contract.platform import PLATFORM_CHECKS
from clients.control import Control
from clients.core.client import new_shared
from servers.gate.auth import DEV_KEY, mint
from tests.conftest import Start, run


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(share: Start, served: str, check: Callable[[Bench], Awaitable[None]]) -> None:
    server = share(served, "--source", "none", "--rooms", "2")

    async def body() -> None:
        shared = new_shared(seed=1)
        async with Control(server.ready["control_url"]) as control:
            await run_check(check, Bench(server.target, control, shared))
        shared.timer.close()

    run(body())


def test_the_contract_holds_across_a_network(share: Start, start: Start, transport: str) -> None:
    server = share(transport, "--source", "none")
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "5")
    scheme = server.url.partition("://")[0]
    passed = run(preflight(Target(transport, f"{scheme}://127.0.0.1:{relay.port}", server.ready["control_url"])))
    assert passed == [check.__name__ for check in CHECKS]


def token_of(user: str) -> str:
    return mint(DEV_KEY, user, 60.0, time.time())


@pytest.mark.parametrize("check", PLATFORM_CHECKS, ids=lambda check: check.__name__)
def test_the_platform_contract(share: Start, served_upstream: str, check: Callable[[Bench], Awaitable[None]]) -> None:
    """The same body over all transports and variants but the baseline, with authentication on."""
    server = share(served_upstream, "--source", "none", "--auth", "dev")

    async def body() -> None:
        shared = new_shared(seed=1)
        async with Control(server.ready["control_url"]) as control:
            target = server.target._replace(token_of=token_of)
            await run_check(check, Bench(target, control, shared))
        shared.timer.close()

    run(body())


def test_the_floor_passes_all_but_the_checks_of_history(start: Start) -> None:
    """It is served to the same generator, so it must deliver like the others; and it must not pretend to resume."""
    floor = start("raw:floor", "--source", "none")
    passed = run(preflight(floor.target))
    assert passed == [check.__name__ for check in CHECKS if check not in NEED_HISTORY]
    assert {check.__name__ for check in NEED_HISTORY} == {"resumes_without_loss", "admits_a_gap"}
    with pytest.raises(ContractError, match="resumes_without_loss"):
        run(preflight(floor.target._replace(variant="")))
