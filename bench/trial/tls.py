"""TLS for trials: a throw-away certificate, and the cost of a handshake on its own."""

import asyncio
import socket
import ssl
import statistics
from pathlib import Path
from typing import Final, NamedTuple

import trustme
from yarl import URL

from bench.machine.processes import Child, cpu_ns
from clients.core.tls import client_context
from feed.instruments.clock import NS_PER_MS, NS_PER_US, now_ns

HANDSHAKES: Final = 100
HANDSHAKE_TIMEOUT_S: Final = 5.0


class Certificate(NamedTuple):
    """Files of an authority's certificate, and of a certificate for this machine with its key."""

    ca: Path
    chain: Path
    key: Path


def make_certificate(folder: Path) -> Certificate:
    """Write a new authority's certificate, and one of it for 127.0.0.1 with its key (ECDSA P-256)."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    files = Certificate(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(files.ca)
    issued.cert_chain_pems[0].write_to_path(files.chain)
    issued.private_key_pem.write_to_path(files.key)
    return files


async def handshake_metrics(server: Child, ca_file: str) -> dict[str, float]:
    """Median time (ms) and server CPU (us) of a handshake: connections opened one after the other, without a request.

    With TLS every handshake is a full one: no session is resumed.
    """
    address = URL(server.ready["url"])
    host, port = str(address.host), int(address.port or 0)
    context = client_context(Path(ca_file)) if ca_file else None
    times_ms: list[float] = []
    before_ns = cpu_ns(server.pid)
    for _ in range(HANDSHAKES):
        times_ms.append(await _handshake(host, port, context))
    spent_ns = cpu_ns(server.pid) - before_ns
    return {
        "handshake_ms_p50": statistics.median(times_ms),
        "server_cpu_us_per_handshake": spent_ns / NS_PER_US / HANDSHAKES,
    }


async def _handshake(host: str, port: int, context: ssl.SSLContext | None) -> float:
    began_ns = now_ns()
    async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
        _, writer = await asyncio.open_connection(host, port, ssl=context, family=socket.AF_INET)
        took_ms = (now_ns() - began_ns) / NS_PER_MS
        writer.close()
        await writer.wait_closed()
    return took_ms
