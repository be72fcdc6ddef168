"""The shortest polling client that misses nothing: python polling_client.py http://127.0.0.1:8000"""

import asyncio
import json
import random
import sys

import aiohttp


async def receive(url, on_event, interval_s=1.0):
    since, failures = "", 0
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/poll", params={"room": "feed", "since": since}) as response:
                    response.raise_for_status()
                    answer = await response.json()
                for event in answer["data"]["events"]:
                    on_event(event)
                since, failures = answer["id"], 0
                await asyncio.sleep(interval_s)
            except (aiohttp.ClientError, TimeoutError):
                failures += 1
                await asyncio.sleep(random.uniform(0, min(30, 2**failures)))


if __name__ == "__main__":
    asyncio.run(receive(sys.argv[1], lambda event: print(json.dumps(event), flush=True)))
