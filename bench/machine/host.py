"""Facts about this machine and the versions of everything, for the record."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import psutil

PACKAGES: Final = (
    "aiohttp",
    "gevent",
    "hdrhistogram",
    "httptools",
    "locust",
    "msgspec",
    "numpy",
    "python-engineio",
    "python-socketio",
    "sse-starlette",
    "starlette",
    "uvicorn",
    "uvloop",
    "websockets",
)


class Placement(NamedTuple):
    """The core of each process. The generator's processes take its cores in turn, the probes' process the first."""

    server: int
    relay: int
    generator: list[int]


def placement(cores: list[int]) -> Placement:
    """The server has a core to itself; with only two cores the relay shares it, never the generator."""
    if len(cores) == 1:
        return Placement(cores[0], cores[0], cores)
    if len(cores) == 2:
        return Placement(cores[0], cores[0], cores[1:])
    return Placement(cores[0], cores[1], cores[2:])


def facts() -> dict[str, object]:
    """Facts about the host, with units in their names."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu_model": _cpuinfo("model name") or platform.processor(),
        "cpu_mhz": _cpuinfo("cpu MHz"),
        "cpu_caches": _caches(),
        "cores": sorted(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average_1m": os.getloadavg()[0],
        "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "tcp_congestion_control_default": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "tcp_rmem_bytes": _read("/proc/sys/net/ipv4/tcp_rmem"),
        "tcp_wmem_bytes": _read("/proc/sys/net/ipv4/tcp_wmem"),
        "virtual": "hypervisor" in _read("/proc/cpuinfo"),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of every package that takes part in a measurement."""
    return {"python": sys.version.split()[0], **{name: metadata.version(name) for name in PACKAGES}}


def _cpuinfo(field: str) -> str:
    """A field of the first core; empty where the kernel does not tell (proc_cpuinfo(5))."""
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith(field):
            return line.partition(":")[2].strip()
    return ""


def _caches() -> dict[str, str]:
    """The first core's caches and their sizes (sysfs-devices-system-cpu)."""
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    return {f"L{_read(f'{of}/level')} {_read(f'{of}/type')}": _read(f"{of}/size") for of in folders}


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
