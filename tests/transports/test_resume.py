"""Cuts and restarts: nothing is missing in silence, whatever the transport."""

import asyncio
import contextlib
import os
import signal
from contextlib import aclosing

from clients.control import Control
from clients.core.client import State, new_client, new_shared
from clients.core.errors import GaveUpError
from clients.core.options import ClientOptions
from feed.cursor import parse_cursor
from feed.envelope import decode_welcome
from feed.schedule import Schedule
from tests.conftest import Start, run, until

QUICK = {"poll_interval_s": 0.02, "hold_s": 2.0, "backoff_base_s": 0.05, "backoff_cap_s": 0.2}


def test_a_dropped_connection_is_resumed_without_loss(start: Start, served: str) -> None:
    """The relay between client and server is killed and started again on its port while events go on."""
    server = start(served, "--source", "none")
    transport = server.ready["transport"]
    relay = start("relay", "--to", f"127.0.0.1:{server.port}", "--rtt-ms", "0")
    port = relay.port

    async def body() -> None:
        shared = new_shared(seed=1)
        client = new_client(
            transport,
            f"tcp://127.0.0.1:{port}",
            ClientOptions(**QUICK, max_attempts=200, variant=server.target.variant),
            shared,
        )
        states: list[State] = []
        client.state_listeners.append(states.append)
        got: list[int] = []
        welcomes: list[str] = []

        async def receive() -> None:
            async with aclosing(client.events()) as stream:
                async for envelope, _ in stream:
                    if envelope.type == "event":
                        got.append(parse_cursor(envelope.id).seq)
                    else:
                        welcomes.append(decode_welcome(envelope.data).resume)

        task = asyncio.ensure_future(receive())
        async with Control(server.ready["control_url"]) as control:
            await until(lambda: bool(welcomes), "connected")
            await control.start_feed(Schedule("constant", 100.0, limit=100), 256)
            await until(lambda: len(got) >= 20, "some events")
            os.kill(relay.process.pid, signal.SIGKILL)
            relay.process.wait()
            await until(lambda: State.RECONNECTING in states, "the cut is noticed")
            again = await asyncio.to_thread(_relay_again, start, server.port, port)
            assert again == port
            await until(lambda: len(got) >= 100, "all events")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert got == list(range(1, 101))
        assert welcomes[0] == "new" and set(welcomes[1:]) == {"resumed"}
        assert states[0] is State.CONNECTING and states[-1] is State.CLOSED
        assert client.session.silently_lost == 0 and client.reconnects >= 1
        shared.timer.close()

    run(body())


def _relay_again(start: Start, to: int, port: int) -> int:
    return start("relay", "--to", f"127.0.0.1:{to}", "--rtt-ms", "0", "--port", str(port), free_port=False).port


def test_a_restarted_server_admits_the_gap(start: Start, transport: str) -> None:
    """The new server counts from 1 again; the epoch in the cursor shows that it is not the same history."""
    first = start(transport, "--source", "synthetic", "--rate-hz", "100")
    port = first.port

    async def body() -> None:
        shared = new_shared(seed=1)
        client = new_client(transport, first.url, ClientOptions(**QUICK, max_attempts=200), shared)
        notices: list[str] = []
        seqs: list[int] = []
        async with aclosing(client.events()) as stream:
            async for envelope, _ in stream:
                if envelope.type == "event":
                    seqs.append(parse_cursor(envelope.id).seq)
                    if len(seqs) == 5:
                        os.kill(first.process.pid, signal.SIGKILL)
                        await asyncio.to_thread(first.process.wait)
                        arguments = (transport, "--source", "synthetic", "--rate-hz", "100", "--port", str(port))
                        await asyncio.to_thread(start, *arguments, free_port=False)
                        events_before = len(seqs)
                    if "gap" in notices and len(seqs) > events_before + 3:
                        break
                else:
                    welcome = decode_welcome(envelope.data)
                    notices.append(welcome.resume)
                    if welcome.resume == "gap":
                        assert welcome.missed is None
        assert notices == ["new", "gap"] and client.session.gaps == 1
        shared.timer.close()

    run(body())


def test_gives_up_after_the_allowed_attempts(transport: str) -> None:
    async def body() -> None:
        shared = new_shared(seed=1)
        options = ClientOptions(max_attempts=2, backoff_base_s=0.001)
        client = new_client(transport, "tcp://127.0.0.1:9", options, shared)
        try:
            async with aclosing(client.events()) as stream:
                await anext(stream)
        except GaveUpError as error:
            assert "after 2 reconnections; ConnectionRefusedError" in str(error)
        else:
            raise AssertionError("connected to nothing")
        assert client.state is State.CLOSED and client.reconnects == 2
        shared.timer.close()

    run(body())


def test_a_small_history_is_answered_with_the_exact_gap(start: Start, transport: str) -> None:
    server = start(transport, "--source", "none", "--history", "10")

    async def body() -> None:
        shared = new_shared(seed=1)
        options = ClientOptions(**QUICK, max_attempts=0)
        async with Control(server.ready["control_url"]) as control:
            client = new_client(transport, server.url, options, shared)
            async with aclosing(client.events()) as stream:
                here = (await anext(stream)).envelope.id
            await control.start_feed(Schedule("constant", 5000.0, limit=25), 256)
            await until(lambda: _published(control, 25), "25 events published")
            resumed = new_client(transport, server.url, ClientOptions(since=here, **QUICK, max_attempts=0), shared)
            async with aclosing(resumed.events()) as stream:
                welcome = decode_welcome((await anext(stream)).envelope.data)
                seqs = [parse_cursor((await anext(stream)).envelope.id).seq for _ in range(10)]
        assert (welcome.resume, welcome.missed) == ("gap", 15)
        assert seqs == list(range(16, 26))
        assert resumed.session.missed == 15 and resumed.session.silently_lost == 0
        shared.timer.close()

    run(body())


async def _published(control: Control, count: int) -> bool:
    return bool((await control.stats())["events_published"] == count)
