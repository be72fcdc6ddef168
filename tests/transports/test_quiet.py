"""Nobody is cut off for being quiet: every connection outlives every period and time-out of server and client.

A feed without events, clients that send nothing of their own accord, and a wait that is longer than all of them; then
everybody is still connected, has been all the time, and gets the next event, message and answer. Once with every
period shortened, in seconds; and, with ``-m nightly``, once with the defaults as they are, in minutes.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

from clients.control import Control
from clients.core.client import Client, Shared, State, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.options import ClientOptions
from clients.http.stamped import KEEP_ALIVE_S
from feed.envelope import Envelope
from feed.schedule import Schedule
from feed.transports import POLLS
from servers.platform.membership import EMPTY_ROOM_S
from servers.platform.options import MAX_HOLD_S, ServerOptions
from servers.process.flags import HEARTBEATS_S
from tests.conftest import SERVED, run, until
from tests.helpers.forks import Forks

SHORT: dict[str, Any] = {
    "heartbeat_s": 2.0,
    "request_timeout_s": 3.0,
    "stall_timeout_s": 1.0,
    "keep_alive_s": 4,
    "session_timeout_s": 4.0,
    "ping_timeout_s": 4.0,
}
SHORT_CLIENT = ClientOptions(
    poll_interval_s=0.5, hold_s=1.5, answer_margin_s=3.0, silence_timeout_s=6.0, max_attempts=0
)
SHORT_QUIET_S = 8.0
NO_HEARTBEAT_S = 3600.0
ROOM = "quiet"


class Case(NamedTuple):
    """One server and how its client reaches it."""

    served: str
    options: Mapping[str, Any] = MappingProxyType({})
    relay: bool = False

    def __str__(self) -> str:
        return f"{self.served} {dict(self.options)}{' through the relay' if self.relay else ''}"


STREAMS = [name for name in SERVED if name.partition(":")[0] not in POLLS]
TRANSPORTS = [name for name in SERVED if ":" not in name]
CASES = [
    *map(Case, SERVED),
    *(Case(name, {"heartbeat_s": NO_HEARTBEAT_S}) for name in STREAMS),
    *(Case(name, {"tls": "dev"}) for name in TRANSPORTS),
    *(Case(name, relay=True) for name in TRANSPORTS),
]


@contextmanager
def processes(forks: Forks, commands: list[list[str]], folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Start them all at once; their ready lines. Each must end with 0."""
    started = [
        forks.start(module, arguments, folder / f"{number}-{module}.log")
        for number, (module, *arguments) in enumerate(commands)
    ]
    try:
        yield [json.loads(process.stdout.readline()) for process in started]
    finally:
        for process in started:
            process.terminate()
        codes = [process.wait(20) for process in started]
        for process in started:
            process.stdout.close()
    assert not any(codes)


class Quiet:
    """A client that has joined a room, if it can, and then says nothing."""

    def __init__(self, case: Case, url: str, ready: dict[str, Any], options: ClientOptions, shared: Shared) -> None:
        self.case = case
        self.control_url = str(ready["control_url"])
        self.takes_requests = ready["transport"] != "raw"
        options = msgspec.structs.replace(options, ca_file=ready["ca_file"], variant=case.served.partition(":")[2])
        if case.options.get("heartbeat_s") == NO_HEARTBEAT_S:  # then silence is no sign of anything
            options = msgspec.structs.replace(options, silence_timeout_s=2 * NO_HEARTBEAT_S)
        self.client: Client = new_client(ready["transport"], url, options, shared)
        self.got: list[str] = []
        for type_ in ("event", "message"):
            self.client.on(type_, self._take)

    def _take(self, envelope: Envelope) -> None:
        self.got.append(envelope.type)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Quiet"]:
        """Receive in the background, from the welcome on."""
        task = asyncio.ensure_future(self.client.run())
        try:
            await until(lambda: task.done() or self.client.state is State.OPEN, f"{self.case} is welcomed", 30)
            if self.takes_requests:
                await self.client.join(ROOM)
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, ClientError):  # the latter is among the failures
                await task

    async def failures(self) -> dict[str, Any]:
        """What is not as it was: the connection, the server's counts, what comes now."""
        async with Control(self.control_url) as control:
            stats = await control.stats()
            await control.start_feed(Schedule("constant", 100.0, limit=1), 256)
        found = {name: stats[name] for name in ("aborted_slow_readers", "request_timeouts") if stats[name]}
        if self.client.reconnects or self.client.state is not State.OPEN:
            return found | {"state": (self.client.state, self.client.reconnects, self.client.last_failure)}
        wanted = ["event"]
        try:
            if self.takes_requests:
                assert await self.client.request("call", service="echo", data="still here") == "still here"
                await self.client.request("publish", room=ROOM, data="hello")
                wanted.append("message")
            await until(lambda: sorted(self.got) == wanted, "event and message", 30)
        except Exception as error:
            found["afterwards"] = f"{error!r}, got {self.got}"
        return found


