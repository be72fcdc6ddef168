"""The options of ``python -m servers TRANSPORT``, as its help lists them."""

from pathlib import Path
from typing import Final

import click

from feed.console.ranges import FiniteRange
from feed.faults import ALLOWED, BURN, EVERY
from feed.rooms import MAX_ROOMS
from feed.schedule import KINDS
from feed.sources import MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES
from feed.transports import CONDITIONAL, TRANSPORTS
from servers.gate import logs
from servers.gate.limits import LimitOptions
from servers.gate.secrets import AUTH_MODES
from servers.platform.collector import GC_MODES
from servers.services.registry import OPTION_NAMES
from servers.store.file import SYNC

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
SERVICES: Final = (
    click.Option(
        ["--service-option", "service_options"],
        multiple=True,
        metavar="SERVICE.NAME=VALUE",
        help=f"Option of a service to change (repeatable; docs/scenarios.md): {', '.join(OPTION_NAMES)}.",
    ),
    click.Option(
        ["--store"],
        type=click.Path(path_type=Path, dir_okay=False),
        help="File in which services keep messages (SQLite); made if there is none. Without it they refuse requests.",
    ),
    click.Option(
        ["--store-max-mib"],
        type=click.IntRange(1, 1 << 20),
        default=1024,
        show_default=True,
        help="Size of the store in MiB above which it takes nothing more.",
    ),
    click.Option(
        ["--store-sync"],
        type=click.Choice(tuple(SYNC)),
        default="process",
        show_default=True,
        help="What is acknowledged survives the end of the process, or a power cut too (full), which is slower.",
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


def options_of(transport: str) -> list[click.Parameter]:
    """The options of a transport's server."""
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
    if CONDITIONAL in row.variants:
        own.append(
            click.Option(
                ["--poll-interval-hint-s"],
                type=FiniteRange(0, 3600),
                default=0.0,
                show_default=True,
                help=f"Seconds between polls that --variant {CONDITIONAL} asks its clients to keep; 0: as they like.",
            )
        )
    return [*ADDRESS, *FEED, *own, *CONNECTIONS, *(SERVICES if row.takes_requests else ()), *SECURITY, *TESTS]
