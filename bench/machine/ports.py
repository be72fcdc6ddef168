"""A port to be bound a moment later by a program that cannot be asked for any free one, as locust's master."""

import random
import socket
from pathlib import Path
from typing import Final

EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST: Final = 10_000
TRIES: Final = 100


def free_port(lowest: int = LOWEST) -> int:
    """A port on 127.0.0.1 below those that the kernel deals out by itself.

    One of these may be taken meanwhile, by any connection or by a server that asks for any port: locust's workers
    then talk to whoever has it. Raises ``OSError`` if none of ``TRIES`` is free.
    """
    first = int(EPHEMERAL.read_text().split()[0])
    ports = range(lowest, first) if first > lowest else range(1)  # 0: the kernel deals out all of them
    for port in random.SystemRandom().sample(ports, min(TRIES, len(ports))):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(sock.getsockname()[1])
    raise OSError(f"no free port among {TRIES} from {lowest} to {first}")
