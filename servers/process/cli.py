"""The command line: ``python -m servers TRANSPORT`` and ``python -m servers relay``."""

import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from feed.console.command_line import OutputError
from feed.console.ranges import FiniteRange
from feed.console.terminal import PrintableGroup
from feed.faults import ALLOWED, EVERY, parse_sabotage
from feed.instruments.tcp import raise_open_files
from feed.networks import PRESETS, RANGES, make_network
from feed.rooms import MAX_ROOMS, RoomNameError, check_room, room_name
from feed.schedule import KINDS, Schedule
from feed.sources import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES, Item, SourceError, host, load_replay, synthetic
from servers.gate import logs
from servers.gate.auth import DEV_KEY, REGISTERED_CLAIMS, check_user, load_key, mint
from servers.gate.limits import LimitOptions, parse_limit
from servers.gate.origins import Origins
from servers.gate.secrets import AUTH_MODES, DEV_WARNING, load_secrets
from servers.hub.publisher import repeated
from servers.network.relay import RelayOptions
from servers.platform.names import check_namespaces
from servers.platform.options import TRANSPORTS, VARIANTS, ServerOptions
from servers.process.app import run
from servers.process.relay import run as run_relay

HELP = """Serve one feed over one transport, or delay TCP connections with the relay.

When connections are accepted, one JSON line on stdout says where; everything else goes to stderr. Stop it with Ctrl-C.
"""


HEARTBEATS_S = {"websocket": 30.0, "socketio": 25.0}
"""Where the usual one is not 15 s."""


