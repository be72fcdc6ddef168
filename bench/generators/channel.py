"""The generator's end of its channel to the orchestrator, and the steps of a trial in their order.

The channel is a Unix socket with one JSON object a line. The steps, each sent by one side and awaited by the other
(``bench.trial.channel`` is the other end, ``node_ws/client.mjs`` the same end in Node):

1. ``ready``, from the generator: its processes run and have their subscribers.
2. ``go`` with ``url``, to the generator: connect there.
3. ``connected``: every subscriber is. Or ``failed`` with ``why``: one of them has given up, and the trial ends.
4. ``window`` with ``start_ns``: the feed starts at that instant (CLOCK_MONOTONIC).
5. ``records``: the records are in the spec's ``records_file``, and all subscribers are disconnected.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any, Final, Protocol

from bench.generators.spec import LoadSpec, Records, save_records

READY: Final = "ready"
GO: Final = "go"
CONNECTED: Final = "connected"
FAILED: Final = "failed"
WINDOW: Final = "window"
RECORDS: Final = "records"
CHECK_S: Final = 0.02


class Steps(Protocol):
    """What a generator does at each step. Every call may block."""

    def await_subscribers(self) -> None:
        """Wait until every subscriber exists."""

    def connect(self, url: str) -> None:
        """Begin to connect all subscribers to the server at ``url``."""

    @property
    def opened(self) -> int:
        """Subscribers that have connected."""

    @property
    def failure(self) -> str:
        """Why a subscriber will never connect; empty as long as each still may."""

    def measure(self, start_ns: int) -> list[Records]:
        """Record until the drain is over, and disconnect all subscribers."""


def follow(spec: LoadSpec, generator: Steps) -> None:
    """Carry out one trial as the orchestrator asks. Raises ``SystemExit`` if it asks for something else, or is gone.

    Blocks, and under gevent only its greenlet does: locust patches sockets and ``time.sleep``.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(spec.socket)
        commands = channel.makefile("r")
        generator.await_subscribers()
        _send(channel, READY)
        generator.connect(_receive(commands, GO)["url"])
        while generator.opened < spec.subscribers:
            if generator.failure:
                _send(channel, FAILED, why=generator.failure)
                return
            time.sleep(CHECK_S)
        _send(channel, CONNECTED)
        records = generator.measure(_receive(commands, WINDOW)["start_ns"])
        save_records(records, Path(spec.records_file))
        _send(channel, RECORDS)


def _send(channel: socket.socket, event: str, **values: str) -> None:
    channel.sendall(json.dumps({"event": event, **values}).encode() + b"\n")


def _receive(commands: Any, command: str) -> dict[str, Any]:
    text = commands.readline()
    if not text:
        raise SystemExit("the orchestrator is gone")
    received: dict[str, Any] = json.loads(text)
    if received["command"] != command:
        raise SystemExit(f"expected the command {command!r}, not {received['command']!r}")
    return received
