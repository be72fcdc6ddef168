"""Capability checks: yes or no, each tried on a real server, with what happened as evidence.

The article's claims about connections, directions and proxies are no matter of degree, so a check needs no blocks.
``python -m bench capabilities``, and at the beginning of every run.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from bench.capabilities.browser import CONNECT, reconnections
from bench.capabilities.plain_proxy import PlainProxy
from bench.machine.processes import Child, ChildError
from bench.machine.servers import address_behind, serving
from bench.results.capabilities import CapabilityCheck
from clients.control import Control, ControlError
from clients.core.client import Client, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.ledger import Totals
from clients.core.options import ClientOptions
from feed.envelope import decode_stamp
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule
from feed.transports import CONTENDERS, POLLS

POLL_INTERVAL_S: Final = 0.1
HOLD_S: Final = 5.0
WAIT_S: Final = 8.0
"""What has not happened after this long counts as not happening."""
RATE_HZ: Final = 20.0
EVENTS: Final = 20
MESSAGES: Final = 5
LATER_S: Final = 0.5
"""An event this long after the connection opened shows whether an answer waits for it."""
OPTIONS: Final = ClientOptions(poll_interval_s=POLL_INTERVAL_S, hold_s=HOLD_S, max_attempts=3, backoff_cap_s=1.0)


class ServerUnderTest:
    """One transport's server, without events until a check has some published."""

    def __init__(self, transport: str, server: Child) -> None:
        self.transport = transport
        self.server = server
        self.url = str(server.ready["url"])

    async def publish(self, events: int, later_s: float = 0.0) -> None:
        """Have so many events published, the first ``later_s`` from now."""
        async with Control(self.server.ready["control_url"]) as control:
            schedule = Schedule("constant", RATE_HZ, limit=events)
            await control.stop_feed()
            await control.start_feed(schedule, 256, now_ns() + round(later_s * NS_PER_S))


class Receiver:
    """A shipped client that receives, with a ledger of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.waits_s: list[float] = []
        """Per event: receive time minus due time."""
        self.welcomed = False
        self.refused = ""
        """The error with which the client stopped for good; empty if it did not."""
        self._news = asyncio.Event()

    async def receive(self) -> None:
        """Receive until cancelled or refused."""
        try:
            async with aclosing(self.client.events()) as stream:
                async for envelope, receive_ns in stream:
                    self.welcomed = True  # the first of a connection is its welcome
                    if envelope.type == "event":
                        self.waits_s.append((receive_ns - decode_stamp(envelope.data).due_ns) / NS_PER_S)
                    self._news.set()
        except ClientError as error:
            self.refused = str(error)
            self._news.set()

    async def until(self, events: int) -> bool:
        """Did so many events come within ``WAIT_S``, before the client was refused?"""
        return await self._comes_true(lambda: len(self.waits_s) >= events)

    async def connected(self) -> bool:
        """Was it welcomed within ``WAIT_S``, before it was refused?"""
        return await self._comes_true(lambda: self.welcomed)

    async def _comes_true(self, holds: Callable[[], bool]) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while not holds() and not self.refused:
                    self._news.clear()
                    await self._news.wait()
        return holds()

    def totals(self) -> Totals:
        """What the client's connections moved so far."""
        return self.client.ledger.totals()


@asynccontextmanager
async def receiving_from(transport: str, url: str, options: ClientOptions = OPTIONS) -> AsyncIterator[Receiver]:
    """A client that receives until the block ends: connected, so that it misses nothing of it, or refused."""
    shared = new_shared(1)
    receiver = Receiver(new_client(transport, url, options, shared))
    receiving = asyncio.ensure_future(receiver.receive())
    try:
        await receiver.connected()
        yield receiver
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await shared.ledger.settle()
        shared.timer.close()


async def sends_where_it_receives(under_test: ServerUnderTest) -> tuple[bool, str]:
    """Does the connection that brings events also take messages, at the same time (RFC 6455, section 1.1)?"""
    async with receiving_from(under_test.transport, under_test.url) as receiver:
        await under_test.publish(EVENTS)
        await receiver.until(2)
        before = receiver.totals()
        for number in range(MESSAGES):
            await receiver.client.request("publish", room="feed", data=number)
        opened = receiver.totals().opened - before.opened
        arrived = await receiver.until(EVENTS)
    said = f"{MESSAGES} messages sent while {'all' if arrived else 'not all'} {EVENTS} events came: "
    return opened == 0 and arrived, said + f"{opened or 'no'} further connection{'s' if opened > 1 else ''}"


async def passes_a_plain_proxy(under_test: ServerUnderTest) -> tuple[bool, str]:
    """Does it work through an HTTP/1.1 proxy that forwards no Upgrade?"""
    target = "http://" + under_test.url.partition("://")[2]
    async with (
        PlainProxy(target) as proxy,
        receiving_from(under_test.transport, address_behind(under_test.server, proxy.port)) as receiver,
    ):
        await under_test.publish(EVENTS, LATER_S)
        arrived = await receiver.until(EVENTS)
        count, failure = len(receiver.waits_s), receiver.refused or receiver.client.last_failure
    return arrived, f"{count} of {EVENTS} events came" + ("" if arrived else f"; {failure}")