def _list(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo("\n".join(TRANSPORTS))
        context.exit()


@click.group(
    cls=PrintableGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Name the transports.")
def main() -> None:
    pass


def announce(line: str) -> None:
    """Print the ready line so that a reader at the other end of a pipe has it at once.

    Where that fails nobody learns where the server is, so it must not go on: a reader that is gone is an error too.
    """
    try:
        print(line, flush=True)
    except OutputError as error:
        raise click.ClickException(str(error)) from error


FEED_OPTIONS = (
    click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.Option(
        ["--port"], default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free port."
    ),
    click.Option(
        ["--source"],
        type=click.Choice(["host", "synthetic", "replay", "none"]),
        default="host",
        show_default=True,
        help="What the feed says: this machine's figures, seeded records, a recording, or nothing until the control "
        "listener starts it.",
    ),
    click.Option(
        ["--replay-file"], type=click.Path(path_type=Path), help="Recording for --source replay (JSON lines)."
    ),
    click.Option(["--replay-speed"], default=1.0, show_default=True, help="2 plays it in half the time."),
    click.Option(
        ["--schedule"], type=click.Choice(KINDS), default="constant", show_default=True, help="Spacing in time."
    ),
    click.Option(["--rate-hz"], default=1.0, show_default=True, help="Events per second over all rooms."),
    click.Option(["--burst-events"], default=10, show_default=True, help="Events at one instant, --schedule burst."),
    click.Option(
        ["--rooms"],
        default=1,
        show_default=True,
        type=click.IntRange(1, MAX_ROOMS),
        help="Rooms feed, feed-1, feed-2, ...; events take turns among them.",
    ),
    click.Option(
        ["--payload-bytes"],
        default=256,
        show_default=True,
        type=click.IntRange(MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES),
        help="Size of a synthetic event's data.",
    ),
    click.Option(
        ["--history"],
        default=1024,
        show_default=True,
        type=click.IntRange(1, 1_000_000),
        help="Events kept per room for those who resume.",
    ),
    click.Option(["--seed"], default=1, show_default=True, help="Of the schedule and the synthetic data."),
    click.Option(
        ["--heartbeat-s"],
        type=FiniteRange(0.05, 3600),
        help="Seconds between heartbeats on a stream.  [default: 15; websocket: 30; socketio: 25]",
    ),
    click.Option(
        ["--stall-timeout-s"],
        default=20.0,
        show_default=True,
        type=FiniteRange(0.1, 3600),
        help="A peer that takes nothing for this long is cut off.",
    ),
    click.Option(
        ["--namespace", "namespaces"],
        multiple=True,
        help="A namespace beside the default one: rooms and members of its own, at /NAME/... (repeatable).",
    ),
    click.Option(
        ["--auth"],
        type=click.Choice(AUTH_MODES),
        default="none",
        show_default=True,
        help="Who may connect: anybody, who has a token signed with the key, or who has one signed with the public dev "
        "key. `python -m servers token` makes tokens.",
    ),
    click.Option(
        ["--jwt-key-file"],
        type=click.Path(path_type=Path),
        help="Key of the tokens (HS256, 32 bytes or more); or in PUSHMARK_JWT_KEY.",
    ),
    click.Option(
        ["--room-claim", "room_claims"],
        multiple=True,
        metavar="ROOM=CLAIM",
        help="A room that only tokens with that claim may enter (repeatable).",
    ),
    click.Option(
        ["--allow-origin", "allowed_origins"],
        multiple=True,
        metavar="ORIGIN",
        help="Another origin whose pages may connect, as in https://app.example.org (repeatable).",
    ),
    click.Option(["--tls"], type=click.Choice(["dev"]), help="dev: TLS with a throw-away authority."),
    click.Option(["--tls-cert"], type=click.Path(path_type=Path), help="Certificate chain (PEM), for TLS."),
    click.Option(["--tls-key"], type=click.Path(path_type=Path), help="Its private key (PEM)."),
    click.Option(
        ["--limit", "limits"],
        multiple=True,
        metavar="NAME=VALUE",
        help=f"A limit (repeatable): {', '.join(LimitOptions.__struct_fields__)}.",
    ),
    click.Option(
        ["--log-level"],
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="error",
        show_default=True,
        help="Of the log on stderr, one JSON object a line; info: who connects and who leaves.",
    ),
    click.Option(
        ["--sabotage"],
        default="",
        help=f"For tests of the benchmark: what to do to one event in {EVERY}. {ALLOWED}.",
    ),
    click.Option(
        ["--request-timeout-s"],
        default=10.0,
        show_default=True,
        type=FiniteRange(0.1, 3600),
        help="A request must be complete within this.",
    ),
)


def _serve(transport: str, **given: Any) -> None:
    heartbeat_s = given["heartbeat_s"] or HEARTBEATS_S.get(transport, 15.0)
    names = ("host", "port", "rooms", "history", "stall_timeout_s", "request_timeout_s", "sabotage")
    options = ServerOptions(
        transport=transport,
        variant=given.get("variant") or "",
        heartbeat_s=heartbeat_s,
        **{name: given[name] for name in names},
    )
    with tempfile.TemporaryDirectory(prefix="pushmark-tls-") if given["tls"] else nullcontext("") as folder:
        try:
            items = _items(given)
            parse_sabotage(given["sabotage"])
            options = msgspec.structs.replace(options, **_platform_options(transport, given))
            cert, key = given["tls_cert"], given["tls_key"]
            secrets = load_secrets(given["auth"], given["jwt_key_file"], given["tls"] or "", cert, key, Path(folder))
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        if given["auth"] == "dev":
            click.secho(DEV_WARNING, err=True, fg="yellow", bold=True)
        logs.configure(given["log_level"], sys.stderr)
        _run(partial(run, options, secrets, items, announce), f"{options.host}:{options.port}")


def _platform_options(transport: str, given: dict[str, Any]) -> dict[str, Any]:
    """What the platform needs of the command line. Raises ``ValueError`` naming the option."""
    if transport == "raw":
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
    """What would be taken for protection must not be overlooked in silence."""
    said = {
        "--auth": given["auth"] != "none",
        "--room-claim": given["room_claims"],
        "--namespace": given["namespaces"],
        "--limit": given["limits"],
    }
    for option, is_there in said.items():
        if is_there:
            raise ValueError(f"{option}: the baseline has no tokens, namespaces or limits; all other transports have")


def _room_claims(texts: tuple[str, ...], auth: str) -> dict[str, str]:
    claims = _pairs("--room-claim", texts, "ROOM=CLAIM")
    try:
        for room in claims:
            check_room(room)
    except RoomNameError as error:
        raise ValueError(f"--room-claim: {error}") from error
    if claims and auth == "none":
        raise ValueError("--room-claim goes with --auth jwt or --auth dev: without tokens nobody has a claim")
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
    """Names and values. A name that is given twice is refused: the first might be the one that was to protect."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign or not value:
            raise ValueError(f"{option} {text!r}: expected {form}")
        if name in pairs:
            raise ValueError(f"{option} {name}: given twice; expected is each name once")
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


def _run(coroutine_function: Any, where: str) -> None:
    raise_open_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(coroutine_function())
    except OSError as error:
        raise click.ClickException(f"cannot listen on {where}: {error.strerror or error}") from error


def _command(name: str) -> click.Command:
    options: list[click.Parameter] = list(FEED_OPTIONS)
    if name in VARIANTS:
        choices = click.Choice(VARIANTS[name])
        options.insert(0, click.Option(["--variant"], type=choices, help="A variant for the cost benchmark."))
    help_ = f"Serve the feed over {name.replace('_', ' ')}."
    return click.Command(name, callback=partial(_serve, name), params=options, help=help_)


for _name in TRANSPORTS:
    main.add_command(_command(_name))


@main.command()
@click.option("--user", required=True, help="Whom the token is for.")
@click.option("--ttl-s", default=3600.0, show_default=True, type=FiniteRange(1, 31_536_000), help="It expires then.")
@click.option("--claim", "claims", multiple=True, help="A claim it shall hold (repeatable).")
@click.option("--dev", is_flag=True, help="Sign with the public dev key, for --auth dev.")
@click.option("--jwt-key-file", type=click.Path(path_type=Path), help="The key; or in PUSHMARK_JWT_KEY.")
def token(user: str, ttl_s: float, claims: tuple[str, ...], dev: bool, jwt_key_file: Path | None) -> None:
    """Print a token for a server that was started with --auth."""
    if dev and jwt_key_file is not None:
        raise click.UsageError("--dev and --jwt-key-file name two keys: give one of them")
    if reserved := sorted(REGISTERED_CLAIMS.intersection(claims)):
        raise click.UsageError(f"--claim {', '.join(reserved)}: has a meaning of its own (RFC 7519); take another name")
    try:
        key = DEV_KEY if dev else load_key(os.environ, jwt_key_file)
        click.echo(mint(key, check_user(user), ttl_s, time.time(), dict.fromkeys(claims, True)))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--to", "target", required=True, metavar="HOST:PORT", help="Where connections are passed on to.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free port.")
@click.option(
    "--network",
    type=click.Choice(list(PRESETS)),
    default="broadband",
    show_default=True,
    help="A network whose numbers are in docs/method.md; what is given beside it replaces one of them.",
)
@click.option("--rtt-ms", type=FiniteRange(*RANGES["rtt_ms"]), help="Round trip; half of it delays each way.")
@click.option("--jitter-ms", type=FiniteRange(*RANGES["jitter_ms"]), help="Up to so much more for each segment.")
@click.option(
    "--bandwidth-mbit-s",
    type=FiniteRange(*RANGES["bandwidth_mbit_s"]),
    help="Of each connection, each way; 0 is no limit.",
)
@click.option("--loss", type=FiniteRange(*RANGES["loss"]), help="Share of segments lost (modelled).")
@click.option("--seed", type=int, default=1, show_default=True, help="Of jitter and loss.")
def relay(target: str, host: str, port: int, network: str, seed: int, **given: float | None) -> None:
    """Pass TCP connections on to a server as if it were behind a network."""
    target_host, _, target_port = target.rpartition(":")
    # Not by isdigit, to which superscripts and the digits of other scripts are digits too.
    if not target_host or not re.fullmatch("[0-9]{1,5}", target_port) or not 0 < int(target_port) < 65536:
        raise click.BadParameter(f"{target!r} is not HOST:PORT, the port from 1 to 65535", param_hint="--to")
    between = make_network(network, **given)
    options = RelayOptions(target_host, int(target_port), host, port, between, seed)
    _run(partial(run_relay, options, announce), f"{host}:{port}")
