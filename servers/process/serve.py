"""The command ``python -m servers TRANSPORT``: its options, and the server that they describe."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop

from feed.console.command_line import OutputError
from feed.faults import parse_fault
from feed.instruments.tcp import raise_open_files
from feed.rooms import RoomNameError, check_room, room_name
from feed.schedule import Schedule
from feed.sources import Item, SourceError, host, load_replay, synthetic
from feed.transports import CONDITIONAL, FLOOR, TRANSPORTS
from servers.gate import logs
from servers.gate.limits import LimitOptions, parse_limit
from servers.gate.origins import Origins
from servers.gate.secrets import DEV_WARNING, load_secrets
from servers.hub.publisher import repeated
from servers.platform.names import check_namespaces
from servers.platform.options import ServerOptions
from servers.process.app import run
from servers.process.flags import options_of
from servers.services.registry import parse_options
from servers.store.contract import StoreError
from servers.store.file import StoreFile

TAKEN_AS_THEY_ARE: Final = (
    "host",
    "port",
    "rooms",
    "history",
    "heartbeat_s",
    "stall_timeout_s",
    "request_timeout_s",
    "gc",
    "inject_fault",
)
"""Command line options that are fields of ``ServerOptions``, unchanged."""


def command(transport: str) -> click.Command:
    """The command that serves over a transport."""
    text = f"Serve the feed over {TRANSPORTS[transport].label}."
    return click.Command(transport, callback=partial(_serve, transport), params=options_of(transport), help=text)


def announce(line: str) -> None:
    """Print the ready line and flush it, so that the reader of a pipe has it at once.

    Nothing can find a server whose address was not printed, so a failed write ends it: a reader that is gone is an
    error too. Raises ``click.ClickException``.
    """
    try:
        print(line, flush=True)
    except OutputError as error:
        raise click.ClickException(str(error)) from error
    if sys.stderr.isatty():
        click.echo(what_next(json.loads(line)), err=True)


def what_next(ready: dict[str, Any]) -> str:
    """What a person at a terminal can do with a server or relay that is ready."""
    if ready["transport"] == "relay":
        return f"Ready (Ctrl-C ends it). Let clients connect to {ready['host']}:{ready['port']}"
    trusted = f" --ca-file {ready['ca_file']}" if ready["ca_file"] else ""
    receive = f".venv/bin/python -m clients {ready['transport']} {ready['url']}{trusted}"
    return f"Ready (Ctrl-C ends it). To receive the feed, in a second terminal: {receive}"


def run_in_foreground(main: Callable[[], Coroutine[Any, Any, None]], where: str) -> None:
    """Run until a signal. Raises ``click.ClickException`` that names ``where``, the address, if it cannot listen."""
    raise_open_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except OSError as error:
        raise click.ClickException(f"cannot listen on {where}: {error.strerror or error}") from error


def _serve(transport: str, **given: Any) -> None:
    options = ServerOptions(transport, given.get("variant") or "", **{name: given[name] for name in TAKEN_AS_THEY_ARE})
    with tempfile.TemporaryDirectory(prefix="pushmark-tls-") if given["tls"] else nullcontext("") as folder:
        try:
            items = _items(given)
            parse_fault(given["inject_fault"])
            options = msgspec.structs.replace(options, **_platform_options(transport, given))
            cert, key = given["tls_cert"], given["tls_key"]
            secrets = load_secrets(given["auth"], given["jwt_key_file"], given["tls"] or "", cert, key, Path(folder))
            file = _store(options, given["store"]) if given.get("store") else None
        except (ValueError, StoreError) as error:
            raise click.ClickException(str(error)) from error
        if given["auth"] == "dev":
            click.secho(DEV_WARNING, err=True, fg="yellow", bold=True)
        logs.configure(given["log_level"], sys.stderr)
        run_in_foreground(partial(run, options, secrets, items, announce, file), f"{options.host}:{options.port}")


def _platform_options(transport: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check the options that have a form of their own, and convert them. Raises ``ValueError`` naming the option."""
    if not TRANSPORTS[transport].takes_requests:
        _refuse_on_baseline(given)
    Origins(given["allowed_origins"])
    return {
        "namespaces": check_namespaces(given["namespaces"]),
        "auth": given["auth"],
        "room_claims": _room_claims(given["room_claims"], given["auth"]),
        "allowed_origins": given["allowed_origins"],
        "store": "sqlite" if given.get("store") else "",
        **{name: given[name] for name in ("store_sync", "store_max_mib") if name in given},
        "poll_interval_hint_s": _hint_s(given),
        "tls": given["tls"] or ("files" if given["tls_cert"] else ""),
        "log_level": given["log_level"],
        "services": _services(given.get("service_options", ())),
        "limits": _limits(given["limits"]),
    }


