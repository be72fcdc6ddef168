"""Breaks things while many clients are connected, and measures how they come back: ``python -m bench faults``.

* kill: SIGKILL of the server, and a new one on its port. What clients had is gone, so they must be told of a gap.
* cut: the relay between them is killed and started again: the server lives on and resumes everybody.
* stall: SIGSTOP of the server. Its connections stay, so who notices depends on time-outs; here nobody is cut off.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from bench.machine.host import Placement
from bench.machine.processes import Child, start, together
from bench.reliability.hostile import run_siege
from bench.results.files import FAULTS_FILE, save
from bench.results.reliability import ATTACKS, FaultResults, FaultTrial
from bench.run.progress import Reporter, duration
from clients.control import Control
from clients.core.client import Client, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.options import ClientOptions
from feed.envelope import decode_welcome
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule

STALL_S: Final = 2.0
BACK_WITHIN_S: Final = 60.0
"""The back-off's bound after six failures in a row is far below."""
EVENTS_BEFORE: Final = 20
EVENTS_AFTER: Final = 20
PAYLOAD_BYTES: Final = 256
HISTORY: Final = 100_000
EXPECTED_S: Final = 12.0
"""For the progress line: how long one trial takes."""


class Planned(NamedTuple):
    """One trial to come; ``fault`` may be a siege."""

    transport: str
    fault: str
    repeat: int

    @property
    def id(self) -> str:
        return f"{self.transport}-{self.fault}-{self.repeat}"


class Observed:
    """One client, and when it heard from the server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard_ns = 0
        self.back_ns = 0
        """First envelope after the fault was over."""
        self.resumes: list[str] = []
        self.fault_over_ns = 0

    async def receive(self) -> None:
        """Until cancelled."""
        async with aclosing(self.client.events()) as stream:
            async for envelope, receive_ns in stream:
                self.heard_ns = receive_ns
                if self.fault_over_ns and not self.back_ns and receive_ns > self.fault_over_ns:
                    self.back_ns = receive_ns
                if envelope.type in ("welcome", "gap"):  # a poller that missed the outage gets a notice, and no welcome
                    self.resumes.append(decode_welcome(envelope.data).resume)


class Scene:
    """A server, a relay in front of it where the fault needs one, and the clients."""

    def __init__(self, planned: Planned, folder: Path, place: Placement, seed: int) -> None:
        self.planned = planned
        self._logs = folder / "logs"
        self._place = place
        self._shared = new_shared(seed)
        self.clients: list[Observed] = []
        self.server: Child
        self._relay: Child | None = None
        self._children: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, count: int) -> None:
        """Start everything and connect the clients."""
        self.server = await self._start_server("0")
        if self.planned.fault == "cut":
            self._relay = await self._start_relay("0")
        url = self._address()
        options = ClientOptions(poll_interval_s=0.2, hold_s=5.0, max_attempts=30)
        for _ in range(count):
            self.clients.append(Observed(new_client(self.planned.transport, url, options, self._shared)))
        self._tasks = [asyncio.ensure_future(one.receive()) for one in self.clients]
        await self.until(lambda: all(one.heard_ns for one in self.clients), "everybody connected")

    async def close(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._shared.ledger.settle()
        self._shared.timer.close()
        await together(*(child.stop() for child in self._children if child.process.returncode is None))

    async def publish(self, count: int, rate_hz: float) -> None:
        """Have that many events published."""
        async with Control(self.server.ready["control_url"]) as control:
            await control.start_feed(Schedule("constant", rate_hz, limit=count), PAYLOAD_BYTES)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something, not for ever. Raises ``TimeoutError`` naming it, and what a client failed with."""
        end_ns = now_ns() + round(BACK_WITHIN_S * NS_PER_S)
        while not holds():
            for task in self._tasks:
                if task.done():
                    task.result()
            if now_ns() > end_ns:
                raise TimeoutError(f"not within {BACK_WITHIN_S:g} s: {what}")
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """kill -9, and a new server on the same port."""
        await self._kill(self.server)
        self.server = await self._start_server(str(self.server.ready["port"]))

    async def cut(self) -> None:
        """The network between goes, and comes back."""
        assert self._relay is not None
        await self._kill(self._relay)
        self._relay = await self._start_relay(str(self._relay.ready["port"]))

    async def stall(self) -> None:
        """The server stands still for a while."""
        self.server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STALL_S)
        self.server.process.send_signal(signal.SIGCONT)

    async def _kill(self, child: Child) -> None:
        os.killpg(child.pid, signal.SIGKILL)
        await child.process.wait()

    async def _start_server(self, port: str) -> Child:
        arguments = ["-m", "servers", self.planned.transport, "--port", port, "--source", "none"]
        return await self._start("server", [*arguments, "--history", str(HISTORY)])

    async def _start_relay(self, port: str) -> Child:
        target = f"{self.server.ready['host']}:{self.server.ready['port']}"
        return await self._start("relay", ["-m", "servers", "relay", "--to", target, "--rtt-ms", "0", "--port", port])

    async def _start(self, name: str, arguments: list[str]) -> Child:
        log = self._logs / f"{self.planned.id}-{name}-{len(self._children)}.log"
        child = await start(name, arguments, self._place.server, log)
        self._children.append(child)
        await child.await_ready()
        return child

    def _address(self) -> str:
        front = self._relay or self.server
        scheme = self.server.ready["url"].partition("://")[0]
        return f"{scheme}://{front.ready['host']}:{front.ready['port']}"


