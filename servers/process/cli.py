"""The command line: ``python -m servers TRANSPORT``, ``python -m servers relay`` and ``python -m servers token``."""

import os
import re
import time
from functools import partial
from pathlib import Path

import click

from feed.console.ranges import FiniteRange
from feed.console.terminal import PrintableGroup
from feed.networks import PRESETS, RANGES, make_network
from feed.transports import TRANSPORTS
from servers.gate.auth import DEV_KEY, REGISTERED_CLAIMS, check_user, load_key, mint
from servers.network.relay import RelayOptions
from servers.process.relay import run as run_relay
from servers.process.serve import announce, command, run_in_foreground
from servers.process.store import store

HELP = """Serve a feed over one transport, model a network, or make a token.

As soon as a server or relay accepts connections, it prints its address as one JSON line on stdout. Everything else goes
to stderr. Ctrl-C stops it.
"""


def _list(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo("\n".join(TRANSPORTS))
        context.exit()


@click.group(
    cls=PrintableGroup, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Print the names of the transports."
)
def main() -> None:
    pass


for _name in TRANSPORTS:
    main.add_command(command(_name))
main.add_command(store)


@main.command()
@click.option("--user", required=True, help="User that the token is for.")
@click.option(
    "--ttl-s",
    default=3600.0,
    show_default=True,
    type=FiniteRange(1, 31_536_000),
    help="Lifetime of the token in seconds.",
)
@click.option("--claim", "claims", multiple=True, help="Claim that the token holds (repeatable).")
@click.option("--dev", is_flag=True, help="Sign with the published key, for servers with --auth dev.")
@click.option(
    "--jwt-key-file",
    type=click.Path(path_type=Path),
    help="File with the key to sign with; or put the key into PUSHMARK_JWT_KEY.",
)
def token(user: str, ttl_s: float, claims: tuple[str, ...], dev: bool, jwt_key_file: Path | None) -> None:
    """Print a token for a server that was started with --auth."""
    if dev and jwt_key_file is not None:
        raise click.UsageError("--dev and --jwt-key-file name two keys: give one of them")
    if reserved := sorted(REGISTERED_CLAIMS.intersection(claims)):
        raise click.UsageError(f"--claim {', '.join(reserved)}: RFC 7519 reserves this name; take another one")
    try:
        key = DEV_KEY if dev else load_key(os.environ, jwt_key_file)
        click.echo(mint(key, check_user(user), ttl_s, time.time(), dict.fromkeys(claims, True)))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--to", "target", required=True, metavar="HOST:PORT", help="Server to forward connections to.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=0,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--network",
    type=click.Choice(list(PRESETS)),
    default="broadband",
    show_default=True,
    help="Network to model (docs/method.md, Network); each of the next four options replaces one of its numbers.",
)
@click.option(
    "--rtt-ms", type=FiniteRange(*RANGES["rtt_ms"]), help="Round trip in milliseconds, half of it in each direction."
)
@click.option(
    "--jitter-ms",
    type=FiniteRange(*RANGES["jitter_ms"]),
    help="Largest random delay added to a segment in milliseconds, in each direction.",
)
@click.option(
    "--bandwidth-mbit-s",
    type=FiniteRange(*RANGES["bandwidth_mbit_s"]),
    help="Bandwidth of each connection and direction in Mbit/s; 0 is no limit.",
)
@click.option("--loss", type=FiniteRange(*RANGES["loss"]), help="Share of segments that the model loses.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of jitter and loss.")
def relay(target: str, host: str, port: int, network: str, seed: int, **given: float | None) -> None:
    """Forward TCP connections as a modelled network would."""
    target_host, _, target_port = target.rpartition(":")
    # Not by isdigit, which is also true of superscripts and of the digits of other scripts.
    if not target_host or not re.fullmatch("[0-9]{1,5}", target_port) or not 0 < int(target_port) < 65536:
        raise click.BadParameter(f"{target!r} is not HOST:PORT, the port from 1 to 65535", param_hint="--to")
    between = make_network(network, **given)
    options = RelayOptions(target_host, int(target_port), host, port, between, seed)
    run_in_foreground(partial(run_relay, options, announce), f"{host}:{port}")