def _store(options: ServerOptions, path: Path) -> StoreFile:
    return StoreFile(path, options.store_sync, options.store_max_mib << 20)


def _refuse_on_baseline(given: dict[str, Any]) -> None:
    """Refuse options that the baseline or its floor would ignore, since they would be taken for a protection."""
    names = {"--room-claim": "room_claims", "--namespace": "namespaces", "--limit": "limits"}
    ignored = {"--auth": given["auth"] != "none", **{option: given[name] for option, name in names.items()}}
    tls = given["tls"] or given["tls_cert"]
    on_floor = {"--host": given["host"] != "127.0.0.1", "--rooms": given["rooms"] > 1, "--tls": tls}
    for option in filter(ignored.get, ignored):
        raise ValueError(f"{option}: the baseline has no tokens, namespaces or limits; all other transports have")
    for option in filter(on_floor.get, on_floor if given["variant"] == FLOOR else ()):
        raise ValueError(f"{option}: --variant {FLOOR} serves one room on 127.0.0.1, without TLS, for measurements")


def _room_claims(texts: tuple[str, ...], auth: str) -> dict[str, str]:
    claims = _pairs("--room-claim", texts, "ROOM=CLAIM")
    try:
        for room in claims:
            check_room(room)
    except RoomNameError as error:
        raise ValueError(f"--room-claim: {error}") from error
    if claims and auth == "none":
        raise ValueError("--room-claim goes with --auth jwt or --auth dev: without tokens there are no claims")
    return claims


def _limits(texts: tuple[str, ...]) -> LimitOptions:
    limits: dict[str, Any] = {}
    for name, value in _pairs("--limit", texts, "NAME=VALUE").items():
        try:
            limits[name] = parse_limit(name, value)
        except ValueError as error:
            raise ValueError(f"--limit: {error}") from error
    return LimitOptions(**limits)


def _hint_s(given: dict[str, Any]) -> float:
    hint_s = float(given.get("poll_interval_hint_s", 0.0))
    if hint_s and given["variant"] != CONDITIONAL:
        raise ValueError(f"--poll-interval-hint-s goes with --variant {CONDITIONAL}: no other has the header")
    return hint_s


def _services(texts: tuple[str, ...]) -> dict[str, Any]:
    pairs = _pairs("--service-option", texts, "SERVICE.NAME=VALUE")
    try:
        return parse_options(pairs)
    except ValueError as error:
        raise ValueError(f"--service-option: {error}") from error


def _pairs(option: str, texts: tuple[str, ...], form: str) -> dict[str, str]:
    """Names and values. A name must not be given twice: the overridden value might be the one that protects."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign or not value:
            raise ValueError(f"{option} {text!r}: expected {form}")
        if name in pairs:
            raise ValueError(f"{option} {name}: given twice; give each name once")
        pairs[name] = value
    return pairs


def _items(given: dict[str, Any]) -> Iterable[Item] | None:
    schedule = Schedule(
        kind=given["schedule"],
        rate_hz=given["rate_hz"],
        rooms=given["rooms"],
        seed=given["seed"],
        burst_events=given["burst_events"],
    ).check()
    source, file = given["source"], given["replay_file"]
    if (source == "replay") != (file is not None):
        raise SourceError("--source replay and --replay-file FILE go together")
    if source == "replay":
        rooms = frozenset(map(room_name, range(given["rooms"])))
        return repeated(load_replay(file, given["replay_speed"], rooms))
    if source == "synthetic":
        return synthetic(schedule, given["payload_bytes"])
    return host(schedule) if source == "host" else None
