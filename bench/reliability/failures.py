"""Causes a fault while many clients are connected, and measures how they recover: ``python -m bench faults``.

* kill: SIGKILL of the server, and a new one on its port. The history is gone, so clients must be told of a gap.
* cut: the relay between server and clients is killed and started again. The server goes on and resumes all clients.
* stall: SIGSTOP of the server. Connections stay open; it is shorter than every time-out, so none is closed.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from bench.machine.host import Placement
from bench.machine.processes import Child, together
from bench.machine.servers import address_behind, start_relay, start_server
from bench.reliability.planned_fault import PlannedFault
from bench.results.reliability import FaultTrial
from clients.control import Control
from clients.core.client import Client, new_client, new_shared
from clients.core.errors import ClientError
from clients.core.options import ClientOptions
from feed.envelope import decode_welcome
from feed.instruments.clock import NS_PER_S, now_ns
from feed.schedule import Schedule

STALL_S: Final = 2.0
BACK_WITHIN_S: Final = 60.0
"""Far above the longest back-off after six failures in a row."""
EVENTS_BEFORE: Final = 20
EVENTS_AFTER: Final = 20
PAYLOAD_BYTES: Final = 256
HISTORY: Final = 100_000


class Observed:
    """One client, and when it received something."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.received_ns = 0
        """The newest envelope."""
        self.back_ns = 0
        """The first envelope after the fault was over."""
        self.resumes: list[str] = []
        """How the server answered each connection: new, resumed or gap."""
        self.fault_over_ns = 0

    async def receive(self) -> None:
        """Receive until cancelled."""
        async with aclosing(self.client.events()) as stream:
            async for envelope, receive_ns in stream:
                self.received_ns = receive_ns
                if self.fault_over_ns and not self.back_ns and receive_ns > self.fault_over_ns:
                    self.back_ns = receive_ns
                if envelope.type in ("welcome", "gap"):  # a poller that missed the outage gets a notice, and no welcome
                    self.resumes.append(decode_welcome(envelope.data).resume)


class FailureScenario:
    """A server, a relay in front of it where the fault needs one, and the clients."""

    def __init__(self, planned: PlannedFault, folder: Path, place: Placement, seed: int) -> None:
        self.planned = planned
        self.clients: list[Observed] = []
        self._logs = folder / "logs"
        self._core = place.server
        self._shared = new_shared(seed)
        self._server: Child
        self._relay: Child | None = None
        self._children: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, count: int) -> None:
        """Start everything and connect the clients."""
        self._server = await self._start_server(0)
        url = str(self._server.ready["url"])
        if self.planned.kind == "cut":
            self._relay = await self._start_relay(0)
            url = address_behind(self._server, self._relay.ready["port"])
        options = ClientOptions(poll_interval_s=0.2, hold_s=5.0, max_attempts=30)
        for _ in range(count):
            self.clients.append(Observed(new_client(self.planned.transport, url, options, self._shared)))
        self._tasks = [asyncio.ensure_future(one.receive()) for one in self.clients]
        await self.until(lambda: all(one.received_ns for one in self.clients), "every client connected")

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
        async with Control(self._server.ready["control_url"]) as control:
            await control.start_feed(Schedule("constant", rate_hz, limit=count), PAYLOAD_BYTES)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for something. Raises ``TimeoutError`` naming it after ``BACK_WITHIN_S``, and what a client raised."""
        end_ns = now_ns() + round(BACK_WITHIN_S * NS_PER_S)
        while not holds():
            for task in self._tasks:
                if task.done():
                    task.result()
            if now_ns() > end_ns:
                raise TimeoutError(f"not within {BACK_WITHIN_S:g} s: {what}")
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """Kill the server (SIGKILL), and start a new one on the same port."""
        await self._server.kill()
        self._server = await self._start_server(int(self._server.ready["port"]))

    async def cut(self) -> None:
        """Kill the relay, which stands for the network, and start a new one on the same port."""
        assert self._relay is not None
        await self._relay.kill()
        self._relay = await self._start_relay(int(self._relay.ready["port"]))

    async def stall(self) -> None:
        """Stop the server (SIGSTOP) for ``STALL_S``."""
        self._server.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STALL_S)
        self._server.process.send_signal(signal.SIGCONT)

    async def _start_server(self, port: int) -> Child:
        log = self._log("server")
        return self._keep(await start_server(self.planned.transport, self._core, log, port=port, history=HISTORY))

    async def _start_relay(self, port: int) -> Child:
        return self._keep(await start_relay(self._server, self._core, self._log("relay"), port=port, rtt_ms=0))

    def _keep(self, child: Child) -> Child:
        self._children.append(child)
        return child

    def _log(self, name: str) -> Path:
        return self._logs / f"{self.planned.id}-{name}-{len(self._children)}.log"


Fault = Callable[[FailureScenario], Awaitable[None]]
FAULTS: Final[dict[str, Fault]] = {
    "kill": FailureScenario.kill,
    "cut": FailureScenario.cut,
    "stall": FailureScenario.stall,
}


async def run_fault(
    planned: PlannedFault, clients: int, rate_hz: float, folder: Path, place: Placement, seed: int
) -> FaultTrial:
    """One trial: connect, publish, cause the fault, wait until every client is back, publish again, count."""
    scenario = FailureScenario(planned, folder, place, seed)
    try:
        await scenario.open(clients)
        await scenario.publish(EVENTS_BEFORE, rate_hz)
        await scenario.until(lambda: _all_received(scenario.clients, EVENTS_BEFORE), "the events before the fault")
        before = [one.client.reconnects for one in scenario.clients]
        began_ns = now_ns()
        await FAULTS[planned.kind](scenario)
        over_ns = now_ns()
        for one in scenario.clients:
            one.fault_over_ns = over_ns
        await scenario.publish(EVENTS_AFTER, rate_hz)
        expected = EVENTS_BEFORE + EVENTS_AFTER
        with suppress(TimeoutError, ClientError):  # a client that is not back by then, or has given up, is never back
            await scenario.until(lambda: _all_back(scenario.clients, expected), "every client is back")
        return _trial(planned, scenario.clients, before, (over_ns - began_ns) / NS_PER_S)
    finally:
        await scenario.close()


def _all_received(clients: list[Observed], expected: int) -> bool:
    return all(one.client.session.delivered >= expected for one in clients)


def _all_back(clients: list[Observed], expected: int) -> bool:
    """Every client has received something again, and has all that was published or was told of a gap."""
    return all(one.back_ns and (one.client.session.delivered >= expected or one.client.session.gaps) for one in clients)


def _trial(planned: PlannedFault, clients: list[Observed], before: list[int], outage_s: float) -> FaultTrial:
    cut_off = [one for one, earlier in zip(clients, before, strict=True) if one.client.reconnects > earlier]
    sessions = [one.client.session for one in clients]
    return FaultTrial(
        transport=planned.transport,
        fault=planned.kind,
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
    """When each client received something again: seconds after the fault was over, in rising order."""
    return sorted((one.back_ns - one.fault_over_ns) / NS_PER_S for one in clients if one.back_ns)


def peak_within(times_s: list[float], width_s: float) -> int:
    """The largest number of these times (in rising order) within any window of that width."""
    peak = first = 0
    for last, time_s in enumerate(times_s):
        while time_s - times_s[first] > width_s:
            first += 1
        peak = max(peak, last - first + 1)
    return peak