async def wait_quietly(
    cases: list[Case], ready: list[dict[str, Any]], urls: list[str], quiet_s: float, options: ClientOptions
) -> dict[str, Any]:
    """Connect everybody, wait, and say what has happened to whom."""
    shared = new_shared(seed=1)
    quiet = [Quiet(*each, options, shared) for each in zip(cases, urls, ready, strict=True)]
    async with AsyncExitStack() as stack:
        for one in quiet:
            await stack.enter_async_context(one.connected())
        await asyncio.sleep(quiet_s)  # this is what is tested
        found = {str(one.case): failures for one in quiet if (failures := await one.failures())}
    shared.timer.close()
    return found


def relayed(cases: list[Case], ready: list[dict[str, Any]], stack: ExitStack, forks: Forks, folder: Path) -> list[str]:
    """Where each client connects to: its server, or a relay before it."""
    targets = [one["port"] for case, one in zip(cases, ready, strict=True) if case.relay]
    relays = [["servers", "relay", "--to", f"127.0.0.1:{port}", "--network", "lan"] for port in targets]
    ports = iter([one["port"] for one in stack.enter_context(processes(forks, relays, folder))])
    urls = []
    for case, one in zip(cases, ready, strict=True):
        url = str(one["url"])
        urls.append(f"{url.rpartition(':')[0]}:{next(ports)}" if case.relay else url)
    return urls


@pytest.mark.long
def test_nobody_is_cut_off_for_being_quiet(forks: Forks, tmp_path: Path) -> None:
    """With all periods shortened; those of the server beyond what its command line offers."""
    assert max(*SHORT.values(), SHORT_CLIENT.silence_timeout_s) < SHORT_QUIET_S
    commands = []
    for case in CASES:
        transport, _, variant = case.served.partition(":")
        options = ServerOptions(transport, variant, port=0, **{**SHORT, **case.options})
        commands.append(["tests.helpers.serve", msgspec.json.encode(options).decode()])
    with ExitStack() as stack:
        ready = stack.enter_context(processes(forks, commands, tmp_path))
        urls = relayed(CASES, ready, stack, forks, tmp_path)
        assert run(wait_quietly(CASES, ready, urls, SHORT_QUIET_S, SHORT_CLIENT)) == {}


@pytest.mark.nightly
def test_nobody_is_cut_off_with_the_defaults(forks: Forks, tmp_path: Path) -> None:
    """Longer than every period that a connection meets: the longest is that after which an empty room is dropped."""
    defaults, client = ServerOptions("sse"), ClientOptions()
    periods = (
        *HEARTBEATS_S.values(),
        *(getattr(defaults, name) for name in SHORT),
        client.silence_timeout_s,
        client.hold_s + client.answer_margin_s,
        MAX_HOLD_S,
        KEEP_ALIVE_S,
        EMPTY_ROOM_S,
    )
    cases = [case for case in CASES if not case.options or case.options == {"tls": "dev"}]
    commands = []
    for case in cases:
        transport, _, variant = case.served.partition(":")
        tls = ["--tls", "dev"] if case.options else []
        variants = ["--variant", variant] if variant else []
        commands.append(["servers", transport, *variants, *tls, "--source", "none", "--port", "0"])
    with ExitStack() as stack:
        ready = stack.enter_context(processes(forks, commands, tmp_path))
        urls = relayed(cases, ready, stack, forks, tmp_path)
        assert run(wait_quietly(cases, ready, urls, 1.1 * max(periods), client)) == {}
