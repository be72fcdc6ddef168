"""The shortest WebSocket client that misses nothing: python websocket_client.py ws://127.0.0.1:8000"""

import asyncio
import json
import random
import sys

import aiohttp


async def receive(url, on_event):
    since, failures = "", 0
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                query = {"room": "feed", "since": since}
                async with session.ws_connect(f"{url}/ws", params=query, heartbeat=20) as socket:
                    async for message in socket:
                        envelope = json.loads(message.data)
                        if envelope["type"] == "event":
                            on_event(envelope)
                        if envelope["room"] == "feed":
                            since, failures = envelope["id"], 0
            except (aiohttp.ClientError, TimeoutError):
                pass
            failures += 1
            await asyncio.sleep(random.uniform(0, min(30, 2**failures)))


if __name__ == "__main__":
    asyncio.run(receive(sys.argv[1], lambda event: print(json.dumps(event), flush=True)))
