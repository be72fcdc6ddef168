"""A locust run by hand: finds out what the server at ``--host`` serves, and names a run that measured nothing.

Failures go into locust's own statistics, so the web UI and the CSV files show them, workers send them to their master,
and the exit code is 1 (``--exit-code-on-error``).
"""

import http.client
import json
import sys
import urllib.request
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from bench.generators.spec import METHOD, LoadSpec
from feed.console.printable import printable
from feed.rooms import MAX_ROOMS
from feed.transports import BASELINE, TRANSPORTS

ABOUT_TIMEOUT_S: Final = 5.0
MAX_ABOUT_BYTES: Final = 65_536
"""Largest answer of a server about itself. Ours has some hundred bytes; anything else may send any number."""
MAX_NAMED: Final = 10
"""Different failures named on standard error; locust's report has all of them."""
NOTHING: Final = "nothing was delivered until the test ended, so nothing was measured"
"""Reported at the end, since only then silence differs from a slow feed."""


class HostError(ValueError):
    """There is no server to load at ``--host``; the message says what was found and what is allowed."""


def spec_by_hand(options: Any, host: str) -> LoadSpec:
    """The load, from locust's options and what the server says about itself. Raises ``HostError``."""
    if not host:
        raise HostError(f"name the server: --host http://127.0.0.1:8000 (tcp://127.0.0.1:8000 for {BASELINE})")
    transport, rooms = (BASELINE, 1) if host.startswith(("tcp://", "tcps://")) else _about(host)
    if options.transport not in (None, transport):
        raise HostError(
            f"{host} serves {transport}, not {options.transport}: allowed is --transport {transport}, or none"
        )
    return LoadSpec(
        transport=transport,
        rooms=options.rooms or rooms,
        poll_interval_s=options.poll_interval_s,
        hold_s=options.hold_s,
        headers=options.headers,
        payload_bytes=options.payload_bytes,
    )


def _about(host: str) -> tuple[str, int]:
    """The server's transport and its number of rooms, from ``GET /``. Raises ``HostError``."""
    url = f"http{host[2:]}" if host.startswith(("ws://", "wss://")) else host
    url = f"{url.rstrip('/')}/"
    try:
        with urllib.request.urlopen(url, timeout=ABOUT_TIMEOUT_S) as answer:
            about = json.loads(answer.read(MAX_ABOUT_BYTES))
        transport, rooms = about["transport"], about["rooms"]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, RecursionError) as error:
        said = f"{type(error).__name__}: {error}"
        raise HostError(f"{url} does not say which transport it serves, as our servers do ({said})") from error
    if transport not in list(TRANSPORTS) or not isinstance(rooms, int) or not 1 <= rooms <= MAX_ROOMS:
        allowed = f"{', '.join(TRANSPORTS)}, and 1 to {MAX_ROOMS} rooms"
        raise HostError(f"{url} serves {transport!r} in {rooms!r} rooms: allowed are {allowed}")
    return transport, rooms


def record_failure(environment: Any, reason: str) -> None:
    """Add an entry to locust's failures."""
    environment.runner.stats.log_error(METHOD, environment.host or "no host", printable(reason))


def judge(environment: Any) -> None:
    """At the end of a test, with all workers' statistics: silence is a failure; name each on standard error."""
    stats = environment.runner.stats
    if not stats.total.num_requests and not stats.errors:
        record_failure(environment, NOTHING)
    for entry in list(stats.errors.values())[:MAX_NAMED]:
        print(f"Failed: {entry.error} ({entry.occurrences} times)", file=sys.stderr)


def number_within(kind: Callable[[str], float], least: float, most: float) -> Callable[[str], float]:
    """An option's type for argparse: a number of a kind from ``least`` to ``most``."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            value = kind(text)
            if least <= value <= most:  # which NaN is not
                return value
        raise ArgumentTypeError(f"{text!r}: allowed are {least:g} to {most:g}")

    return parse
