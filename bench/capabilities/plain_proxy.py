"""A plain HTTP/1.1 reverse proxy that forwards no Upgrade, as many on the way still do: for the capability checks.

It forwards requests and streams answers as they come, and drops what RFC 9110 (section 7.6.1) calls hop-by-hop, so
that a handshake for another protocol arrives as an ordinary request.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
CONNECT_TIMEOUT_S: Final = 5.0
MAX_BODY_BYTES: Final = 1 << 20


class PlainProxy:
    """A proxy in front of ``target`` (``http://host:port``), listening on ``port``. An async context manager."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.port = 0

    async def __aenter__(self) -> "PlainProxy":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(auto_decompress=False, timeout=timeout, connector=connector)
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        async with self._session.request(
            request.method,
            self._target + request.raw_path,
            headers=end_to_end(request.headers),
            data=await request.read(),
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=end_to_end(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """The headers that a proxy forwards: not the hop-by-hop ones, nor those that ``Connection`` names."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP | named)
