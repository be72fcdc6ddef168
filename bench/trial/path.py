"""The relay's delay as seen from outside: pings through one, before the first trial and after the last."""

import asyncio
import socket
import struct
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Final, NamedTuple

import msgspec

from bench.machine.processes import ChildError
from bench.machine.servers import start_relay_to
from bench.results.observed import RelayCheck
from feed.instruments.clock import NS_PER_MS, now_ns, run_first
from feed.instruments.tcp import tune
from feed.networks import Network

PINGS_S: Final = 0.6
LEAST_PINGS, MOST_PINGS = 5, 20
TIMEOUT_S: Final = 10.0
SLOW_MS: Final = 2.0
"""How much later than planned the fastest ping may be, and ..."""
USUALLY_SLOW_MS: Final = 5.0
"""... the median one; a relay with real-time priority is 0.2 ms late."""
_STAMP: Final = struct.Struct("=q")


class Ping(NamedTuple):
    """One way there and one way back in ms, both on CLOCK_MONOTONIC."""

    up_ms: float
    down_ms: float


async def check_relay(network: Network, when: str, core: int, log: Path) -> RelayCheck:
    """Ping through a relay with this network. If it is off the plan, once more: the host may have stalled."""
    found = await _check(network, when, core, log)
    return await _check(network, when, core, log) if found.reasons else found


async def _check(network: Network, when: str, core: int, log: Path) -> RelayCheck:
    with socket.create_server(("127.0.0.1", 0)) as echo:
        echo.settimeout(TIMEOUT_S)
        try:
            options = {name: of for name, of in msgspec.structs.asdict(network).items() if name != "name"}
            relay = await start_relay_to(f"127.0.0.1:{echo.getsockname()[1]}", core, log, **options)
            try:
                pings = await asyncio.to_thread(_ping, echo, relay.ready["port"], network.rtt_ms)
            finally:
                await relay.stop()
        except (ChildError, OSError) as error:
            return RelayCheck(when, network.rtt_ms, reasons=[f"the relay could not be checked: {error}"])
    return judge(network, when, pings)


def judge(network: Network, when: str, pings: list[Ping]) -> RelayCheck:
    """Hold pings against the plan's network. Pure."""
    found = RelayCheck(when, network.rtt_ms)
    transit_ms = network.rtt_ms / 2
    for way, words in (("up_ms", "to the server"), ("down_ms", "to the client")):
        times_ms = [getattr(ping, way) for ping in pings]
        least, middle = min(times_ms), median(times_ms)
        setattr(found, f"{way}_min", least)
        setattr(found, f"{way}_p50", middle)
        latest = transit_ms + network.jitter_ms / 2 + SLOW_MS
        usually = transit_ms + network.jitter_ms + USUALLY_SLOW_MS
        if least < transit_ms or least > latest or (middle > usually and not network.loss):
            found.reasons.append(
                f"the relay takes {least:.2f} ms {words} (median {middle:.2f}), as pings {when} show; planned are "
                f"{transit_ms:g} ms"
            )
    return found


def _ping(echo: socket.socket, port: int, rtt_ms: float) -> list[Ping]:
    """Ping one after another; the first one pays for the connection, and does not count."""
    run_first()
    answering = Thread(target=_answer, args=(echo,), daemon=True)
    answering.start()
    pings: list[Ping] = []
    with socket.socket() as sock:
        tune(sock)
        sock.settimeout(TIMEOUT_S)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(1 + max(LEAST_PINGS, min(MOST_PINGS, round(1000 * PINGS_S / rtt_ms)))):
            sent_ns = now_ns()
            sock.sendall(_STAMP.pack(sent_ns))
            (echoed_ns,) = _STAMP.unpack(_receive(sock))
            pings.append(Ping((echoed_ns - sent_ns) / NS_PER_MS, (now_ns() - echoed_ns) / NS_PER_MS))
    answering.join(TIMEOUT_S)
    return pings[1:]


def _answer(echo: socket.socket) -> None:
    """Answer each ping with the instant at which it came, until the other end closes."""
    run_first()
    try:
        sock, _ = echo.accept()
        with sock:
            sock.settimeout(TIMEOUT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                _receive(sock)
                sock.sendall(_STAMP.pack(now_ns()))
    except OSError:  # the end of the pings
        return


def _receive(sock: socket.socket) -> bytes:
    """One stamp. Raises ``OSError`` if the connection ends before."""
    data = b""
    while len(data) < _STAMP.size:
        piece = sock.recv(_STAMP.size - len(data))
        if not piece:
            raise ConnectionResetError("the connection ended")
        data += piece
    return data
