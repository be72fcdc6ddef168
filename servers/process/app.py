"""One server process, from bound sockets to exit code 0: the transport, its control listener, and the feed."""

import asyncio
import importlib
import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from feed.faults import parse_fault
from feed.instruments.clock import Timer, now_ns
from feed.instruments.meters import measure_loop_lag
from feed.instruments.tcp import describe, tune
from feed.sources import Item
from feed.transports import TRANSPORTS
from servers.gate.admission import Admission
from servers.gate.auth import Authenticator
from servers.gate.limits import Limits
from servers.gate.origins import Origins
from servers.gate.secrets import Secrets
from servers.gate.watchdog import ConnectionWatchdog
from servers.http.listener import HttpListener
from servers.hub.fault_injection import Publish, with_fault
from servers.hub.hub import Hub
from servers.hub.publisher import Publisher
from servers.hub.stats import Stats
from servers.platform.collector import TUNED, tune_collector
from servers.platform.context import Context, Listener, PublishingListener, Serving
from servers.platform.namespace import Namespace
from servers.platform.options import ServerOptions
from servers.platform.service import Shared
from servers.process import control
from servers.services.registry import SERVICES
from servers.store.contract import Store
from servers.store.file import StoreFile
from servers.store.sqlite import SqliteStore


def scheme(options: ServerOptions) -> str:
    """The scheme of the address in the ready line."""
    return TRANSPORTS[options.transport].scheme + ("s" if options.tls else "")


def bind(host: str, port: int, unsent_bytes: int) -> socket.socket:
    """A bound socket, with the options that accepted connections inherit. Raises ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)
        tune(sock)
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def run(
    options: ServerOptions,
    secrets: Secrets,
    items: Iterable[Item] | None,
    announce: Callable[[str], None],
    file: StoreFile | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. ``announce`` gets the ready line once connections are accepted."""
    sock = bind(options.host, options.port, options.unsent_bytes)
    control_sock = bind(control.CONTROL_HOST, 0, options.unsent_bytes)
    line = _ready_line(options, secrets, sock, control_sock)
    stopped = stop_signal()
    store = SqliteStore(file) if file is not None else None
    context = make_context(options, secrets, store)
    transport = build(context)
    publisher = _publisher(context, transport)
    # A watchdog of its own, since connections to the control listener are not counted as load.
    control_watchdog = ConnectionWatchdog(options.request_timeout_s, options.stall_timeout_s)
    listeners: tuple[Listener, Listener] = (
        transport,
        HttpListener(Serving(options, control_watchdog, Origins(), local=True), control.routes(context, publisher)),
    )
    background = [
        asyncio.ensure_future(measure_loop_lag(context.timer, context.stats.loop_lag)),
        asyncio.ensure_future(context.watchdog.sweep_for_ever()),
        asyncio.ensure_future(control_watchdog.sweep_for_ever()),
    ]
    for namespace in context.namespaces:
        await namespace.start()
    serving = await start(listeners, (sock, control_sock))
    if options.gc == TUNED:
        tune_collector()
    announce(line)
    if items is not None:
        publisher.start(items, now_ns())
    await stopped.wait()
    publisher.stop()
    for watchdog in (context.watchdog, control_watchdog):
        asyncio.get_running_loop().call_later(options.shutdown_grace_s, watchdog.abort_all)
    await _end_all(context, listeners, serving, store)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    context.timer.close()


def _publisher(context: Context, transport: Listener) -> Publisher:
    """Publishes the feed, with the fault that was asked for."""
    sink: Publish = transport.publish if isinstance(transport, PublishingListener) else context.hub.publish
    publish = with_fault(sink, parse_fault(context.options.inject_fault))
    return Publisher(publish, context.timer, context.stats.publisher_lateness)


async def _end_all(
    context: Context,
    listeners: Sequence[Listener],
    serving: Sequence[asyncio.Future[None]],
    store: SqliteStore | None,
) -> None:
    """End all connections, then the services, then the store that they write to."""
    for namespace in context.namespaces:
        namespace.hub.close()
    for listener in listeners:
        listener.stop()
    await asyncio.gather(*serving)
    for namespace in context.namespaces:
        await namespace.stop()
    if store is not None:
        await store.close()


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


def make_context(options: ServerOptions, secrets: Secrets, store: Store | None = None) -> Context:
    """The parts from which a transport is built. Call it on a running loop."""
    authenticator = None if secrets.jwt_key is None else Authenticator(secrets.jwt_key)
    admission = Admission(authenticator, Origins(options.allowed_origins), Limits(options.limits))
    stats, timer = Stats(), Timer(asyncio.get_running_loop())
    shared = Shared(store, timer, options.services)

    def namespace(name: str) -> Namespace:
        hub = Hub(1 if name else options.rooms, options.history, counters=stats)
        return Namespace(name, options, hub, admission, SERVICES, shared)

    return Context(
        options,
        ConnectionWatchdog(options.request_timeout_s, options.stall_timeout_s),
        stats,
        timer,
        admission,
        tuple(map(namespace, ("", *options.namespaces))),
        secrets.tls,
    )


async def start(listeners: Sequence[Listener], socks: Sequence[socket.socket]) -> list[asyncio.Future[None]]:
    """Start the listeners, and return their tasks once all of them accept connections."""
    started = asyncio.Semaphore(0)
    serving = [
        asyncio.ensure_future(listener.serve(sock, started.release))
        for listener, sock in zip(listeners, socks, strict=True)
    ]
    for _ in listeners:
        await started.acquire()
    return list(serving)


def build(context: Context) -> Listener:
    """The listener of a transport, from ``build`` of the module that has the transport's name."""
    listener: Listener = importlib.import_module(f"servers.{context.options.transport}").build(context)
    return listener


def _ready_line(options: ServerOptions, secrets: Secrets, sock: socket.socket, control_sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    ready: dict[str, Any] = {
        "transport": options.transport,
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "url": f"{scheme(options)}://{shown}:{port}",
        "control_url": f"http://{control.CONTROL_HOST}:{control_sock.getsockname()[1]}",
        "options": msgspec.to_builtins(options),
        "socket": describe(sock),
        "open_files_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "ca_file": str(secrets.ca_file or ""),
    }
    return json.dumps(ready)
