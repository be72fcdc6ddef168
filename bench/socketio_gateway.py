"""Hands a feed of ours on over Socket.IO: what locust's SocketIOUser needs to receive the same feed.

``python -m bench.socketio_gateway ws://HOST:PORT`` subscribes like any client and emits every event to everybody who is
connected. It is not measured; it only has to be quicker than who receives.
"""

import asyncio
import json
import signal
import sys
from contextlib import aclosing

import socketio
import uvloop
from aiohttp import web

from clients.client import new_client, new_shared
from clients.options import ClientOptions


async def serve(url: str) -> None:
    """Serve until SIGTERM. Prints one JSON line when it accepts connections and has joined the feed."""
    server = socketio.AsyncServer(async_mode="aiohttp", transports=["websocket"])
    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    shared = new_shared()
    client = new_client("websocket", url, ClientOptions(), shared)

    async def hand_on() -> None:
        async with aclosing(client.events()) as stream:
            async for envelope, _ in stream:
                if envelope.type == "welcome":
                    host, port = runner.addresses[0][:2]
                    print(json.dumps({"host": host, "port": port}), flush=True)
                elif envelope.type == "event":
                    await server.emit("event", {"type": "event", "id": envelope.id, "data": envelope.value()})

    task = asyncio.ensure_future(hand_on())
    await stopped.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()
    shared.timer.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop_runner:
        loop_runner.run(serve(sys.argv[1]))
