"""The contract that makes the servers interchangeable, as checks that run against a live server.

The tests run all of them over every transport. The benchmark runs them before each measurement, on the server that it
is about to time: a transport that fails a check gets no numbers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Final, NamedTuple

from clients.control import Control
from clients.core.client import Client, Received, Shared, new_client, new_shared
from clients.core.errors import RefusedError
from clients.core.options import ClientOptions
from feed.cursor import parse_cursor
from feed.envelope import Welcome, decode_stamp, decode_welcome
from feed.instruments.clock import now_ns
from feed.schedule import Schedule
from feed.transports import TRANSPORTS

CHECK_TIMEOUT_S: Final = 5.0
RATE_HZ: Final = 2000.0
PAYLOAD_BYTES: Final = 256
REFUSALS: Final = {
    "a future cursor": ("bad_cursor", "handshake_refused"),
    "no room": ("unknown_room", "handshake_refused"),
}
"""What is wrong -> allowed error codes. aiohttp hides the body, and so the code, of a refused WebSocket handshake."""
OTHER_EPOCH: Final = "00000000-5"


class ContractError(Exception):
    """A server broke the contract; the message names the check and the reason."""


class Target(NamedTuple):
    """A live server to check."""

    transport: str
    url: str
    control_url: str
    headers: str = "browser"
    variant: str = ""
    ca_file: str = ""
    token_of: Callable[[str], str] | None = None
    """Makes a token for a user, if the server requires one."""


class Bench(NamedTuple):
    """A live server, with its control address and what clients share."""

    target: Target
    control: Control
    shared: Shared

    def client(self, since: str = "", room: str = "feed", user: str = "") -> Client:
        """A subscriber that polls quickly and does not retry."""
        options = ClientOptions(
            room=room,
            token=self.target.token_of(user or "anybody") if self.target.token_of is not None else "",
            since=since,
            headers=self.target.headers,
            variant=self.target.variant,
            ca_file=self.target.ca_file,
            poll_interval_s=0.01,
            hold_s=1.0,
            max_attempts=0,
        )
        return new_client(self.target.transport, self.target.url, options, self.shared)

    async def publish(self, count: int) -> None:
        """Let the server publish ``count`` events in quick succession."""
        await self.control.start_feed(Schedule("constant", RATE_HZ, 1, 1, limit=count), PAYLOAD_BYTES)


async def delivers_in_order(bench: Bench) -> None:
    """Events come complete, in order, without holes, never before they are due, with the configured payload size."""
    async with _opened(bench.client()) as (welcome, stream):
        expect(welcome.resume == "new", f"a first connection got {welcome.resume!r}, not 'new'")
        await bench.publish(20)
        got = await _take(stream, 20)
    numbers = [decode_stamp(received.envelope.data).n for received in got]
    expect(numbers == list(range(20)), f"20 events came as {numbers}")
    for envelope, receive_ns in got:
        expect(len(bytes(envelope.data)) == PAYLOAD_BYTES, f"data has {len(bytes(envelope.data))} bytes, not 256")
        late_ns = receive_ns - decode_stamp(envelope.data).due_ns
        expect(0 <= late_ns <= now_ns(), f"an event came {-late_ns} ns before it was due")
    cursors = [parse_cursor(received.envelope.id) for received in got]
    expect(all(b.seq == a.seq + 1 for a, b in pairwise(cursors)), "ids have holes")


async def everybody_gets_everything(bench: Bench) -> None:
    """Two subscribers get the same events in the same order."""
    async with _opened(bench.client()) as (_, one), _opened(bench.client()) as (_, two):
        await bench.publish(5)
        first, second = await asyncio.gather(_take(one, 5), _take(two, 5))
    expect([r.envelope for r in first] == [r.envelope for r in second], "two subscribers got different events")


async def resumes_without_loss(bench: Bench) -> None:
    """After a cut, a client with its cursor gets exactly what it missed, and the welcome says that nothing is lost."""
    async with _opened(bench.client()) as (_, stream):
        await bench.publish(3)
        last = (await _take(stream, 3))[-1].envelope.id
    await bench.publish(4)
    async with _opened(bench.client(since=last)) as (welcome, stream):
        got = await _take(stream, 4)
    expect((welcome.resume, welcome.missed) == ("resumed", 0), f"resuming was answered with {welcome}")
    expected = [parse_cursor(last).seq + i for i in range(1, 5)]
    expect([parse_cursor(r.envelope.id).seq for r in got] == expected, "resuming did not bring exactly what was missed")


async def admits_a_gap(bench: Bench) -> None:
    """A cursor of another epoch is answered with a gap of unknown size, and then with what the history holds."""
    async with _opened(bench.client()) as (_, stream):
        await bench.publish(1)
        await _take(stream, 1)
    async with _opened(bench.client(since=OTHER_EPOCH)) as (welcome, stream):
        await _take(stream, 1)
    expect((welcome.resume, welcome.missed) == ("gap", None), f"a foreign cursor was answered with {welcome}")


async def refuses_nonsense(bench: Bench) -> None:
    """An unknown room, or a cursor ahead of the newest event, is refused before anything is sent."""
    async with _opened(bench.client()) as (_, stream):
        await bench.publish(1)
        here = parse_cursor((await _take(stream, 1))[0].envelope.id)
    ahead = str(here._replace(seq=here.seq + 10**6))
    for what, client in (("a future cursor", bench.client(since=ahead)), ("no room", bench.client(room="nowhere"))):
        try:
            async with _opened(client) as (welcome, _):
                raise ContractError(f"{what} was accepted with {welcome}")
        except RefusedError as error:
            expect(error.code in REFUSALS[what], f"{what} was refused with {error.code!r}")


CHECKS: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (
    delivers_in_order,
    everybody_gets_everything,
    resumes_without_loss,
    admits_a_gap,
    refuses_nonsense,
)


NEED_HISTORY: Final = (resumes_without_loss, admits_a_gap)
"""Checks that do not apply to the floor (``feed.transports.FLOOR``), which keeps no history."""


def checks_of(target: Target) -> list[Callable[[Bench], Awaitable[None]]]:
    """The checks that apply to a server."""
    is_floor = target.variant in TRANSPORTS[target.transport].measuring_only
    return [check for check in CHECKS if not (is_floor and check in NEED_HISTORY)]


async def preflight(target: Target) -> list[str]:
    """Run every check that applies in turn. Returns their names; raises ``ContractError`` at the first that fails."""
    shared, checks = new_shared(seed=1), checks_of(target)
    try:
        async with Control(target.control_url) as control:
            for check in checks:
                await run_check(check, Bench(target, control, shared))
            await control.stop_feed()
        await shared.ledger.settle()
    finally:
        shared.timer.close()
    return [check.__name__ for check in checks]


async def run_check(check: Callable[[Bench], Awaitable[None]], bench: Bench) -> None:
    """Run one check. Raises ``ContractError`` that names it."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await check(bench)
    except TimeoutError as error:
        raise ContractError(f"{check.__name__}: not done within {CHECK_TIMEOUT_S:g} s") from error
    except Exception as error:
        raise ContractError(f"{check.__name__}: {error}") from error


@asynccontextmanager
async def _opened(client: Client) -> AsyncIterator[tuple[Welcome, AsyncIterator[Received]]]:
    """A connected client: its welcome, and the stream of envelopes after it."""
    async with aclosing(client.events()) as stream:
        first = await anext(stream)
        expect(first.envelope.type == "welcome", f"the first message is {first.envelope.type!r}, not 'welcome'")
        yield decode_welcome(first.envelope.data), stream


async def _take(stream: AsyncIterator[Received], count: int) -> list[Received]:
    """The next ``count`` events. Raises ``ContractError`` for a notice among them."""
    got: list[Received] = []
    while len(got) < count:
        received = await anext(stream)
        expect(received.envelope.type == "event", f"unexpected {received.envelope.type!r} among the events")
        got.append(received)
    return got


def expect(holds: bool, otherwise: str) -> None:
    """Raise ``ContractError`` with the message ``otherwise``, unless the condition holds."""
    if not holds:
        raise ContractError(otherwise)
