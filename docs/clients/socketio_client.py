"""The shortest Socket.IO client that misses nothing: python socketio_client.py http://127.0.0.1:8000

The library reconnects by itself, with back-off and jitter. What it does not do is to ask for what was missed.
"""

import asyncio
import json
import sys

import socketio


async def receive(url, on_event):
    since = ""
    client = socketio.AsyncClient(reconnection_delay=1, reconnection_delay_max=30, randomization_factor=1)

    def note(envelope):
        nonlocal since
        if envelope["room"] == "feed":
            since = envelope["id"]

    @client.on("event")
    async def event(envelope):
        note(envelope)
        on_event(envelope)

    client.on("welcome", note)
    client.on("gap", note)
    await client.connect(url, auth=lambda: {"room": "feed", "since": since}, retry=True)  # asked anew each time
    await client.wait()


if __name__ == "__main__":
    asyncio.run(receive(sys.argv[1], lambda event: print(json.dumps(event), flush=True)))
