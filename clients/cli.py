"""The command line: ``python -m clients TRANSPORT URL`` shows a live feed, or prints it as JSON lines."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import uvloop
from rich.console import Console
from rich.markup import escape

from clients.core.client import Client, Received, Shared, State, new_client, new_shared
from clients.core.errors import SENSELESS, ClientError
from clients.core.options import HEADER_SETS, ClientOptions, UrlError
from clients.core.tls import TlsError, client_context
from feed.console.printable import printable, printable_json
from feed.console.ranges import FiniteRange
from feed.console.terminal import PrintableErrors, new_console
from feed.cursor import CursorError
from feed.envelope import Envelope, decode_welcome
from feed.instruments.clock import NS_PER_MS
from feed.rooms import DEFAULT_ROOM, RoomNameError, check_room
from feed.transports import TRANSPORTS

_TOKEN: Final = re.compile("[!-~]*")
HEADERS_HELP: Final = "HTTP headers to send: those of Chromium, or only the necessary ones."
SHOWN_CHARACTERS: Final = 110
"""Longest text of a server or another user that is shown in one line."""
SHOWN_ERROR_CHARACTERS: Final = 500
"""Longest message about why a client has stopped."""


def _seconds(name: str, default: float, least: float, most: float, help: str) -> Callable[..., Any]:
    """An option in seconds, within a range."""
    return click.option(name, default=default, show_default=True, type=FiniteRange(least, most), help=help)


@click.command(
    cls=PrintableErrors,
    help="Receive a feed from the server at URL, for example http://127.0.0.1:8000 (tcp://127.0.0.1:8000 for raw). "
    "The client reconnects with back-off and resumes where it stopped. Ctrl-C ends it.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("transport", type=click.Choice(list(TRANSPORTS)))
@click.argument("url")
@click.option("--room", default=DEFAULT_ROOM, show_default=True, help="Room to receive.")
@click.option(
    "--since", default="", help="Cursor to resume from: the id of the last event received.  [default: only new events]"
)
@click.option(
    "--send",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="Join --room, which may be any room, and send this text to its members (repeatable).",
)
@click.option("--token", default="", envvar="PUSHMARK_TOKEN", help="Bearer token.  [default: that in PUSHMARK_TOKEN]")
@click.option("--namespace", default="", help="Namespace to connect to.  [default: the default one]")
@click.option(
    "--ca-file", default="", help="Certificate authority to trust, for TLS (PEM file).  [default: the system's]"
)
@click.option("--count", type=click.IntRange(1), help="Number of events and messages after which to stop.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, for scripts.")
@_seconds("--poll-interval-s", 1.0, 0.001, 3600, help="Seconds between two polls (polling only).")
@_seconds("--hold-s", 25.0, 0, 55, help="Seconds that the server may hold a poll without an event (long_polling only).")
@click.option("--headers", type=click.Choice(HEADER_SETS), default="minimal", show_default=True, help=HEADERS_HELP)
@_seconds("--backoff-base-s", 1.0, 0.001, 600, help="Back-off after the first failure, in seconds.")
@click.option(
    "--backoff-factor",
    default=2.0,
    show_default=True,
    type=FiniteRange(1, 10),
    help="Back-off multiplier, applied after each further failure.",
)
@_seconds("--backoff-cap-s", 30.0, 0.001, 3600, help="Maximum back-off in seconds.")
@click.option(
    "--max-attempts",
    default=5,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Attempts to reconnect, in a row, before giving up.",
)
def main(transport: str, url: str, texts: tuple[str, ...], count: int | None, as_json: bool, **given: Any) -> None:
    try:
        room = check_room(given["room"])
        if texts and not TRANSPORTS[transport].takes_requests:
            raise click.UsageError(f"--send: {TRANSPORTS[transport].label} takes no requests")
        if not _TOKEN.fullmatch(given["token"]):
            raise click.UsageError("--token: allowed are printable ASCII characters other than spaces (RFC 6750)")
        if given["ca_file"]:
            client_context(Path(given["ca_file"]))  # now, as later it would count as a failure to connect
        options = ClientOptions(**given | ({"room": DEFAULT_ROOM} if texts else {}))
        show: Callable[[Received], None] = _print_json if as_json else Pretty(new_console()).show
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            client = partial(new_client, transport, url, options)
            runner.run(_receive(client, Sending(room, texts), count, show, quiet=as_json))
    except (UrlError, CursorError, RoomNameError, TlsError) as error:
        raise click.UsageError(str(error)) from error
    except (ClientError, TimeoutError, *SENSELESS) as error:
        raise click.ClickException(printable(str(error)[:SHOWN_ERROR_CHARACTERS])) from error


class Sending(NamedTuple):
    """Texts to send, and the room that gets them; without texts the command only receives."""

    room: str
    texts: tuple[str, ...]

    async def send(self, client: Client) -> None:
        """Join the room and send every text."""
        if self.texts:
            await client.join(self.room)
            for text in self.texts:
                await client.request("publish", room=self.room, data=text)

    def shows(self, envelope: Envelope) -> bool:
        """Is an envelope shown? While sending, only those of the room that gets the texts are."""
        return not self.texts or envelope.room == self.room


async def _receive(
    make: Callable[[Shared], Client], sending: Sending, count: int | None, show: Callable[[Received], None], quiet: bool
) -> None:
    shared = new_shared()
    client = make(shared)
    if not quiet:
        client.state_listeners.append(lambda state: _print_state(client, state))
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    left = count
    sender = asyncio.ensure_future(sending.send(client))
    sender.add_done_callback(lambda done: None if done.cancelled() or not done.exception() else task.cancel())
    try:
        async with aclosing(client.events()) as stream:
            async for received in stream:
                if not sending.shows(received.envelope):
                    continue
                show(received)
                if left is not None and received.envelope.type in ("event", "message"):
                    left -= 1
                    if left == 0:
                        return
    except asyncio.CancelledError:
        if sender.done():
            sender.result()  # raises why sending failed; after Ctrl-C, the ordinary way to leave, there is no error
    finally:
        sender.cancel()
        shared.timer.close()


def _print_state(client: Client, state: State) -> None:
    reason = f" ({client.last_failure})" if state is State.RECONNECTING else ""
    print(printable(f"{state}{reason}"), file=sys.stderr)


def _print_json(received: Received) -> None:
    envelope, receive_ns = received
    line = {
        "type": envelope.type,
        "id": envelope.id,
        "room": envelope.room,
        "receive_ns": receive_ns,
        "data": envelope.value(),
    }
    print(printable_json(json.dumps(line)), flush=True)


class Pretty:
    """Prints a feed for people: one line per event, with its latency and its data."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, received: Received) -> None:
        """Print one envelope."""
        envelope, receive_ns = received
        if envelope.type == "event":
            self._console.print(_event_line(envelope, receive_ns), no_wrap=True, overflow="ellipsis", highlight=False)
        elif envelope.type == "message":
            self._console.print(_message_line(envelope), highlight=False)
        elif envelope.type in ("joined", "left", "typing"):
            self._console.print(_presence_line(envelope), style="dim", highlight=False)
        else:
            self._console.print(_notice_line(envelope), style="dim", highlight=False)


