"""The shortest long-polling client that misses nothing: python long_polling_client.py http://127.0.0.1:8000"""

import asyncio
import json
import random
import sys

import aiohttp

HOLD_S = 25


async def receive(url, on_event):
    since, failures = "", 0
    timeout = aiohttp.ClientTimeout(total=HOLD_S + 10)  # longer than the server holds, or every quiet hold is an error
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                query = {"room": "feed", "since": since, "hold_s": HOLD_S}
                async with session.get(f"{url}/long-poll", params=query) as response:
                    response.raise_for_status()
                    answer = await response.json()
                for event in answer["data"]["events"]:
                    on_event(event)
                since, failures = answer["id"], 0
            except (aiohttp.ClientError, TimeoutError):
                failures += 1
                await asyncio.sleep(random.uniform(0, min(30, 2**failures)))


if __name__ == "__main__":
    asyncio.run(receive(sys.argv[1], lambda event: print(json.dumps(event), flush=True)))
