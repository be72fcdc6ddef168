"""The relay as a process: its listener, its control listener, the ready line, and its end."""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from feed.instruments.clock import Timer, run_first
from feed.instruments.tcp import describe
from servers.gate.origins import Origins
from servers.gate.watchdog import ConnectionWatchdog
from servers.http.listener import HttpListener
from servers.network.relay import Relay, RelayOptions
from servers.platform.context import Serving
from servers.platform.options import ServerOptions
from servers.process import control
from servers.process.app import bind, start, stop_signal


async def run(options: RelayOptions, announce: Callable[[str], None]) -> None:
    """Relay until SIGTERM or SIGINT. ``announce`` gets the ready line once connections are accepted."""
    defaults = ServerOptions("relay")
    sock = bind(options.host, options.port, defaults.unsent_bytes)
    control_sock = bind(control.CONTROL_HOST, 0, defaults.unsent_bytes)
    loop = asyncio.get_running_loop()
    relay = Relay(options, Timer(loop))
    stopped = stop_signal()
    server = await loop.create_server(relay.accept, sock=sock, backlog=defaults.backlog)
    watchdog = ConnectionWatchdog(defaults.request_timeout_s, defaults.stall_timeout_s)
    sweeping = asyncio.ensure_future(watchdog.sweep_for_ever())
    listener = HttpListener(Serving(defaults, watchdog, Origins(), local=True), routes(relay))
    ready: dict[str, Any] = {
        "transport": "relay",
        "host": sock.getsockname()[0],
        "port": sock.getsockname()[1],
        "pid": os.getpid(),
        "control_url": f"http://{control.CONTROL_HOST}:{control_sock.getsockname()[1]}",
        "options": {
            **options._asdict(),
            "network": msgspec.to_builtins(options.network),
            "seeds": f"{options.seed}-CONNECTION-up and {options.seed}-CONNECTION-down, connections counted from 1",
            "scheduling": run_first(),
        },
        "socket": describe(sock),
    }
    (serving,) = await start((listener,), (control_sock,))
    announce(json.dumps(ready))
    await stopped.wait()
    sweeping.cancel()
    listener.stop()
    server.close()
    loop.call_later(defaults.shutdown_grace_s, watchdog.abort_all)
    for side in tuple(relay.sides):
        side.abort()
    await serving
    relay.timer.close()


def routes(relay: Relay) -> list[Route]:
    """The routes of the control listener: ``GET /stats`` and ``POST /stats/reset``."""

    async def stats(request: Request) -> Response:
        return JSONResponse(relay.summary())

    async def reset(request: Request) -> Response:
        relay.lateness.reset()
        return JSONResponse({})

    return [Route("/stats", stats), Route("/stats/reset", reset, methods=["POST"])]
