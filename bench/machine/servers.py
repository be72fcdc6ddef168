"""Starts a server, or the relay in front of one, and reads its ready line. No other module knows their command lines.

A ready line is the one JSON line on stdout that says where a process serves: ``url``, ``host``, ``port`` and
``control_url``. Whatever prints one can be measured.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.machine.processes import Child, start


async def start_server(transport: str, core: int | None, log: Path, *, port: int = 0, **options: Any) -> Child:
    """Start a transport's server on ``core`` and wait until it serves; without a feed unless ``source`` says another.

    ``options`` are those of ``python -m servers TRANSPORT``, by name with underscores; ``None`` leaves one out, a
    list repeats it.
    Raises ``ChildError``; a server that did not become ready is stopped.
    """
    arguments = _arguments(port=port, **{"source": "none", **options})
    return await _ready(await start(f"{transport} server", ["-m", "servers", transport, *arguments], core, log))


async def start_relay(server: Child, core: int | None, log: Path, *, port: int = 0, **options: Any) -> Child:
    """Start a relay in front of a server and wait until it serves; as ``start_server`` otherwise."""
    return await start_relay_to(f"{server.ready['host']}:{server.ready['port']}", core, log, port=port, **options)


async def start_relay_to(target: str, core: int | None, log: Path, *, port: int = 0, **options: Any) -> Child:
    """The same in front of whatever listens at ``target``, ``HOST:PORT``."""
    arguments = _arguments(to=target, port=port, **options)
    return await _ready(await start("relay", ["-m", "servers", "relay", *arguments], core, log))


@asynccontextmanager
async def serving(transport: str, core: int | None, log: Path, **options: Any) -> AsyncIterator[Child]:
    """A server for the time of a block, as ``start_server`` starts it."""
    server = await start_server(transport, core, log, **options)
    try:
        yield server
    finally:
        await server.stop()


def address_behind(server: Child, port: int) -> str:
    """The server's address by way of something on this machine that listens on ``port``."""
    return f"{server.ready['url'].partition('://')[0]}://127.0.0.1:{port}"


def _arguments(**options: Any) -> list[str]:
    given = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    each = [(name, value) for name, values in given.items() for value in values if value is not None]
    return [word for name, value in each for word in (f"--{name.replace('_', '-')}", str(value))]


async def _ready(child: Child) -> Child:
    try:
        await child.await_ready()
    except BaseException:  # also if it was cancelled: no other code knows of the process yet
        await child.stop()
        raise
    return child
