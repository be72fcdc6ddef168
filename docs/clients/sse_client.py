"""The shortest SSE client outside a browser: python sse_client.py http://127.0.0.1:8000

In a browser, EventSource does all of it: new EventSource("/sse").onmessage = (event) => ...
"""

import asyncio
import json
import random
import sys

import aiohttp

SILENCE_S = 40  # more than two heartbeats: then the connection is dead, whatever TCP believes


async def receive(url, on_event):
    last_id, failures = "", 0
    timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                headers = {"Last-Event-ID": last_id} if last_id else {}
                async with session.get(f"{url}/sse", headers=headers) as response:
                    response.raise_for_status()
                    async for line in response.content:
                        name, _, value = line.decode().rstrip("\n").partition(": ")
                        if name == "id":
                            last_id = value
                        elif name == "data" and (envelope := json.loads(value))["type"] == "event":
                            on_event(envelope)
                        failures = 0
            except (aiohttp.ClientError, TimeoutError):
                pass
            failures += 1
            await asyncio.sleep(random.uniform(0, min(30, 2**failures)))


if __name__ == "__main__":
    asyncio.run(receive(sys.argv[1], lambda event: print(json.dumps(event), flush=True)))