def _event_line(envelope: Envelope, receive_ns: int) -> str:
    fields = _fields(envelope)
    due_ns = fields.get("due_ns")
    latency = " " * 12
    if isinstance(due_ns, int) and 0 <= due_ns <= receive_ns:  # else it is no instant of this machine's clock
        latency = f"{(receive_ns - due_ns) / NS_PER_MS:9.2f} ms"
    text = "  ".join(f"{name} {value}" for name, value in fields.items() if name not in ("n", "due_ns"))
    return f"[bold]{_shown(envelope.id)}[/]  [cyan]{latency}[/]  {_shown(text)}"


def _message_line(envelope: Envelope) -> str:
    fields = _fields(envelope)
    data = fields.get("data")
    text = data if isinstance(data, str) else json.dumps(data)
    return f"[bold]{_shown(_sender(fields))}[/] in {_shown(envelope.room)}: {_shown(text)}"


def _presence_line(envelope: Envelope) -> str:
    fields = _fields(envelope)
    typing = "is typing" if fields.get("active") else "has stopped typing"
    news = {"joined": "is here", "left": f"has left ({fields.get('reason', '')})"}.get(envelope.type, typing)
    return f"{_shown(_sender(fields))} {_shown(news)}"


def _sender(fields: dict[str, Any]) -> str:
    """The user's name, or the connection's id if the user is anonymous."""
    return str(fields.get("user") or fields.get("client") or fields.get("from"))


def _fields(envelope: Envelope) -> dict[str, Any]:
    """The data of an envelope; our servers' data is always an object."""
    value = envelope.value()
    return value if isinstance(value, dict) else {"data": value}


def _shown(text: str) -> str:
    """Text of a server or another user, shortened and without markup."""
    return escape(printable(text[:SHOWN_CHARACTERS]))


def _notice_line(envelope: Envelope) -> str:
    notice = decode_welcome(envelope.data)
    if notice.resume == "gap":
        missed = "an unknown number of" if notice.missed is None else str(notice.missed)
        return f"gap: {_shown(missed)} events are lost; continuing from {_shown(envelope.id)}"
    return f"{_shown(notice.resume)} at {_shown(envelope.id)}"
