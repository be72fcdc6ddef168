"""Members of a test: clients that receive in the background, and leave at its end."""

import asyncio
import time
from typing import Any, Final

from clients.contract.platform import Member
from clients.core.client import new_client, new_shared
from clients.core.options import ClientOptions
from servers.gate.auth import DEV_KEY, mint
from tests.conftest import Running, until

QUICK: Final = {
    "poll_interval_s": 0.02,
    "hold_s": 2.0,
    "backoff_base_s": 0.05,
    "backoff_cap_s": 0.2,
    "max_attempts": 200,
}


def token(user: str = "ann", ttl_s: float = 60.0, **claims: Any) -> str:
    return mint(DEV_KEY, user, ttl_s, time.time(), claims)


class Crew:
    """Members of a test; all of them leave at its end."""

    def __init__(self) -> None:
        self.shared = new_shared(seed=1)
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, server: Running, url: str = "", **options: Any) -> Member:
        name = server.ready["transport"]
        variant = server.ready["options"]["variant"]
        client = new_client(
            name, url or server.url, ClientOptions(**{**QUICK, "variant": variant, **options}), self.shared
        )
        member = Member(client)
        task = asyncio.ensure_future(member.receive())
        self._tasks.append(task)
        await until(lambda: bool(member.received) or task.done(), "connected")
        if task.done():
            task.result()
        return member

    async def __aenter__(self) -> "Crew":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.shared.timer.close()