Break = Callable[[Scene], Awaitable[None]]
BREAKS: Final[dict[str, Break]] = {"kill": Scene.kill, "cut": Scene.cut, "stall": Scene.stall}


async def run_fault(
    planned: Planned, clients: int, rate_hz: float, folder: Path, place: Placement, seed: int
) -> FaultTrial:
    """One trial: connect, publish, break, wait until everybody is back, publish again, count."""
    scene = Scene(planned, folder, place, seed)
    try:
        await scene.open(clients)
        await scene.publish(EVENTS_BEFORE, rate_hz)
        await scene.until(lambda: all(one.client.session.delivered >= EVENTS_BEFORE for one in scene.clients), "events")
        before = [one.client.reconnects for one in scene.clients]
        began_ns = now_ns()
        await BREAKS[planned.fault](scene)
        over_ns = now_ns()
        for one in scene.clients:
            one.fault_over_ns = over_ns
        await scene.publish(EVENTS_AFTER, rate_hz)
        expected = EVENTS_BEFORE + EVENTS_AFTER
        with suppress(TimeoutError, ClientError):  # who is not back by then, or has given up, is never back
            await scene.until(lambda: _all_back(scene.clients, expected), "everybody is back")
        return _trial(planned, scene.clients, before, (over_ns - began_ns) / NS_PER_S)
    finally:
        await scene.close()


def _all_back(clients: list[Observed], expected: int) -> bool:
    """Everybody has heard again, and has all that was published, or was told that some of it is gone."""
    return all(one.back_ns and (one.client.session.delivered >= expected or one.client.session.gaps) for one in clients)


def _trial(planned: Planned, clients: list[Observed], before: list[int], outage_s: float) -> FaultTrial:
    cut_off = [one for one, earlier in zip(clients, before, strict=True) if one.client.reconnects > earlier]
    sessions = [one.client.session for one in clients]
    return FaultTrial(
        transport=planned.transport,
        fault=planned.fault,
        repeat=planned.repeat,
        clients=len(clients),
        outage_s=outage_s,
        recover_s=_back_s(clients),
        undisturbed=len(clients) - len(cut_off),
        never_back=sum(not one.back_ns for one in clients),
        handshakes_per_s_peak=peak_within(_back_s(cut_off), 1.0),
        delivered=sum(session.delivered for session in sessions),
        silently_lost=sum(session.silently_lost for session in sessions),
        duplicates=sum(session.duplicates for session in sessions),
        gaps=sum("gap" in one.resumes[1:] for one in clients),
        resumed=sum("resumed" in one.resumes[1:] for one in clients),
    )


def _back_s(clients: list[Observed]) -> list[float]:
    """When each heard from the server again, in rising order: seconds after the fault was over."""
    return sorted((one.back_ns - one.fault_over_ns) / NS_PER_S for one in clients if one.back_ns)


def peak_within(times_s: list[float], width_s: float) -> int:
    """The most of these times, in rising order, that lie within any window of that width."""
    peak = first = 0
    for last, time_s in enumerate(times_s):
        while time_s - times_s[first] > width_s:
            first += 1
        peak = max(peak, last - first + 1)
    return peak


async def run_faults(
    results: FaultResults, planned: list[Planned], clients: int, folder: Path, place: Placement, told: Reporter
) -> None:
    """All trials in order, saved after each. Cancelling it stops all processes."""
    (folder / "logs").mkdir(exist_ok=True)
    told.begin(EXPECTED_S * len(planned), len(planned))
    for number, one in enumerate(planned):
        told.starting(one.id, EXPECTED_S)
        said = await _carry_out(results, one, clients, folder, place, results.seed + number)
        await asyncio.to_thread(save, results, folder, FAULTS_FILE)
        told.finished(one.id, said, EXPECTED_S * (len(planned) - number - 1))
    results.finished = True
    save(results, folder, FAULTS_FILE)


async def _carry_out(
    results: FaultResults, one: Planned, clients: int, folder: Path, place: Placement, seed: int
) -> str:
    """Measure one, keep it, and say how it went."""
    if one.fault in ATTACKS:
        siege = await run_siege(one.transport, one.fault, one.repeat, results.window_events, folder, place, seed)
        results.hostile.append(siege)
        memory = f"{siege.rss_bytes_per_hostile_client / 1024:.1f} KiB per bad peer"
        return f"p99 {siege.baseline_ms_p99:.1f} -> {siege.attack_ms_p99:.1f} ms, {memory}"
    trial = await run_fault(one, clients, results.rate_hz, folder, place, seed)
    results.trials.append(trial)
    return _said(trial)


def _said(trial: FaultTrial) -> str:
    back = f"{len(trial.recover_s)} came back" + (
        f", the last after {duration(trial.recover_s[-1])}" if trial.recover_s else ""
    )
    return f"{back}; {trial.silently_lost} lost, {trial.duplicates} duplicates"
