"""What a browser does by itself when a connection is cut: headless Chromium, its own EventSource and WebSocket.

Playwright comes with `make setup`, Chromium from the distribution; where one is missing the check is not tried.

``python -m bench.capabilities.browser TRANSPORT HOST PORT`` is one attempt, which prints one JSON line. It is a process
of its own, so that a terminal's Ctrl-C does not end Playwright's driver under a check that still uses it.
"""

import asyncio
import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.machine.processes import start

CHROMIUM: Final = ("chromium", "google-chrome")
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
COME_BACK_S: Final = 6.0
"""Chromium's EventSource waits 3 s before it tries again (WHATWG HTML, 9.2.2: a few seconds)."""
CONNECT: Final = {  # transports that browsers have an object for
    "sse": "new EventSource('/sse').onopen = () => window.opens += 1",
    "websocket": "new WebSocket(`ws://${location.host}/ws`).onopen = () => window.opens += 1",
}
OPENED_AGAIN: Final = "() => window.opens > 1"


class Cutter:
    """A TCP forwarder in front of a server, whose connections can be cut. An async context manager."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def __aenter__(self) -> "Cutter":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Reset every connection; new ones are forwarded as before."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, up_writer]
        with suppress(asyncio.CancelledError):  # the loop ends; asyncio (3.11) logs a handler that was cancelled
            await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer), return_exceptions=True)
        writer.close()
        up_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def reconnections(transport: str, host: str, port: int, log: Path) -> tuple[bool | None, str]:
    """Whether the browser reconnected (``None``: could not be tried), and the evidence. Raises ``ChildError``."""
    child = await start("browser", ["-m", "bench.capabilities.browser", transport, host, str(port)], None, log)
    try:
        answer = await child.await_ready()
    finally:
        await child.stop()
    return answer["holds"], answer["evidence"]


async def attempt(transport: str, host: str, port: int) -> tuple[bool | None, str]:
    """The attempt itself, in this process."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        return None, "not tried: Chromium is not installed"
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        return None, "not tried: Playwright is not installed"
    try:
        async with Cutter(host, port) as cutter, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
            try:
                page = await browser.new_page()
                await page.goto(f"http://127.0.0.1:{cutter.port}/")
                return await _cut_and_watch(page, transport, cutter, f"Chromium {browser.version}")
            finally:
                await browser.close()
    except Error as error:
        return None, f"could not be tried: {error.message.partition(chr(10))[0]}"


async def _cut_and_watch(page: Any, transport: str, cutter: Cutter, name: str) -> tuple[bool, str]:
    from playwright.async_api import TimeoutError as NotInTimeError

    await page.evaluate(f"() => {{ window.opens = 0; {CONNECT[transport]}; }}")
    await page.wait_for_function("() => window.opens === 1")
    cutter.cut()
    try:
        await page.wait_for_function(OPENED_AGAIN, timeout=COME_BACK_S * 1000)
    except NotInTimeError:
        return False, f"{name}: cut, and not opened again within {COME_BACK_S:g} s"
    return True, f"{name}: cut, and opened again by itself"


if __name__ == "__main__":
    holds, evidence = asyncio.run(attempt(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    print(json.dumps({"holds": holds, "evidence": evidence}), flush=True)
