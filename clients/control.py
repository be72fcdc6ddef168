"""Client of the control listener of a server or relay on this machine."""

from types import TracebackType
from typing import Any, Final

import aiohttp

from feed.schedule import Schedule

TIMEOUT_S: Final = 5.0


class ControlError(Exception):
    """The control listener refused a call; the message has its answer."""


class Control:
    """One control address, as an async context manager."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))

    async def __aenter__(self) -> "Control":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def stats(self) -> dict[str, Any]:
        """The statistics now."""
        return await self._call("GET", "/stats")

    async def reset_stats(self) -> None:
        """Begin a measured part: histograms start over, counters continue."""
        await self._call("POST", "/stats/reset")

    async def start_feed(self, schedule: Schedule, payload_bytes: int, start_ns: int = 0) -> int:
        """Start publishing; returns the instant from which the schedule counts (CLOCK_MONOTONIC, ns)."""
        body = {
            "schedule": {name: getattr(schedule, name) for name in schedule.__struct_fields__},
            "payload_bytes": payload_bytes,
            "start_ns": start_ns,
        }
        return int((await self._call("POST", "/feed/start", body))["start_ns"])

    async def stop_feed(self) -> int:
        """Stop publishing; returns how many events the feed published."""
        return int((await self._call("POST", "/feed/stop"))["published"])

    async def publications(self) -> dict[int, int]:
        """Due time -> time of publication of the feed's newest 4,096 events (CLOCK_MONOTONIC, ns)."""
        answer = await self._call("GET", "/feed/publications")
        return {int(due_ns): int(publish_ns) for due_ns, publish_ns in answer["publications"]}

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            async with self._session.request(method, self._url + path, json=body) as response:
                answer: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ControlError(f"{method} {self._url}{path}: {type(error).__name__} {error}") from error
        if response.status != 200:
            raise ControlError(f"{method} {self._url}{path}: status {response.status}, {answer}")
        return answer
