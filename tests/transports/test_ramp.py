"""Subscribers that connect together: a connection that is cut before its welcome counts once, a refusal is named."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from bench.generators import channel as steps
from bench.generators.population import Population
from bench.generators.spec import SPEC_VARIABLE, LoadSpec
from bench.machine.processes import start_program
from bench.trial.channel import GeneratorChannel, TrialError
from bench.trial.start import GENERATORS
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule
from tests.conftest import Start, run, until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SUBSCRIBERS = 3
CUTS = 2 * SUBSCRIBERS
"""aiohttp tries a request twice before it fails."""


@asynccontextmanager
async def listener(serve: Serve, scheme: str) -> AsyncIterator[str]:
    """A listener on a free port, as a URL of ``scheme``."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def cutting_the_first(url: str, cuts: int) -> Serve:
    """Passes connections on to the server at ``url``, and cuts the first ones."""
    address, seen = urlsplit(url), 0

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        if seen <= cuts:
            writer.transport.abort()
            return
        behind_reader, behind_writer = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer), return_exceptions=True)

    return serve


async def answer_404(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    writer.close()


def test_a_subscriber_that_connects_at_its_second_try_is_connected(start: Start, upstream: str) -> None:
    """It would be waited for in vain, and no delivery of the measured part was cut by it."""
    server = start(upstream, "--source", "none")

    async def ramp() -> dict[str, int]:
        schedule = Schedule("constant", 50.0, limit=5)
        spec = LoadSpec(upstream, subscribers=SUBSCRIBERS, probes=SUBSCRIBERS, poll_interval_s=0.1, schedule=schedule)
        async with listener(cutting_the_first(server.url, CUTS), urlsplit(server.url).scheme) as url:
            population = Population(spec)
            for index in range(SUBSCRIBERS):
                population.add(index)
            population.connect(url)
            await until(lambda: population.opened == SUBSCRIBERS, "subscribers")
            start_ns = now_ns()
            population.begin(start_ns)
            await population.shared.timer.sleep_until(start_ns + spec.window().end_ns + NS_PER_S // 10)
            records = await population.finish()
            assert population.opened == SUBSCRIBERS and not population.failures
            return records.counts

    assert run(ramp())["reconnects"] == 0


@pytest.mark.parametrize(("generator", "transport"), [("bare", "sse"), ("locust", "sse"), ("socketiouser", "socketio")])
def test_a_subscriber_that_never_connects_ends_the_trial_with_its_reason(
    generator: str, transport: str, tmp_path: Path
) -> None:
    spec = LoadSpec(transport, subscribers=1, probes=1, ramp_s=0.1, socket=str(tmp_path / "channel"))
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(spec))

    async def ramp() -> None:
        command = [sys.executable, *GENERATORS[generator], *(["-u", "1", "-r", "1"] if generator != "bare" else [])]
        environment = {SPEC_VARIABLE: str(tmp_path / "spec.json")}
        async with GeneratorChannel(tmp_path / "channel") as channel, listener(answer_404, "http") as url:
            process = await start_program("generator", command, None, tmp_path / "log", **environment)
            try:
                await channel.receive(steps.READY, [process])
                await channel.send(steps.GO, url=url)
                await channel.receive(steps.CONNECTED, [process])
            finally:
                await process.stop()

    with pytest.raises(TrialError, match="subscriber 0: "):
        run(ramp())
