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
from feed.console.ranges import FiniteRange
from feed.faults import ALLOWED, BURN, EVERY, parse_fault
from feed.instruments.tcp import raise_open_files
from feed.rooms import MAX_ROOMS, RoomNameError, check_room, room_name
from feed.schedule import KINDS, Schedule
from feed.sources import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES, Item, SourceError, host, load_replay, synthetic
from feed.transports import FLOOR, TRANSPORTS
from servers.gate import logs
from servers.gate.limits import LimitOptions, parse_limit
from servers.gate.origins import Origins
from servers.gate.secrets import AUTH_MODES, DEV_WARNING, load_secrets
from servers.hub.publisher import repeated
from servers.platform.collector import GC_MODES
from servers.platform.names import check_namespaces
from servers.platform.options import ServerOptions
from servers.process.app import run

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
HEARTBEATS_S: Final = {"websocket": 30.0, "socketio": 25.0}
"""Default interval of heartbeats, where it is not 15 s."""

ADDRESS: Final = (
    click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.Option(
        ["--port"],
        default=8000,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="Port to listen on; 0 picks a free one.",
    ),
)
FEED: Final = (
    click.Option(
        ["--source"],
        type=click.Choice(["host", "synthetic", "replay", "none"]),
        default="host",
        show_default=True,
        help="Source of the events: load figures of this machine (host), seeded records (synthetic), a recording "
        "(replay), or none until POST /feed/start on the control listener.",
    ),
    click.Option(
        ["--replay-file"], type=click.Path(path_type=Path), help="Recording for --source replay (JSON lines)."
    ),
    click.Option(
        ["--replay-speed"],
        default=1.0,
        show_default=True,
        help="Speed of the recording as a multiple of the original: 2 plays it in half the time.",
    ),
    click.Option(
        ["--schedule"],
        type=click.Choice(KINDS),
        default="constant",
        show_default=True,
        help="Spacing of events in time: at random (poisson), even (constant), or several at once (burst).",
    ),
    click.Option(["--rate-hz"], default=1.0, show_default=True, help="Events per second over all rooms."),
    click.Option(["--burst-events"], default=10, show_default=True, help="Events in each burst of --schedule burst."),
    click.Option(
        ["--rooms"],
        default=1,
        show_default=True,
        type=click.IntRange(1, MAX_ROOMS),
        help="Number of rooms, named feed, feed-1, feed-2, ...; events take turns among them.",
    ),
    click.Option(
        ["--payload-bytes"],
        default=256,
        show_default=True,
        type=click.IntRange(MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES),
        help="Size of a synthetic event's data in bytes.",
    ),
    click.Option(
        ["--history"],
        default=1024,
        show_default=True,
        type=click.IntRange(1, 1_000_000),
        help="Events kept per room for clients that resume.",
    ),
    click.Option(["--seed"], default=1, show_default=True, help="Seed of the schedule and of synthetic data."),
)
CONNECTIONS: Final = (
    click.Option(
        ["--stall-timeout-s"],
        default=20.0,
        show_default=True,
        type=FiniteRange(0.1, 3600),
        help="Seconds after which a connection is reset if data waits and the client acknowledges none of it.",
    ),
    click.Option(
        ["--request-timeout-s"],
        default=10.0,
        show_default=True,
        type=FiniteRange(0.1, 3600),
        help="Seconds within which a request must arrive completely.",
    ),
    click.Option(
        ["--namespace", "namespaces"],
        multiple=True,
        help="Additional namespace, at /NAME/..., with rooms and members of its own (repeatable).",
    ),
    click.Option(
        ["--limit", "limits"],
        multiple=True,
        metavar="NAME=VALUE",
        help=f"Limit to change (repeatable; docs/protocol.md, Limits): {', '.join(LimitOptions.__struct_fields__)}.",
    ),
)
SECURITY: Final = (
    click.Option(
        ["--auth"],
        type=click.Choice(AUTH_MODES),
        default="none",
        show_default=True,
        help="Tokens that clients must have: none, signed with your key (jwt), or signed with the published key (dev). "
        "`python -m servers token` makes tokens.",
    ),
    click.Option(
        ["--jwt-key-file"],
        type=click.Path(path_type=Path),
        help="File with the key that signs tokens (HS256, 32 bytes or more); PUSHMARK_JWT_KEY may hold it instead.",
    ),
    click.Option(
        ["--room-claim", "room_claims"],
        multiple=True,
        metavar="ROOM=CLAIM",
        help="Claim that a token must hold to enter a room (repeatable).",
    ),
    click.Option(
        ["--allow-origin", "allowed_origins"],
        multiple=True,
        metavar="ORIGIN",
        help="Another origin whose pages may connect, such as https://app.example.org (repeatable).",
    ),
    click.Option(
        ["--tls"],
        type=click.Choice(["dev"]),
        help="TLS with a certificate of a throw-away authority; the ready line names the authority's file (ca_file).",
    ),
    click.Option(
        ["--tls-cert"], type=click.Path(path_type=Path), help="File with the certificate chain for TLS (PEM)."
    ),
    click.Option(["--tls-key"], type=click.Path(path_type=Path), help="File with the certificate's private key (PEM)."),
)
TESTS: Final = (
    click.Option(
        ["--gc"],
        type=click.Choice(GC_MODES),
        default="default",
        show_default=True,
        help="Garbage collector: Python's own settings, or higher thresholds for thousands of connections (tuned).",
    ),
    click.Option(
        ["--log-level"],
        type=click.Choice(logs.LEVELS),
        default="error",
        show_default=True,
        help="Lowest level of log messages, which go to stderr as JSON lines; info logs every connect and disconnect.",
    ),
    click.Option(
        ["--inject-fault"],
        default="",
        help=f"Fault to inject, to test the benchmark: {ALLOWED}. All but {BURN} change one event in {EVERY}.",
    ),
    click.Option(["--sabotage", "inject_fault"], default="", hidden=True),  # its name until version 0.2
)


def command(transport: str) -> click.Command:
    """The command that serves over a transport."""
    row = TRANSPORTS[transport]
    own: list[click.Parameter] = [
        click.Option(
            ["--heartbeat-s"],
            type=FiniteRange(0.05, 3600),
            default=HEARTBEATS_S.get(transport, 15.0),
            show_default=True,
            help="Seconds between heartbeats on a stream.",
        )
    ]
    if row.variants or row.measuring_only:
        variants = click.Choice((*row.variants, *row.measuring_only))
        own.append(
            click.Option(["--variant"], type=variants, help="Variant of the implementation, as in the cost benchmark.")
        )
    options = [*ADDRESS, *FEED, *own, *CONNECTIONS, *SECURITY, *TESTS]
    return click.Command(
        transport, callback=partial(_serve, transport), params=options, help=f"Serve the feed over {row.label}."
    )


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
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        if given["auth"] == "dev":
            click.secho(DEV_WARNING, err=True, fg="yellow", bold=True)
        logs.configure(given["log_level"], sys.stderr)
        run_in_foreground(partial(run, options, secrets, items, announce), f"{options.host}:{options.port}")


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
        "tls": given["tls"] or ("files" if given["tls_cert"] else ""),
        "log_level": given["log_level"],
        "limits": _limits(given["limits"]),
    }


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
