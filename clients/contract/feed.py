"""The contract that makes the servers interchangeable, as checks that run against a live server.

The tests run all of them over every transport. The benchmark runs them before each measurement, on the server that it
is about to time: a transport that fails a check gets no numbers.
"""

import asyncio
from collections import Counter
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
from feed.schedule import Schedule
from feed.sources import synthetic
from feed.transports import TRANSPORTS

CHECK_TIMEOUT_S: Final = 20.0
"""A check takes a tenth of a second, and on a busy machine many times that."""
RATE_HZ: Final = 3000.0
EVENTS: Final = 300
"""Events of a check in traffic: enough to meet a fault in every hundredth event, and longer than any batch."""
PAYLOAD_BYTES: Final = 256
MARK_BYTES: Final = 96
"""Size of the event that marks the end of what a check publishes; all others are larger."""
LOOK_S: Final = 0.02
MAX_NAMED: Final = 5
"""Wrong events that a message names."""
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

    async def publish(self, count: int) -> int:
        """Let the server publish ``count`` events in quick succession. Returns the instant their times count from."""
        return await self.control.start_feed(_schedule(count), PAYLOAD_BYTES)

    async def mark(self, count: int) -> None:
        """Publish an event of another size once all ``count`` are published: what comes before it is all that comes."""
        await asyncio.sleep(count / RATE_HZ)
        while (await self.control.stats())["feed_published"] < count:  # noqa: ASYNC110 - the counter is another process's
            await asyncio.sleep(LOOK_S)
        await self.control.start_feed(_schedule(1), MARK_BYTES)


def _schedule(count: int) -> Schedule:
    return Schedule("constant", RATE_HZ, 1, 1, limit=count)


async def delivers_in_order(bench: Bench) -> None:
    """At speed, each event comes once, in order, never before it is due, byte by byte as the source made it, and all of
    them on one connection."""
    opened = bench.shared.ledger.opened
    async with _opened(bench.client()) as (welcome, stream):
        expect(welcome.resume == "new", f"a first connection got {welcome.resume!r}, not 'new'")
        start_ns = await bench.publish(EVENTS)
        got, _ = await asyncio.gather(_until_mark(stream), bench.mark(EVENTS))
    expect_exactly(got, start_ns)
    cursors = [parse_cursor(received.envelope.id) for received in got]
    expect(all(b.seq == a.seq + 1 for a, b in pairwise(cursors)), "ids have holes")
    opened = bench.shared.ledger.opened - opened
    expect(opened == 1, f"{opened} connections were opened, not one")


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
        got, _ = await asyncio.gather(_until_mark(stream), bench.mark(4))
    expect((welcome.resume, welcome.missed) == ("resumed", 0), f"resuming was answered with {welcome}")
    expected = [parse_cursor(last).seq + i for i in range(1, 5)]
    expect([parse_cursor(r.envelope.id).seq for r in got] == expected, "resuming did not bring exactly what was missed")


async def resumes_in_traffic(bench: Bench) -> None:
    """A connection that is cut while events flow is resumed by its cursor: nothing is lost, and nothing comes twice."""
    async with _opened(bench.client()) as (_, stream):
        start_ns = await bench.publish(EVENTS)
        before = await _take(stream, EVENTS // 3)
    async with _opened(bench.client(since=before[-1].envelope.id)) as (welcome, stream):
        after, _ = await asyncio.gather(_until_mark(stream), bench.mark(EVENTS))
    expect((welcome.resume, welcome.missed) == ("resumed", 0), f"resuming was answered with {welcome}")
    expect_exactly(before + after, start_ns)


async def admits_a_gap(bench: Bench) -> None:
    """A cursor of another epoch is answered with a gap of unknown size, and then with what the history holds."""
    async with _opened(bench.client()) as (_, stream):
        await bench.publish(1)
        await _take(stream, 1)
    async with _opened(bench.client(since=OTHER_EPOCH), gaps=1) as (welcome, stream):
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
    resumes_in_traffic,
    admits_a_gap,
    refuses_nonsense,
)


NEED_HISTORY: Final = (resumes_without_loss, resumes_in_traffic, admits_a_gap)
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
async def _opened(client: Client, gaps: int = 0) -> AsyncIterator[tuple[Welcome, AsyncIterator[Received]]]:
    """A connected client: its welcome, and the stream of envelopes after it. Afterwards its own counters are judged.

    The stream leaves out what comes twice; the counters do not. ``gaps``: how many the check must find.
    """
    async with aclosing(client.events()) as stream:
        first = await anext(stream)
        expect(first.envelope.type == "welcome", f"the first message is {first.envelope.type!r}, not 'welcome'")
        yield decode_welcome(first.envelope.data), stream
    session = client.session
    found = {
        "repeated": session.duplicates,
        "out of order": session.out_of_order,
        "left out": session.silently_lost,
        "gaps": session.gaps - gaps,
        "reconnections": client.reconnects,
    }
    expect(not any(found.values()), ", ".join(f"{what}: {count}" for what, count in found.items() if count))


async def _take(stream: AsyncIterator[Received], count: int) -> list[Received]:
    """The next ``count`` events. Raises ``ContractError`` for a notice among them."""
    return [await _next_event(stream) for _ in range(count)]


async def _until_mark(stream: AsyncIterator[Received]) -> list[Received]:
    """All events before the one of ``Bench.mark``. Raises ``ContractError`` for a notice among them."""
    got = [await _next_event(stream)]
    while len(bytes(got[-1].envelope.data)) >= PAYLOAD_BYTES:
        got.append(await _next_event(stream))
    return got[:-1]


async def _next_event(stream: AsyncIterator[Received]) -> Received:
    received = await anext(stream)
    while received.envelope.room.startswith("@"):  # the inbox of a user, where the server asks for tokens
        received = await anext(stream)
    expect(received.envelope.type == "event", f"unexpected {received.envelope.type!r} among the events")
    return received


def expect_exactly(got: list[Received], start_ns: int) -> None:
    """Raise ``ContractError`` unless these are the ``EVENTS`` of ``Bench.publish``: all, once, in order, unchanged."""
    numbers = [decode_stamp(received.envelope.data).n for received in got]
    wrong = {
        "did not come": sorted(set(range(EVENTS)) - set(numbers)),
        "came more than once": [n for n, times in Counter(numbers).items() if times > 1],
        "came after a later one": [b for a, b in pairwise(numbers) if b < a],
    }
    said = [f"{len(of)} {what} ({_some(of)})" for what, of in wrong.items() if of]
    expect(not said, f"of {EVENTS} events {', '.join(said)}")
    expect(len(got) == EVENTS, f"{len(got)} events came, but {EVENTS} were published")
    for item, (envelope, receive_ns) in zip(synthetic(_schedule(EVENTS), PAYLOAD_BYTES), got, strict=True):
        due_ns = start_ns + item.offset_ns
        data, made = bytes(envelope.data), item.make(due_ns)
        expect(data == made, f"the data of an event is {data.decode()}, but was made as {made.decode()}")
        expect(receive_ns >= due_ns, f"an event came {due_ns - receive_ns} ns before it was due")


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:MAX_NAMED])) + (" ..." if len(numbers) > MAX_NAMED else "")


def expect(holds: bool, otherwise: str) -> None:
    """Raise ``ContractError`` with the message ``otherwise``, unless the condition holds."""
    if not holds:
        raise ContractError(otherwise)
