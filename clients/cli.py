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
from clients.core.options import HEADER_SETS, TRANSPORTS, ClientOptions, UrlError
from clients.core.tls import TlsError, client_context
from feed.console.printable import printable, printable_json
from feed.console.ranges import FiniteRange
from feed.console.terminal import PrintableErrors, new_console
from feed.cursor import CursorError
from feed.envelope import Envelope, decode_welcome
from feed.instruments.clock import NS_PER_MS
from feed.rooms import DEFAULT_ROOM, RoomNameError, check_room

_TOKEN: Final = re.compile("[!-~]*")
SHOWN_CHARACTERS: Final = 110
"""Of what somebody else wrote, in one line."""
SHOWN_ERROR_CHARACTERS: Final = 500
"""The same in the message that says why a client has stopped."""


@click.command(
    cls=PrintableErrors,
    help="Receive a feed from the server at URL, for example http://127.0.0.1:8000 (tcp://127.0.0.1:8000 for raw). "
    "Reconnects with back-off and resumes where it was. Stop it with Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("transport", type=click.Choice(list(TRANSPORTS)))
@click.argument("url")
@click.option("--room", default=DEFAULT_ROOM, show_default=True, help="Room to receive.")
@click.option("--since", default="", help="Cursor to resume from, as in an event's id.  [default: from now on]")
@click.option(
    "--send",
    "sayings",
    multiple=True,
    metavar="TEXT",
    help="Join --room, which need not be one of the feed's, and say this to its members (repeatable).",
)
@click.option("--token", default="", envvar="PUSHMARK_TOKEN", help="Who you are; or in PUSHMARK_TOKEN.")
@click.option("--namespace", default="", help="Of the server's namespaces, another than the default one.")
@click.option("--ca-file", default="", help="Authority to trust (PEM), for TLS.  [default: the system's]")
@click.option("--count", type=click.IntRange(1), help="Stop after that many events or messages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--poll-interval-s", default=1.0, show_default=True, type=FiniteRange(0.001, 3600), help="polling.")
@click.option("--hold-s", default=25.0, show_default=True, type=FiniteRange(0, 55), help="long_polling.")
@click.option("--headers", type=click.Choice(HEADER_SETS), default="minimal", show_default=True, help="HTTP headers.")
@click.option("--backoff-base-s", default=1.0, show_default=True, type=FiniteRange(0.001, 600), help="First wait.")
@click.option("--backoff-factor", default=2.0, show_default=True, type=FiniteRange(1, 10), help="Growth of waits.")
@click.option("--backoff-cap-s", default=30.0, show_default=True, type=FiniteRange(0.001, 3600), help="Longest.")
@click.option("--max-attempts", default=5, show_default=True, type=click.IntRange(0, 1000), help="Tries in a row.")
def main(transport: str, url: str, sayings: tuple[str, ...], count: int | None, as_json: bool, **given: Any) -> None:
    try:
        room = check_room(given["room"])
        if sayings and transport == "raw":
            raise click.UsageError("--send: the baseline takes no requests")
        if not _TOKEN.fullmatch(given["token"]):
            raise click.UsageError("--token: a token has no spaces, line ends or other signs than ASCII's (RFC 6750)")
        if given["ca_file"]:
            client_context(Path(given["ca_file"]))  # now, as a connection that cannot be made is tried again
        options = ClientOptions(**given | ({"room": DEFAULT_ROOM} if sayings else {}))
        show: Callable[[Received], None] = _print_json if as_json else Pretty(new_console()).show
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            client = partial(new_client, transport, url, options)
            runner.run(_receive(client, Talk(room, sayings), count, show, quiet=as_json))
    except (UrlError, CursorError, RoomNameError, TlsError) as error:
        raise click.UsageError(str(error)) from error
    except (ClientError, TimeoutError, *SENSELESS) as error:
        raise click.ClickException(printable(str(error)[:SHOWN_ERROR_CHARACTERS])) from error


class Talk(NamedTuple):
    """What there is to say, and where; with nothing to say one only listens."""

    room: str
    sayings: tuple[str, ...]

    async def hold(self, client: Client) -> None:
        """Join, and say it."""
        if self.sayings:
            await client.join(self.room)
            for text in self.sayings:
                await client.request("publish", room=self.room, data=text)

    def concerns(self, envelope: Envelope) -> bool:
        """Is this of the room that one talks in? The connection's first room is not."""
        return not self.sayings or envelope.room == self.room


async def _receive(
    make: Callable[[Shared], Client], talk: Talk, count: int | None, show: Callable[[Received], None], quiet: bool
) -> None:
    shared = new_shared()
    client = make(shared)
    if not quiet:
        client.state_listeners.append(lambda state: _tell_state(client, state))
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    left = count
    talking = asyncio.ensure_future(talk.hold(client))
    talking.add_done_callback(lambda done: None if done.cancelled() or not done.exception() else task.cancel())
    try:
        async with aclosing(client.events()) as stream:
            async for received in stream:
                if not talk.concerns(received.envelope):
                    continue
                show(received)
                if left is not None and received.envelope.type in ("event", "message"):
                    left -= 1
                    if left == 0:
                        return
    except asyncio.CancelledError:
        if talking.done():
            talking.result()  # else it was Ctrl-C, which is the ordinary way to leave
    finally:
        talking.cancel()
        shared.timer.close()


def _tell_state(client: Client, state: State) -> None:
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
    """Prints a feed for people: one line per event, how late it was, its data."""

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
    late = " " * 12
    if isinstance(due_ns, int) and 0 <= due_ns <= receive_ns:  # else it is no instant of this machine's clock
        late = f"{(receive_ns - due_ns) / NS_PER_MS:9.2f} ms"
    said = "  ".join(f"{name} {value}" for name, value in fields.items() if name not in ("n", "due_ns"))
    return f"[bold]{_shown(envelope.id)}[/]  [cyan]{late}[/]  {_shown(said)}"


def _message_line(envelope: Envelope) -> str:
    said = _fields(envelope)
    data = said.get("data")
    text = data if isinstance(data, str) else json.dumps(data)
    return f"[bold]{_shown(_who(said))}[/] in {_shown(envelope.room)}: {_shown(text)}"


def _presence_line(envelope: Envelope) -> str:
    said = _fields(envelope)
    what = {"joined": "is here", "left": f"has left ({said.get('reason', '')})"}.get(envelope.type)
    return f"{_shown(_who(said))} {_shown(what or ('is typing' if said.get('active') else 'has stopped typing'))}"


def _who(said: dict[str, Any]) -> str:
    """The user, or for who is anonymous the connection."""
    return str(said.get("user") or said.get("client") or said.get("from"))


def _fields(envelope: Envelope) -> dict[str, Any]:
    """The data, which is an object if the server is one of ours."""
    value = envelope.value()
    return value if isinstance(value, dict) else {"data": value}


def _shown(text: str) -> str:
    """What somebody else wrote, as a part of one line and of no markup."""
    return escape(printable(text[:SHOWN_CHARACTERS]))


def _notice_line(envelope: Envelope) -> str:
    notice = decode_welcome(envelope.data)
    if notice.resume == "gap":
        missed = "an unknown number of" if notice.missed is None else str(notice.missed)
        return f"gap: {_shown(missed)} events are gone; going on from {_shown(envelope.id)}"
    return f"{_shown(notice.resume)} at {_shown(envelope.id)}"