async def waits_for_data(under_test: ServerUnderTest) -> tuple[bool, str]:
    """Is a request held until there is something to answer? One request, and an event that comes later."""
    async with receiving_from(under_test.transport, under_test.url) as receiver:
        await under_test.publish(1, LATER_S)
        arrived = await receiver.until(1)
        requests = receiver.totals().requests
    wait = f"{receiver.waits_s[0] * 1000:.1f} ms after it was due" if arrived else "never"
    # The first answer may be an empty welcome at once; the second waits.
    held = arrived and requests <= 3
    return held, f"an event {LATER_S:g} s later came {wait}; {requests} requests until then"


async def asks_on_a_clock(under_test: ServerUnderTest) -> tuple[bool, str]:
    """Does it ask again and again though nothing happens?"""
    async with receiving_from(under_test.transport, under_test.url) as receiver:
        await asyncio.sleep(LATER_S)
        before = receiver.totals().requests
        await asyncio.sleep(10 * POLL_INTERVAL_S)
        asked = receiver.totals().requests - before
    return asked >= 5, f"{asked} requests in {10 * POLL_INTERVAL_S:g} s without an event"


async def opens_connections(under_test: ServerUnderTest) -> tuple[bool, str]:
    """Is a connection opened and closed for every event? With keep-alive, HTTP/1.1's default, and without."""
    kept, each = [await _connections_per_event(under_test, keep_alive) for keep_alive in (True, False)]
    return kept > 0.5, f"{kept:.2f} connections per event with keep-alive, {each:.2f} without"


async def _connections_per_event(under_test: ServerUnderTest, keep_alive: bool) -> float:
    options = ClientOptions(poll_interval_s=POLL_INTERVAL_S, hold_s=HOLD_S, max_attempts=3, keep_alive=keep_alive)
    async with receiving_from(under_test.transport, under_test.url, options) as receiver:
        before = receiver.totals().opened
        for count in range(1, EVENTS + 1):  # one at a time: no answer brings two of them, however busy the machine is
            await under_test.publish(1)
            await receiver.until(count)
        return (receiver.totals().opened - before) / max(1, len(receiver.waits_s))


async def reconnects_in_a_browser(under_test: ServerUnderTest) -> tuple[bool | None, str]:
    """Does a browser's own EventSource or WebSocket come back after the connection was cut, without code for it?"""
    ready, log = (
        under_test.server.ready,
        under_test.server.log.with_name(f"capabilities-{under_test.transport}-browser.log"),
    )
    return await reconnections(under_test.transport, str(ready["host"]), int(ready["port"]), log)


Check = Callable[[ServerUnderTest], Awaitable[tuple[bool | None, str]]]

CHECKS: Final[dict[str, tuple[Check, tuple[str, ...]]]] = {
    "sends_where_it_receives": (sends_where_it_receives, CONTENDERS),
    "passes_a_plain_proxy": (passes_a_plain_proxy, CONTENDERS),
    "waits_for_data": (waits_for_data, POLLS),
    "asks_on_a_clock": (asks_on_a_clock, POLLS),
    "opens_connections": (opens_connections, POLLS),
    "reconnects_in_a_browser": (reconnects_in_a_browser, tuple(CONNECT)),
}
"""Check by name, and the transports that it makes sense for."""
WITHOUT_EVENTS: Final = ("reconnects_in_a_browser",)
"""Checks that take long and need no feed: they run next to the others, which take turns."""


async def run_checks(transports: list[str], core: int, folder: Path) -> list[CapabilityCheck]:
    """Every check of every transport; transports run at the same time, as nothing here is timed."""
    async with asyncio.TaskGroup() as group:  # cancelled, it waits until each has stopped its server
        tasks = [group.create_task(_check_transport(name, core, folder)) for name in transports if name in CONTENDERS]
    return [found for task in tasks for found in task.result()]


async def _check_transport(transport: str, core: int, folder: Path) -> list[CapabilityCheck]:
    wanted = [name for name, (_, applies) in CHECKS.items() if transport in applies]
    try:
        async with serving(transport, core, folder / f"capabilities-{transport}.log") as server:
            under_test = ServerUnderTest(transport, server)
            async with asyncio.TaskGroup() as group:
                aside = [group.create_task(_try(under_test, name)) for name in wanted if name in WITHOUT_EVENTS]
                found = [await _try(under_test, name) for name in wanted if name not in WITHOUT_EVENTS]
            return found + [task.result() for task in aside]
    except ChildError as error:
        return [CapabilityCheck(transport, name, None, f"could not be tried: {error}") for name in wanted]


async def _try(under_test: ServerUnderTest, name: str) -> CapabilityCheck:
    check, _ = CHECKS[name]
    try:
        holds, evidence = await check(under_test)
    except (ChildError, ClientError, ControlError, OSError, TimeoutError) as error:
        holds, evidence = None, f"could not be tried: {type(error).__name__} {error}"
    return CapabilityCheck(under_test.transport, name, holds, evidence)
