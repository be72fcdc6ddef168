"""A packet capture of one port of the loopback, made by tcpdump."""

import asyncio
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.capture.pcap import CaptureError
from bench.machine.processes import Child, start_program

START_TIMEOUT_S: Final = 10.0
CHECK_S: Final = 0.02
QUIET_S: Final = 0.2
MAX_PACKET_BYTES: Final = 16_384
"""The kernel reserves this size for every waiting packet, so a larger one makes the buffer hold fewer packets."""
KERNEL_BUFFER_KIB: Final = 65_536
_DROPPED: Final = re.compile(r"(\d+) packets dropped by kernel")


@asynccontextmanager
async def captured(port: int, file: Path, core: int | None = None) -> AsyncIterator[None]:
    """Capture all packets of a TCP port into ``file``, from entry until the port is quiet after the block.

    ``core``: where tcpdump runs. Raises ``CaptureError`` saying what to install or allow, or that packets were lost.
    """
    log = file.with_suffix(".log")
    child = await start_program("tcpdump", _command(port, file), core, log)
    try:
        await _await_listening(child)
        yield
        await _await_quiet(file)
    finally:
        await child.stop()
        said = log.read_text()
        log.unlink()
    dropped = _DROPPED.search(said)
    if dropped is None:
        raise CaptureError(f"tcpdump ended early: {' '.join(said.split())}")
    if int(dropped[1]):
        raise CaptureError(f"the capture is not complete: {dropped[0]}; is the machine busy?")


async def check_capture() -> None:
    """Try a capture. Raises ``CaptureError`` saying what to install or allow."""
    with tempfile.TemporaryDirectory(prefix="pushmark-") as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        async with captured(listener.getsockname()[1], Path(folder) / "check.pcap"):
            pass


def _command(port: int, file: Path) -> list[str]:
    program = shutil.which("tcpdump")
    if program is None:
        raise CaptureError("tcpdump is missing: apt-get install tcpdump")
    options = ["--immediate-mode", "--packet-buffered", "-n", "-i", "lo", "--time-stamp-precision=nano"]
    options += ["-s", str(MAX_PACKET_BYTES), "-B", str(KERNEL_BUFFER_KIB)]
    return [program, *options, "-w", str(file), f"tcp port {port}"]


async def _await_listening(child: Child) -> None:
    """Wait until packets are captured."""
    ended = asyncio.ensure_future(child.process.wait())
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while "listening" not in child.log.read_text():
                if ended.done():
                    raise CaptureError(
                        "tcpdump may not capture on lo: run as root, or allow it with "
                        f"`setcap cap_net_raw+ep {shutil.which('tcpdump')}`; it said: {child.last_words()}"
                    )
                await asyncio.sleep(CHECK_S)
    except TimeoutError as error:
        raise CaptureError(f"tcpdump did not begin within {START_TIMEOUT_S:g} s: {child.last_words()}") from error
    finally:
        ended.cancel()


async def _await_quiet(file: Path) -> None:
    """Wait until the file has stopped growing."""
    before, size = -1, _size_bytes(file)
    while size != before:
        await asyncio.sleep(QUIET_S)
        before, size = size, _size_bytes(file)


def _size_bytes(file: Path) -> int:
    return file.stat().st_size
